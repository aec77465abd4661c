"""Handedness of chiral centres: a mirror image has the energy of its original, so no energy tells them apart."""

import torch
from torch import Tensor

from predcg.observables.observable import atoms
from predcg.systems.system import System

# Each row has a residue (None for any), a centre, three of its neighbours by rank, and the labels of a positive and of
# a negative triple product.
CENTRES = [
    (None, "CA", ("N", "C", "CB"), "LD"),
    ("ILE", "CB", ("CA", "CG1", "CG2"), "SR"),
    ("THR", "CB", ("OG1", "CA", "CG2"), "SR"),
]


def centres(system: System) -> dict[str, list[int]]:
    """Chiral centres, each named with its handedness in the system's first model: the centre's atom and three
    neighbours; none without topology.

    >>> from predcg.systems import Peptide
    >>> centres(Peptide("ACE-GA-NME", ["amber96.xml", "amber96_obc.xml"], 300.0))
    {'ALA3 L': [15, 13, 21, 17]}
    """
    found = {}
    topology = getattr(system, "topology", None)
    for residue in topology.residues if topology else ():
        index = {atom.name: atom.index for atom in residue.atoms}
        for name, centre, neighbours, labels in CENTRES:
            if name in (None, residue.name) and index.keys() >= {centre, *neighbours}:
                four = [index[centre], *(index[neighbour] for neighbour in neighbours)]
                label = labels[0] if _positive(system.models[0], [four]) else labels[1]
                found[f"{residue}{'' if centre == 'CA' else '-' + centre} {label}"] = four
    return found


def census(system: System, x: Tensor) -> Tensor:
    """Whether each of the `centres` has the handedness of the system's first model, (..., D) to bool (..., centres).

    The handedness of centre r with neighbours a, b, c is the sign of (a - r) × (b - r) · (c - r).

    >>> from predcg.systems import Molecule
    >>> ala2 = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0)
    >>> census(ala2, torch.stack([ala2.models[1], -ala2.models[1]]))
    tensor([[ True],
            [False]])
    """
    index = list(centres(system).values())
    if not index:
        return x.new_ones((*x.shape[:-1], 0), dtype=torch.bool)
    return _positive(x, index) == _positive(system.models[0].to(x), index)


def _positive(x: Tensor, index: list[list[int]]) -> Tensor:
    r, a, b, c = atoms(x)[..., torch.tensor(index), :].unbind(-2)
    return (torch.linalg.cross(a - r, b - r) * (c - r)).sum(-1) > 0
