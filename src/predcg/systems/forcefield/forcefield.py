"""An OpenMM System as one batched torch function."""

import numpy as np
import openmm
import torch
from torch import Tensor, nn

from predcg.systems.forcefield.cmap import CMAP
from predcg.systems.forcefield.parameters import Parameters, read_parameters
from predcg.systems.forcefield.solvent import GeneralisedBorn

TERMS = ("bond", "angle", "torsion", "nonbonded", "solvation")
# In nm: two atoms that come closer feel the parabola that continues their energy, so that it stays finite in float32.
CLASH = 0.02


class ForceField(nn.Module):
    """Energy terms and their gradient.

    E = Σ ½k(r - r0)² + Σ ½k(θ - θ0)² + Σ k(1 + cos(nφ - φ0)) + Σ 4ε(σ¹²/r¹² - σ⁶/r⁶) + Σ qq/r + E_GB, and CMAP.

    Blocks of W configurations lie side by side, x (K, 3, n, W): the innermost axis fills the vector registers of a CPU.
    Every index is the same for all of them, so that a gather costs no more than a read, and a sum over the terms or the
    partners of an atom is a gather too, never a scatter.

    Args:
        system: every force in it is translated; InputError names one that has no translation.
    """

    def __init__(self, system: openmm.System):
        super().__init__()
        parameters = read_parameters(system)
        n = system.getNumParticles()
        self.sizes, first, second = _differences(parameters)
        one, other = np.triu_indices(n, 1)
        index = np.zeros((n, n), int)
        index[one, other] = index[other, one] = np.arange(len(one))
        slots, filled = _slots(n, parameters)
        tensors = {
            "first": first,
            "second": second,
            "slots": slots,
            "filled": filled[..., None],
            "one": one,
            "other": other,
            "index": index,
            "others": (1 - np.eye(n))[:, :, None],
            "pair": parameters.pairs[:, one, other, None],
            "bond": parameters.bonds[1].T[..., None],
            "angle": parameters.angles[1].T[..., None],
            "series": parameters.torsions[1][..., None],
        }
        for name, value in tensors.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)
        self.maps = CMAP(*parameters.maps[1:]) if len(parameters.maps[0]) else None
        self.solvent = GeneralisedBorn(parameters.born) if parameters.born is not None else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The five TERMS in kJ/mol, (K, W) each, and the gradient in kJ/mol/nm, (K, 3, n, W), of x in nm, (K, 3, n, W).

        What follows these two is of no use to a caller: intermediate arrays, which a compiler so stores instead of
        computing them twice.
        """
        difference = x[..., self.first, :] - x[..., self.second, :]
        slope, terms = torch.func.grad(self._bonded, has_aux=True)(difference)
        bond, left, right, *torsions = slope.split(self.sizes, -2)
        pulls = [bond, -bond, left, -left - right, right]
        for one, middle, three in zip(*[iter(torsions)] * 3, strict=True):
            pulls += [one, -one - middle, middle + three, -three]
        pulls = torch.cat(pulls, -2)
        # The sum is written out, since a compiler would vectorise the reduction instead of the configurations.
        bonded_gradient = sum(
            filled * pulls[..., slot, :] for slot, filled in zip(self.slots, self.filled, strict=True)
        )
        pair_terms, pair_gradient, stored = self._pairs(x)
        return (*terms, *pair_terms), bonded_gradient + pair_gradient, (slope, pulls, *stored)

    def _bonded(self, difference: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        bond, left, right, one, middle, three, *maps = difference.split(self.sizes, -2)
        bonds = 0.5 * self.bond[1] * (_norm(bond) - self.bond[0]) ** 2
        cross = torch.linalg.cross(left, right, dim=-3)
        angles = 0.5 * self.angle[1] * (torch.atan2(_norm(cross), (left * right).sum(-3)) - self.angle[0]) ** 2
        x, y = _dihedral(one, middle, three)
        inverse = (x * x + y * y).clamp(min=1e-18).rsqrt()
        cos, sin = x * inverse, y * inverse
        (c, s), (power_cos, power_sin) = self.series, (cos, sin)
        torsions = c[0] * torch.ones_like(cos)
        for order in range(1, len(c)):
            torsions = torsions + c[order] * power_cos + s[order] * power_sin
            power_cos, power_sin = power_cos * cos - power_sin * sin, power_sin * cos + power_cos * sin
        torsion = torsions.sum(-2)
        if self.maps is not None:
            phi, psi = (torch.atan2(y, x) for x, y in (_dihedral(*maps[:3]), _dihedral(*maps[3:])))
            torsion = torsion + self.maps(phi, psi).sum(-2)
        terms = bonds.sum(-2), angles.sum(-2), torsion
        return sum(terms).sum(), terms

    def _pairs(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, tuple[Tensor, ...]]:
        true_r2 = ((x[..., self.one, :] - x[..., self.other, :]) ** 2).sum(-3)
        r2 = true_r2.clamp(min=CLASH**2)
        beyond = 0.5 * (true_r2 - r2)  # The parabola is E(r) = E(c) + E'(c)/c (r² - c²)/2.
        inverse = r2.rsqrt()
        inverse2 = inverse * inverse
        coulomb, twelve, six = self.pair[0] * inverse, self.pair[1] * inverse2**6, self.pair[2] * inverse2**3
        slope = -(12 * twelve - 6 * six + coulomb) * inverse2  # This is dE/dr / r.
        nonbonded = (coulomb + twelve - six + slope * beyond).sum(-2)
        stored, solvation = (inverse,), torch.zeros_like(nonbonded)
        if self.solvent is not None:
            solvation, by_r2, kept = self.solvent(
                true_r2, r2 * inverse, inverse, beyond, self.one, self.other, self.index
            )
            slope, stored = slope + by_r2, (inverse, *kept)
        # The sum is over the first axis of the two atoms: the gather's index then does not run along the sum.
        pull = slope[..., self.index, :] * self.others
        gradient = torch.stack(
            [(pull * (x[..., axis, None, :, :] - x[..., axis, :, None, :])).sum(-3) for axis in range(3)], -3
        )
        return (nonbonded, solvation), gradient, (slope, *stored)


def _norm(vector: Tensor) -> Tensor:
    """Length over the axis of x, y, z, with a derivative at zero."""
    return (vector * vector).sum(-3).clamp(min=1e-12).sqrt()


def _dihedral(one: Tensor, middle: Tensor, three: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the torsion, times the same positive number, from x_i - x_j, x_k - x_j, x_k - x_l."""
    before, behind = torch.linalg.cross(one, middle, dim=-3), torch.linalg.cross(middle, three, dim=-3)
    return (before * behind).sum(-3), (one * behind).sum(-3) * _norm(middle)


def _differences(parameters: Parameters) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Which vectors x_first - x_second the bonded terms need, and how many of each kind, in the order in which they are
    used.
    """
    i, j = parameters.bonds[0].T
    a, b, c = parameters.angles[0].T
    periodic, *maps = parameters.quadruples
    pairs = [(i, j), (a, b), (c, b)]
    for d, e, f, g in (atoms.T for atoms in (periodic, *(atoms for atoms in maps if len(atoms)))):
        pairs += [(d, e), (f, e), (f, g)]
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    return [len(ends[0]) for ends in pairs], first, second


def _slots(n: int, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """For each atom its places among the atoms of all bonded terms, and 1 there, 0 where the table is only filled up,
    (most, n).

    So the sum over the terms of an atom is a gather: a scatter would be one atomic addition for each.
    """
    atoms = np.concatenate(
        [terms.T.ravel() for terms in (parameters.bonds[0], parameters.angles[0], *parameters.quadruples)]
    )
    places = [np.flatnonzero(atoms == atom) for atom in range(n)]
    slots, filled = np.zeros((2, n, max(map(len, places))))
    for atom, found in enumerate(places):
        slots[atom, : len(found)], filled[atom, : len(found)] = found, 1
    return slots.T.astype(int), filled.T
