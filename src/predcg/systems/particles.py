"""The particles of an OpenMM System: that they are free, and that they are the atoms of the PDB in its order, with its
bonds.
"""

import openmm
from openmm import app

from predcg.errors import InputError

FREE = "make the System anew with constraints=None and rigidWater=False"
# In g/mol: the mass of a hydrogen, and the most of one that carries mass of the atom it is bonded to.
HYDROGEN, HEAVIEST = 1.008, 4.2
# What spans an angle and is longer than the longer bond by this factor is a spring between its ends, no bond; our
# choice.
UREY_BRADLEY = 1.3


def check_free(system: openmm.System) -> None:
    """Raise InputError on constraints, virtual sites and particles without mass: no sampler of ours moves these, and
    energies know nothing of them.
    """
    n = system.getNumParticles()
    if system.getNumConstraints():
        i, j, _ = system.getConstraintParameters(0)
        raise InputError(
            f"system.forcefield: expected no constraints; found {system.getNumConstraints()}, the first of atoms {i}"
            f" and {j}; {FREE}"
        )
    if sites := [i for i in range(n) if system.isVirtualSite(i)]:
        raise InputError(
            f"system.forcefield: expected no virtual sites; found {len(sites)}, the first is particle {sites[0]};"
            " choose a force field without them, such as tip3p.xml for water"
        )
    if fixed := [i for i in range(n) if plain(system.getParticleMass(i)) <= 0]:
        raise InputError(
            f"system.forcefield: expected particles with masses; found {len(fixed)} without, the first is {fixed[0]};"
            " give them their masses"
        )


def bonds(system: openmm.System) -> dict[frozenset[int], tuple[float, float]]:
    """Length in nm and spring constant in kJ/mol/nm² of every harmonic bond, by its atoms, or nan of custom ones where
    none is harmonic.

    Springs across angles (Urey and Bradley's) are no bonds, nor are custom terms beside harmonic bonds, such as
    CHARMM's 1-4 Lennard-Jones or restraints.
    """
    pairs: dict[frozenset[int], tuple[float, float]] = {}
    custom: dict[frozenset[int], tuple[float, float]] = {}
    angles: list[tuple[int, int, int]] = []
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            pairs |= {
                frozenset((i, j)): (plain(length), plain(k))
                for i, j, length, k in map(force.getBondParameters, range(force.getNumBonds()))
            }
        elif isinstance(force, openmm.CustomBondForce):
            custom |= {
                frozenset(force.getBondParameters(k)[:2]): (float("nan"), float("nan"))
                for k in range(force.getNumBonds())
            }
        elif isinstance(force, openmm.HarmonicAngleForce):
            angles += [tuple(force.getAngleParameters(k)[:3]) for k in range(force.getNumAngles())]
    found = dict(pairs or custom)
    for i, j, k in angles:
        across, *sides = (pairs.get(frozenset(pair), (0.0, 0.0))[0] for pair in ((i, k), (i, j), (j, k)))
        if across > UREY_BRADLEY * max(sides) > 0:
            found.pop(frozenset((i, k)), None)
    return found


def match(topology: app.Topology, system: openmm.System, pairs: set[frozenset[int]], pdb: str, file: str) -> None:
    """Compare the atoms of a PDB with the particles of a file's System, and add to the topology the bonds that only the
    file knows.

    Args:
        pairs: bonds of the file; none where it does not say.

    Raises:
        InputError: another number of atoms, a mass of another element (but what hydrogens have taken over of a bonded
            atom), or a bond that the file lacks.
    """
    atoms = list(topology.atoms())
    if system.getNumParticles() != len(atoms):
        raise InputError(f"system.forcefield: {file!r} has {system.getNumParticles()} atoms and {pdb!r} {len(atoms)}")
    light = [atom.element is not None and plain(atom.element.mass) < HEAVIEST for atom in atoms]
    masses = [plain(system.getParticleMass(i)) for i in range(len(atoms))]
    whole = list(masses)  # These masses include what hydrogens have taken over.
    for one, other in map(tuple, pairs):
        for heavy, hydrogen in ((one, other), (other, one)):
            whole[heavy] += (masses[hydrogen] - HYDROGEN) * (light[hydrogen] and not light[heavy])
    for atom, mass, full, hydrogen in zip(atoms, masses, whole, light, strict=True):
        expected = None if atom.element is None else plain(atom.element.mass)
        if expected is not None and not (0.9 < mass < HEAVIEST if hydrogen else abs(full - expected) < 1.1):
            raise InputError(
                f"system.pdb: expected the atoms of {file!r} in its order; the first that differs is atom {atom.index},"
                f" {_name(atom)} of {expected:.3f} g/mol in {pdb!r}, of {mass:.3f} there; reorder one of them"
            )
    there, bonded = {frozenset((a.index, b.index)) for a, b in topology.bonds()}, frozenset().union(*pairs)
    for pair in sorted(map(sorted, there - pairs)) if pairs else ():
        if bonded.issuperset(pair):  # Some PDB files bind ions, which do not count.
            one, other = (f"{i} ({_name(atoms[i])})" for i in pair)
            raise InputError(
                f"system.pdb: expected the atoms of {file!r} in its order; the first that differ are atoms {one} and"
                f" {other}, bonded in {pdb!r}, not there; reorder one of them"
            )
    for i, j in sorted(map(sorted, pairs - there)):
        topology.addBond(atoms[i], atoms[j])


def _name(atom: app.topology.Atom) -> str:
    return f"{atom.residue.name}{atom.residue.id}-{atom.name}"


def plain(quantity) -> float:
    """A number in nm, ps, kJ/mol, rad and elementary charges, with or without a unit so far."""
    return (
        quantity.value_in_unit_system(openmm.unit.md_unit_system)
        if openmm.unit.is_quantity(quantity)
        else float(quantity)
    )
