"""Torsions of a molecule, by name or by their four atoms."""

from collections.abc import Sequence
from itertools import pairwise

import mdtraj
from mdtraj.geometry import dihedral

from predcg.errors import InputError
from predcg.systems.atoms import bonded

NAMES = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5")


def torsions(topology: mdtraj.Topology, wanted: Sequence[str | Sequence[int]], residue: int | None) -> list[list[int]]:
    """The four atoms of each torsion, bonded one to the next.

    Args:
        wanted: names as mdtraj has them, phi, psi, omega and chi1 to chi5, with the number of a residue where another
            one is meant, as in psi:3; or four atoms, counted from 0.
        residue: the number, as in the PDB, of the residue that is meant where a name tells none.

    Raises:
        InputError: a torsion that does not exist, or two about one bond.

    >>> from predcg.systems import Peptide
    >>> peptide = Peptide("ACE-S-NME", ["amber96.xml"], 300.0)
    >>> torsions(peptide.topology, ["phi", "chi1:2", [16, 15, 8, 6]], 2)
    [[4, 6, 8, 15], [6, 8, 10, 13], [16, 15, 8, 6]]
    """
    found, near = [], bonded(topology)
    for one in wanted:
        atoms = _named(topology, one, residue) if isinstance(one, str) else list(one)
        if len(atoms) != 4 or len(set(atoms)) < 4 or not set(atoms) <= set(range(topology.n_atoms)):
            raise InputError(
                f"z_torsions: expected four different atoms of 0 to {topology.n_atoms - 1}; found {atoms}; mend them"
            )
        for i, j in pairwise(atoms):
            if j not in near.get(i, []):
                raise InputError(
                    f"z_torsions: expected four atoms, each bonded to the next; found {atoms}, of which"
                    f" {topology.atom(i)} and {topology.atom(j)} are not; mend them"
                )
        for before, other in enumerate(found):
            if set(other[1:3]) == set(atoms[1:3]):
                raise InputError(
                    f"z_torsions: expected one torsion about each bond; found {wanted[before]} and {one}, both about"
                    f" {topology.atom(atoms[1])} to {topology.atom(atoms[2])}; leave one out"
                )
        found.append(atoms)
    if not found:
        raise InputError("z_torsions: expected one torsion or more; found none; leave z_torsions out for phi and psi")
    return found


def _named(topology: mdtraj.Topology, text: str, residue: int | None) -> list[int]:
    name, _, number = text.partition(":")
    if name not in NAMES:
        raise InputError(
            f"z_torsions: expected names of {', '.join(NAMES)}, with a residue as in psi:3, or four atoms; found"
            f" {text!r}; mend it"
        )
    # Of all of them the second atom is the residue's own.
    known = {
        str(topology.atom(int(atoms[1])).residue.resSeq): list(map(int, atoms))
        for atoms in reversed(getattr(dihedral, f"indices_{name}")(topology).tolist())
    }
    if (wanted := number or str(residue)) not in known:
        there = ", ".join(f"{name}:{one}" for one in reversed(known)) or f"no {name} at all"
        raise InputError(
            f"z_torsions: expected a torsion of this molecule, which has {there}; found {name} of residue {wanted};"
            " mend it, or give four atoms"
        )
    return known[wanted]
