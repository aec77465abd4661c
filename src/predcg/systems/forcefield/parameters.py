"""What a force field is made of, read off an OpenMM System."""

from typing import NamedTuple

import numpy as np
import openmm

from predcg.errors import InputError
from predcg.systems.forcefield.born import FALLBACK, BornParameters, read_custom, read_obc2
from predcg.systems.particles import check_free, plain

COULOMB = 138.93545764438198  # In kJ/mol nm per squared elementary charge: 1/(4πε_0) as OpenMM has it.
WITHOUT_ENERGY = (
    openmm.CMMotionRemover,
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloMembraneBarostat,
)


class Parameters(NamedTuple):
    """The terms of a molecule of n atoms, in nm, rad, kJ/mol.

    Args:
        bonds: atoms (m, 2) and r0, k (m, 2).
        angles: atoms (m, 3) and θ0, k (m, 2).
        torsions: atoms (m, 4), each quadruple once, and the cosine and sine coefficients of E = Σ_k c_k cos kφ + s_k
            sin kφ, (2, order + 1, m).
        maps: atoms of both torsions (m, 8), the map of each (m,), and the energies of the maps, one (size, size) each.
        pairs: Coulomb, r^-12 and r^-6 coefficients of each pair, (3, n, n), exceptions included.
        born: the solvent, or None.
    """

    bonds: tuple[np.ndarray, np.ndarray]
    angles: tuple[np.ndarray, np.ndarray]
    torsions: tuple[np.ndarray, np.ndarray]
    maps: tuple[np.ndarray, np.ndarray, list[np.ndarray]]
    pairs: np.ndarray
    born: BornParameters | None

    @property
    def quadruples(self) -> tuple[np.ndarray, ...]:
        """Atoms of the periodic torsions, and of the first and the second torsion of the maps, (m, 4) each."""
        return self.torsions[0], self.maps[0][:, :4], self.maps[0][:, 4:]


def read_parameters(system: openmm.System) -> Parameters:
    """Every force of the system. Raises InputError naming the first force or setting that has no translation."""
    n = system.getNumParticles()
    check_free(system)
    bonds, angles, torsions, maps, tables = [], [], {}, [], []
    pairs, born = np.zeros((3, n, n)), None
    for force in system.getForces():
        if isinstance(force, WITHOUT_ENERGY):
            continue
        if force.usesPeriodicBoundaryConditions():
            raise InputError(
                f"system.forcefield: expected forces without periodic boundaries; {force.getName()} has them{FALLBACK}"
            )
        match force:
            case openmm.HarmonicBondForce():
                bonds += [force.getBondParameters(i) for i in range(force.getNumBonds())]
            case openmm.HarmonicAngleForce():
                angles += [force.getAngleParameters(i) for i in range(force.getNumAngles())]
            case openmm.PeriodicTorsionForce():
                for *atoms, order, phase, k in (force.getTorsionParameters(i) for i in range(force.getNumTorsions())):
                    torsions.setdefault(tuple(atoms), []).append((order, plain(phase), plain(k)))
            case openmm.CMAPTorsionForce():
                maps += [
                    (len(tables) + which, *atoms)
                    for which, *atoms in (force.getTorsionParameters(i) for i in range(force.getNumTorsions()))
                ]
                tables += [_map(*force.getMapParameters(i)) for i in range(force.getNumMaps())]
            case openmm.NonbondedForce():
                pairs += _pairs(force)
            case openmm.GBSAOBCForce() | openmm.CustomGBForce() if born is None:
                if force.getNonbondedMethod() != force.NoCutoff:
                    raise InputError(f"system.forcefield: expected {force.getName()} without a cut-off{FALLBACK}")
                born = read_obc2(force, COULOMB) if isinstance(force, openmm.GBSAOBCForce) else read_custom(force)
            case _:
                raise InputError(f"system.forcefield: the batched form has no {force.getName()}{FALLBACK}")
    maps = np.array(maps, dtype=int).reshape(-1, 9)
    return Parameters(
        _columns(bonds, 2), _columns(angles, 3), _harmonics(torsions), (maps[:, 1:], maps[:, 0], tables), pairs, born
    )


def _columns(terms: list, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Atoms and the two numbers of each term."""
    table = np.array([[plain(value) for value in term] for term in terms]).reshape(-1, atoms + 2)
    return table[:, :atoms].astype(int), table[:, atoms:]


def _harmonics(torsions: dict[tuple, list]) -> tuple[np.ndarray, np.ndarray]:
    """k(1 + cos(nφ - φ0)) of equal atoms added up as one Fourier series."""
    order = max((n for terms in torsions.values() for n, _, _ in terms), default=0)
    coefficients = np.zeros((2, order + 1, len(torsions)))
    for column, terms in enumerate(torsions.values()):
        for n, phase, k in terms:
            coefficients[0, 0, column] += k
            coefficients[:, n, column] += k * np.cos(phase), k * np.sin(phase)
    return np.array(list(torsions), dtype=int).reshape(-1, 4), coefficients


def _map(size: int, energies) -> np.ndarray:
    """Energies on a grid of the first and the second angle, from 0 in steps of 2π/size."""
    return np.array([plain(energy) for energy in energies]).reshape(size, size).T


def _pairs(force: openmm.NonbondedForce) -> np.ndarray:
    if force.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff:
        raise InputError(f"system.forcefield: expected a {force.getName()} without cut-off{FALLBACK}")
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise InputError(f"system.forcefield: expected a {force.getName()} without parameter offsets{FALLBACK}")
    charge, sigma, epsilon = np.array(
        [[plain(v) for v in force.getParticleParameters(i)] for i in range(force.getNumParticles())]
    ).T
    product, width, depth = (
        np.outer(charge, charge),
        0.5 * (sigma[:, None] + sigma),
        np.sqrt(np.outer(epsilon, epsilon)),
    )
    for i, j, *values in (force.getExceptionParameters(k) for k in range(force.getNumExceptions())):
        for one, other in ((i, j), (j, i)):
            product[one, other], width[one, other], depth[one, other] = (plain(value) for value in values)
    pairs = np.stack([COULOMB * product, 4 * depth * width**12, 4 * depth * width**6])
    return pairs * (1 - np.eye(len(charge)))
