"""Structures that the decoder draws, and how far each atom spreads around them."""

import torch
from torch import Tensor

from predcg.measures.weights import mean
from predcg.observables import Distances
from predcg.observables.alignment import rotation_onto
from predcg.observables.observable import atoms
from predcg.results import Run
from predcg.systems import Molecule


def largest_bond_error(run: Run, x: Tensor) -> float:
    """The largest deviation, nm, of a bond between heavy atoms in structures, (n, D), from its mean in the training
    frames.
    """
    heavy = Distances(
        [[a.index, b.index] for a, b in run.system.topology.bonds if "H" not in (a.element.symbol, b.element.symbol)]
    )
    return (heavy(x) - mean(run.data.train, heavy(run.data.train.x))).abs().max().item()


@torch.no_grad()
def spreads(run: Run, draws: int) -> tuple[Tensor, Tensor, dict[str, float]]:
    """σ of every atom in nm, and whether it is a methyl hydrogen, (atoms,); the means of both kinds, where an atom is
    free: see figures.atom_spread.
    """
    z = run.model.latent().sample((draws,))
    square = atoms(run.model.decoder(z).sample() - run.model.decode(z)).square().mean(0)
    spread = (square.sum(-1) / (square > 0).sum(-1).clamp_min(1)).sqrt()
    rotor = torch.tensor(methyl_hydrogens(run.system))
    numbers = {"spread_others_nm": spread[~rotor & (spread > 0)].mean().item()}
    if rotor.any():
        numbers["spread_methyl_hydrogens_nm"] = spread[rotor].mean().item()
        numbers["spread_ratio_methyl_hydrogens"] = numbers["spread_methyl_hydrogens_nm"] / numbers["spread_others_nm"]
    return spread, rotor, numbers


def methyl_hydrogens(molecule: Molecule) -> list[bool]:
    """Whether each atom is a hydrogen whose neighbour carries three: methyl groups and charged amino groups."""
    carried: dict[int, list[int]] = {}
    for one, other in molecule.topology.bonds:
        for centre, atom in ((one, other), (other, one)):
            if atom.element.symbol == "H":
                carried.setdefault(centre.index, []).append(atom.index)
    rotor = {atom for hydrogens in carried.values() if len(hydrogens) == 3 for atom in hydrogens}
    return [index in rotor for index in range(molecule.size // 3)]


def posed(x: Tensor, molecule: Molecule, shown: list[int]) -> Tensor:
    """Structures, (n, atoms, 3), superposed on the middle one by their backbone; the longest extent upright, the
    shortest towards the eye.
    """
    heavy = [atom for atom in molecule.topology.atoms if atom.element.symbol != "H"]
    fixed = [atom.index for atom in heavy if atom.is_backbone] or [atom.index for atom in heavy]
    r = atoms(x)
    r = r - r[:, fixed].mean(1, keepdim=True)
    r = r @ rotation_onto(r[:, fixed], r[len(r) // 2, fixed])
    cloud = r[:, shown].flatten(0, 1)
    across, up = torch.linalg.eigh(torch.cov(cloud.T)).eigenvectors.T[1:]  # Eigenvalues come smallest first.
    # The first atom stands above and to the left; the third axis follows, so that no molecule becomes its mirror image.
    first = r[:, 0].mean(0) - cloud.mean(0)
    up, across = up if first @ up > 0 else -up, across if first @ across < 0 else -across
    return r @ torch.stack([across, up, torch.linalg.cross(across, up)], -1)
