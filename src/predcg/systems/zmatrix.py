"""A Z-matrix from topology and force field: from which atoms every other one is placed, and within what bounds."""

import math
from collections.abc import Sequence

import mdtraj
import openmm
from torch import Tensor

from predcg.errors import InputError
from predcg.observables import Dihedrals
from predcg.systems.atoms import bonded
from predcg.systems.particles import plain

# In kJ/mol: a bond with a higher torsion barrier keeps the isomer of the first model (amides, aromatic rings), unless
# one of its atoms has four bonds, which make no isomers; our choice.
RIGID = 40.0


def zmatrix(
    topology: mdtraj.Topology,
    system: openmm.System,
    x: Tensor,
    frame_atoms: list[int],
    kt: float,
    given: Sequence[Sequence[int]] = (),
) -> dict[str, list]:
    """How a molecule is built up from three atoms, in plain numbers.

    Atom i is placed at a distance from j, an angle i-j-k and a torsion i-j-k-l. Of several atoms bonded to one j the
    first, which has most atoms behind it, gets the torsion about j-k that l defines, and the others a torsion relative
    to the first, whose range of ± 60 degrees about a tetrahedral and ± 90 about a planar centre keeps their handedness.
    The torsions of peptide bonds are bounded in the same way: the isomer of the first model (trans, unless it says
    otherwise) is the only one. A given torsion is that of its bond, whatever is behind its atoms.

    Args:
        topology, system: the molecule, one bonded piece.
        x: one configuration, (D,), nm: handedness and isomers are taken from it.
        frame_atoms: (a, b, c), b bonded to both others.
        kt: kT in kJ/mol.
        given: torsions, each by four atoms bonded one to the next, no two about one bond.

    Returns:
        atoms: [i, j, k, l] of each atom but the frame's, parents before children.
        bonds: [length in nm, thermal width √(kT/k)] of a-b, of b-c, and of each i-j.
        angles: [angle in rad, thermal width √(kT/k)] of a-b-c and of each i-j-k.
        ranges: [centre, half width] in rad of each torsion, null where it is periodic.
        given: which of the periodic torsions the given ones are, in their order.
        folds: of each other periodic torsion 3 for a rotor of three hydrogens, which no energy tells apart, else 1.

    Raises:
        InputError: atoms that no bonds connect, a bond or angle without a harmonic term, or a given torsion that is not
            periodic.
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

    rigid, (lengths, bends) = _rigid(system, near), _springs(system, kt)
    about = {}  # The given torsions by their bond, from the atom that it leads to.
    for torsion in given:
        _check_free(torsion, topology, near, rigid)
        i, j, k, l = torsion if parent[torsion[1]] == torsion[2] and torsion[1] != b else reversed(torsion)
        about[j] = [i, j, k, l]
    rows: list[list[int]] = []
    free: list[bool] = []
    folds: list[int] = []
    # A given torsion about a-b may count from another child of b.
    for j in (b, a, *order[2:]) if given else order:
        first = about[j][0] if j in about else None
        children = sorted(
            (i for i in near[j] if parent[i] == j and i not in frame_atoms), key=lambda i: (i != first, -behind[i], i)
        )
        k = parent[j]
        hydrogens = sum(topology.atom(i).element.symbol == "H" for i in children)
        for i in children:
            l = children[0] if i != children[0] else parent[k] if parent[k] != j else c
            row = about[j] if i == first else [i, j, k, l]
            rows.append(row)
            periodic = i == children[0] and j != b and frozenset((j, k)) not in rigid
            free.append(periodic)
            folds.append(3 if hydrogens == len(children) == 3 else 1)
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
    turning = [at for at, periodic in enumerate(free) if periodic]
    kept = [rows.index(row) for row in about.values()]
    return {
        "atoms": rows,
        "bonds": bonds,
        "angles": angles,
        "ranges": ranges,
        "given": [turning.index(at) for at in kept],
        "folds": [folds[at] for at in turning if at not in kept],
    }


def _check_free(
    torsion: Sequence[int], topology: mdtraj.Topology, near: dict[int, list[int]], rigid: set[frozenset]
) -> None:
    """Raise InputError on a torsion about a bond in a ring, or about one whose isomer is kept."""
    _, j, k, _ = torsion
    reached = [j]
    for one in reached:  # The list grows while it is read.
        reached += [other for other in near[one] if {one, other} != {j, k} and other not in reached]
    why = (
        "is in a ring"
        if k in reached
        else "keeps the isomer of the first model, as those of amides do"
        if frozenset((j, k)) in rigid
        else ""
    )
    if why:
        raise InputError(
            f"z_torsions: expected torsions that turn freely; found {list(torsion)}, whose bond {topology.atom(j)} to"
            f" {topology.atom(k)} {why}; choose another"
        )


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


def _rigid(system: openmm.System, near: dict[int, list[int]]) -> set[frozenset]:
    """Bonds that keep their isomer: the largest possible torsion barrier, Σ 2 |k| over the terms, is above RIGID."""
    barrier: dict[frozenset, float] = {}
    for force in system.getForces():
        if isinstance(force, openmm.PeriodicTorsionForce):
            for _, j, k, _, _, _, strength in map(force.getTorsionParameters, range(force.getNumTorsions())):
                bond = frozenset((j, k))
                barrier[bond] = barrier.get(bond, 0.0) + 2 * abs(plain(strength))
    return {bond for bond, height in barrier.items() if height >= RIGID and all(len(near.get(i, [])) < 4 for i in bond)}


def _range(torsion: float) -> list[float]:
    """The multiple of 60 degrees next to a torsion, and the half width that keeps other isomers out."""
    sixths = round(torsion / (math.pi / 3))
    return [sixths * math.pi / 3, math.pi / 2 if sixths % 3 == 0 else math.pi / 3]
