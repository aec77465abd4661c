"""Cubic B-splines on a regular grid: smooth functions of a few coordinates, linear in their coefficients."""

import math

import torch
from torch import Tensor, nn

from predcg.densities.box import Box
from predcg.errors import InputError


class Splines(nn.Module):
    """Products of cubic B-splines b_j(z) over a box, f(z) = Σ_j θ_j b_j(z); f has two continuous derivatives, on a
    circle too.

    Args:
        box: of d coordinates.
        intervals: of the regular grid along each.

    Raises:
        InputError: not one number for each coordinate, or fewer than four intervals.

    >>> index, value = Splines(Box([0.0], [1.0]), [4])(torch.tensor([[0.5]]))
    >>> index, value  # 1/6, 4/6, 1/6 at a knot
    (tensor([[2, 3, 4, 5]]), tensor([[0.1667, 0.6667, 0.1667, 0.0000]]))
    """

    def __init__(self, box: Box, intervals: list[int]):
        super().__init__()
        if len(intervals) != box.size or min(intervals) < 4:
            raise InputError(
                f"latent.intervals: expected at least 4 for each of {box.size} coordinates; found {list(intervals)}"
            )
        self.box, self.intervals = box, list(intervals)
        self.counts = [n if circle else n + 3 for n, circle in zip(intervals, box.periodic.tolist(), strict=True)]
        self.size = math.prod(self.counts)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The splines that are not zero at z, (..., d), which is folded into the box: their indices and values, (...,
        4^d) each.
        """
        at = (self.box.folded(z) - self.box.low.to(z)) / self.box.sides.to(z)
        index, value = torch.zeros_like(z[..., :1]).long(), torch.ones_like(z[..., :1])
        for axis, (n, count) in enumerate(zip(self.intervals, self.counts, strict=True)):
            t = at[..., axis] * n
            first = t.detach().floor().clamp(0, n - 1)
            u = t - first
            pieces = [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]
            here = (first.long().unsqueeze(-1) + torch.arange(4, device=z.device)) % count
            index = (index.unsqueeze(-1) * count + here.unsqueeze(-2)).flatten(-2)
            value = (value.unsqueeze(-1) * torch.stack(pieces, -1).div(6).unsqueeze(-2)).flatten(-2)
        return index, value

    def roughness(self, slope: float, bend: float) -> Tensor:
        """Precision of θ, (size, size), float64: along every axis first differences have the standard deviation
        `slope`, second ones `bend`. It leaves the constant open.
        """
        total = self.box.low.new_zeros(self.size, self.size)
        for axis, (count, circle) in enumerate(zip(self.counts, self.box.periodic.tolist(), strict=True)):
            first, second = _differences(count, circle)
            along = (first.T @ first / slope**2 + second.T @ second / bend**2).to(total)
            before, after = math.prod(self.counts[:axis]), math.prod(self.counts[axis + 1 :])
            total += torch.kron(torch.kron(torch.eye(before).to(total), along), torch.eye(after).to(total))
        return total


def _differences(count: int, circle: bool) -> tuple[Tensor, Tensor]:
    """Matrices of first and second differences of `count` numbers in a row or on a circle."""
    eye = torch.eye(count, dtype=torch.float64)
    first, second = eye.roll(1, 1) - eye, eye.roll(-1, 1) - 2 * eye + eye.roll(1, 1)
    return (first, second) if circle else (first[:-1], second[1:-1])
