"""Distances, angles and dihedrals of named atoms, and the size and shape of the whole."""

import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.observables.observable import Observable, atoms


class _Indexed(Observable):
    """An observable with one value for each row of atom indices."""

    order: int

    def __init__(self, indices: list[list[int]]):
        super().__init__()
        if any(len(row) != self.order for row in indices):
            raise InputError(f"indices: expected rows of {self.order} atoms; found {list(map(list, indices))}")
        self.register_buffer(
            "indices",
            torch.tensor([list(row) for row in indices], dtype=torch.long).view(-1, self.order),
            persistent=False,
        )

    def width(self, size: int) -> int:
        return len(self.indices)

    def points(self, x: Tensor) -> tuple[Tensor, ...]:
        """Positions of the atoms of every row: `order` tensors of shape (..., k, 3)."""
        return atoms(x)[..., self.indices, :].unbind(-2)


class Distances(_Indexed):
    """d = |r_j - r_i| in nm, (..., k).

    >>> Distances([[0, 1]])(torch.tensor([0.0, 0.0, 0.0, 0.3, 0.0, 0.4]))
    tensor([0.5000])
    """

    order = 2

    def forward(self, x: Tensor) -> Tensor:
        i, j = self.points(x)
        return (j - i).norm(dim=-1)


class Angles(_Indexed):
    """Angle i-j-k at j in rad, (..., k), through atan2, which unlike acos has a gradient everywhere on (0, π)."""

    order = 3

    def forward(self, x: Tensor) -> Tensor:
        i, j, k = self.points(x)
        a, b = i - j, k - j
        return torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1))


class Dihedrals(_Indexed):
    """Dihedral i-j-k-l in rad on (-π, π], IUPAC sign, (..., k)."""

    order = 4
    period = 2 * math.pi

    def forward(self, x: Tensor) -> Tensor:
        i, j, k, l = self.points(x)
        a, axis, c = j - i, k - j, l - k
        left, right = torch.linalg.cross(a, axis), torch.linalg.cross(axis, c)
        sine = (a * right).sum(-1) * axis.norm(dim=-1)
        return torch.atan2(sine, (left * right).sum(-1))


class RadiusOfGyration(Observable):
    """Rg = √(Σ_i m_i |r_i - r_com|² / Σ_i m_i) in nm, (..., 1).

    Args:
        masses: one per atom, any unit.

    >>> RadiusOfGyration([1.0, 3.0])(torch.tensor([0.0, 0, 0, 4.0, 0, 0]))  # √(¼ 3² + ¾ 1²)
    tensor([1.7321])
    """

    def __init__(self, masses: list[float]):
        super().__init__()
        self.register_buffer("share", torch.as_tensor(masses) / sum(masses), persistent=False)

    def width(self, size: int) -> int:
        return 1

    def forward(self, x: Tensor) -> Tensor:
        r, share = atoms(x), self.share[:, None].to(x)
        centred = r - (share * r).sum(-2, keepdim=True)
        return (share * centred**2).sum((-2, -1)).sqrt().unsqueeze(-1)


class DistanceRMSD(Observable):
    """√(mean over pairs i < j of (d_ij - d_ij^ref)²) in nm, (..., 1): an RMSD without fit, as `gmx rmsdist` computes
    it.

    A structure and its mirror image have the same value. Where all distances are the reference's, the gradient is taken
    as 0.

    Args:
        reference: D flat coordinates, nm.

    Raises:
        InputError: fewer than two atoms, or coordinates that are not three for each.

    >>> DistanceRMSD([0.0, 0, 0, 0.3, 0, 0])(torch.tensor([1.0, 1, 1, 1, 1.5, 1]))
    tensor([0.2000])
    """

    def __init__(self, reference: list[float]):
        super().__init__()
        if len(reference) < 6 or len(reference) % 3:
            raise InputError(
                f"reference: expected three coordinates for each of two atoms or more, flat; found {len(reference)}"
                " numbers"
            )
        self.register_buffer("reference", _all_distances(torch.as_tensor(reference)), persistent=False)

    def width(self, size: int) -> int:
        return 1

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.reference)
        difference = _all_distances(x) - self.reference.to(x)
        # Every pair is counted twice. A norm, unlike the root of a mean square, has a finite gradient at 0.
        return torch.linalg.vector_norm(difference, dim=(-2, -1)).unsqueeze(-1) / math.sqrt(n * (n - 1))


def _all_distances(x: Tensor) -> Tensor:
    """d_ij, (..., n, n), not by way of matrix products, which in float32 lose half of the digits."""
    return torch.cdist(atoms(x), atoms(x), compute_mode="donot_use_mm_for_euclid_dist")
