"""A Z-matrix from topology and force field: from which atoms every other one is placed, and within what bounds."""

import math

import mdtraj
import openmm
from torch import Tensor

from predcg.errors import InputError
from predcg.observables import Dihedrals
from predcg.systems.atoms import bonded
from predcg.systems.particles import plain

# In kJ/mol: a bond with a higher torsion barrier keeps the isomer of the first model (amides, aromatic rings); our
# choice.
RIGID = 40.0


def zmatrix(
    topology: mdtraj.Topology, system: openmm.System, x: Tensor, frame_atoms: list[int], kt: float
) -> dict[str, list]:
    """How a molecule is built up from three atoms, in plain numbers.

    Atom i is placed at a distance from j, an angle i-j-k and a torsion i-j-k-l. Of several atoms bonded to one j the
    first, which has most atoms behind it, gets the torsion about j-k that l defines, and the others a torsion relative
    to the first, whose range of ± 60 degrees about a tetrahedral and ± 90 about a planar centre keeps their handedness.
    The torsions of peptide bonds are bounded in the same way: the isomer of the first model (trans, unless it says
    otherwise) is the only one.

    Args:
        topology, system: the molecule, one bonded piece.
        x: one configuration, (D,), nm: handedness and isomers are taken from it.
        frame_atoms: (a, b, c), b bonded to both others.
        kt: kT in kJ/mol.

    Returns:
        atoms: [i, j, k, l] of each atom but the frame's, parents before children.
        bonds: [length in nm, thermal width √(kT/k)] of a-b, of b-c, and of each i-j.
        angles: [angle in rad, thermal width √(kT/k)] of a-b-c and of each i-j-k.
        ranges: [centre, half width] in rad of each torsion, null where it is periodic.
        folds: of each periodic torsion 3 for a rotor of three hydrogens, which no energy tells apart, else 1.

    Raises:
        InputError: atoms that no bonds connect, or a bond or angle without a harmonic term.
    """
    near = bonded(topology)
    a, b, c = frame_atoms
    parent = {a: b, b: a, c: b}
    order = list(frame_atoms)
    for j in order:  # The list grows while it is read, breadth first.
        for i in near[j]:
            if i not in parent:
                parent[i] = j
                order.append(i)
    if len(order) < topology.n_atoms:
        apart = topology.atom(min(set(range(topology.n_atoms)) - parent.keys()))
        raise InputError(
            f"zmatrix: expected a molecule in one bonded piece; found {apart} apart from the rest; mend the bonds of"
            " the topology"
        )
    behind = dict.fromkeys(order, 1)
    for i in reversed(order[3:]):
        behind[parent[i]] += behind[i]

    barrier, lengths, bends = _barriers(system), *_springs(system, kt)
    rows: list[list[int]] = []
    free: list[bool] = []
    folds: list[int] = []
    for j in order:
        children = sorted(
            (i for i in near[j] if parent[i] == j and i not in frame_atoms), key=lambda i: (-behind[i], i)
        )
        k = parent[j]
        hydrogens = sum(topology.atom(i).element.symbol == "H" for i in children)
        for i in children:
            l = children[0] if i != children[0] else parent[k] if parent[k] != j else c
            rows.append([i, j, k, l])
            periodic = i == children[0] and j != b and barrier.get(frozenset((j, k)), 0.0) < RIGID
            free.append(periodic)
            folds += [3 if hydrogens == len(children) == 3 else 1] if periodic else []
    try:
        bonds = [lengths[frozenset(pair)] for pair in [(a, b), (b, c), *((i, j) for i, j, _, _ in rows)]]
        angles = [bends[j, frozenset((i, k))] for i, j, k in [(a, b, c), *((i, j, k) for i, j, k, _ in rows)]]
    except KeyError as missing:
        raise InputError(
            "zmatrix: expected a harmonic term of every bond and angle; the force field has none for the atoms"
            f" {missing}"
        ) from missing
    ranges = [
        None if periodic else _range(torsion)
        for periodic, torsion in zip(free, Dihedrals(rows)(x).tolist(), strict=True)
    ]
    return {"atoms": rows, "bonds": bonds, "angles": angles, "ranges": ranges, "folds": folds}


def _springs(system: openmm.System, kt: float) -> tuple[dict, dict]:
    """[centre, thermal width] of every bond, by its two atoms, and of every angle, by its middle and its two outer
    atoms.
    """
    lengths, bends = {}, {}
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for i, j, length, k in map(force.getBondParameters, range(force.getNumBonds())):
                lengths[frozenset((i, j))] = [plain(length), math.sqrt(kt / plain(k))]
        if isinstance(force, openmm.HarmonicAngleForce):
            for i, j, k, angle, strength in map(force.getAngleParameters, range(force.getNumAngles())):
                width = math.sqrt(kt / plain(strength))
                # About a straight line the angle's density is sin θ times a Gaussian, whose top is one width away from
                # it.
                bends[j, frozenset((i, k))] = [min(plain(angle), math.pi - width), width]
    return lengths, bends


def _barriers(system: openmm.System) -> dict[frozenset, float]:
    """Largest possible torsion barrier about every bond in kJ/mol: Σ 2 |k| over its terms."""
    found: dict[frozenset, float] = {}
    for force in system.getForces():
        if isinstance(force, openmm.PeriodicTorsionForce):
            for _, j, k, _, _, _, strength in map(force.getTorsionParameters, range(force.getNumTorsions())):
                bond = frozenset((j, k))
                found[bond] = found.get(bond, 0.0) + 2 * abs(plain(strength))
    return found


def _range(torsion: float) -> list[float]:
    """The multiple of 60 degrees next to a torsion, and the half width that keeps other isomers out."""
    sixths = round(torsion / (math.pi / 3))
    return [sixths * math.pi / 3, math.pi / 2 if sixths % 3 == 0 else math.pi / 3]
