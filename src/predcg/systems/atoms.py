"""Atoms that a topology tells of: of φ and ψ, of the rigid frame, heavy ones, α carbons, and what each is bonded to."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import mdtraj
import numpy as np
import torch

from predcg.errors import InputError
from predcg.observables import Angles

# These are sines of the angle of three atoms: what is bent by more than 30 degrees comes first, and what is less than
# 5 degrees from a line is on it; our choice.
BENT, STRAIGHT = 0.5, 0.09


def phi_psi(topology: mdtraj.Topology) -> list[list[list[int]]]:
    """Atoms of φ and of ψ of every residue that has both, [[N-terminal C, N, CA, C], [N, CA, C, next N]] each."""
    frame = mdtraj.Trajectory(np.zeros((1, topology.n_atoms, 3)), topology)
    phi, psi = mdtraj.compute_phi(frame)[0], mdtraj.compute_psi(frame)[0]
    return [[list(map(int, a)), list(map(int, b))] for a in phi for b in psi if list(a[1:]) == list(b[:3])]


def phi_psi_of(topology: mdtraj.Topology, residue: int | None) -> list[list[int]] | None:
    """Atoms of φ and of ψ of the residue of this number, default the first that has both; None where none has. Raises
    InputError on any other number.
    """
    found = phi_psi(topology)
    if residue is None:
        return found[0] if found else None
    numbers = [topology.atom(phi[2]).residue.resSeq for phi, _ in found]
    if residue not in numbers:
        raise InputError(
            f"system.residue: expected one that has both φ and ψ: {', '.join(map(str, numbers)) or 'none here has'};"
            f" found {residue}"
        )
    return found[numbers.index(residue)]


def phi_psi_names(topology: mdtraj.Topology, phi: Sequence[int] | None) -> tuple[str, str]:
    """Names of φ, given by its atoms, and of the ψ of its residue: with the residue where several have both."""
    residue = f" of {topology.atom(phi[2]).residue}" if phi and len(phi_psi(topology)) > 1 else ""
    return f"φ{residue}", f"ψ{residue}"


def neighbours(pairs: Iterable[Sequence[int]]) -> dict[int, list[int]]:
    """Atoms bonded to each atom that has a bond, in the order of the bonds, which are pairs of atoms.

    >>> neighbours([(0, 1), (1, 2)])
    {0: [1], 1: [0, 2], 2: [1]}
    """
    near: dict[int, list[int]] = {}
    for one, other in pairs:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    return near


def bonded(topology: mdtraj.Topology) -> dict[int, list[int]]:
    """Atoms bonded to each atom of a topology that has a bond."""
    return neighbours((one.index, other.index) for one, other in topology.bonds)


def frame_atoms(topology: mdtraj.Topology, models: np.ndarray) -> list[int] | None:
    """Three atoms that are never on one line, or None where no three bonded ones are.

    N, CA, C of the middle residue of a chain, which no atom is far from; else an atom between two bonded ones, heavy if
    possible, whose angle is far from 0 and 180 degrees in all models, (models, n_atoms, 3).
    """
    backbone = phi_psi(topology)
    if backbone:
        return backbone[len(backbone) // 2][0][1:]
    hydrogen = [atom.element.symbol == "H" for atom in topology.atoms]
    heavy_first = {i: sorted(near, key=hydrogen.__getitem__) for i, near in bonded(topology).items()}
    threes = [[a, b, c] for b, near in heavy_first.items() for a, c in combinations(near, 2)]
    bent = Angles(threes)(torch.tensor(models).flatten(1)).sin().amin(0).tolist() if threes else []
    candidates = [
        (sine < BENT, sum(hydrogen[i] for i in three), three)
        for sine, three in zip(bent, threes, strict=True)
        if sine > STRAIGHT
    ]
    return min(candidates, key=lambda candidate: candidate[:2], default=(None,))[-1]


def alpha_carbons(topology: mdtraj.Topology) -> list[int]:
    """The atoms named CA of residues that have a backbone, N-CA-C."""
    residues = ({atom.name: atom.index for atom in residue.atoms} for residue in topology.residues)
    return [named["CA"] for named in residues if named.keys() >= {"N", "CA", "C"}]


def heavy_atoms(topology: mdtraj.Topology) -> list[int]:
    """All atoms but hydrogen."""
    return [atom.index for atom in topology.atoms if atom.element.symbol != "H"]
