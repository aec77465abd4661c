"""Cubic B-splines on a regular grid: smooth functions of a few coordinates, linear in their coefficients."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from predcg.densities.box import Box
from predcg.errors import InputError

PART = 32_768


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

    def at(self, z: Tensor, theta: Tensor) -> Tensor:
        """f at z, (n, d), of the coefficients θ, (..., M): (..., n). In parts, which fit into a processor's cache."""
        parts = []
        for part in z.split(max(PART // theta[..., 0].numel(), 1)):
            index, value = self(part)
            parts.append((theta.to(value)[..., index] * value).sum(-1))
        return torch.cat(parts, -1)

    def roughness(self, slope: float, bend: float) -> Tensor:
        """Precision of θ, (size, size), float64: along every axis first differences have the standard deviation
        `slope`, third ones `bend`. It leaves the constant open.
        """
        total = self.box.low.new_zeros(self.size, self.size)
        for axis, (count, circle) in enumerate(zip(self.counts, self.box.periodic.tolist(), strict=True)):
            first, third = _differences(count, circle)
            along = (first.T @ first / slope**2 + third.T @ third / bend**2).to(total)
            before, after = math.prod(self.counts[:axis]), math.prod(self.counts[axis + 1 :])
            total += torch.kron(torch.kron(torch.eye(before).to(total), along), torch.eye(after).to(total))
        return total


class Cells:
    """What splines are at the centres of the cells of a regular grid, for sums over cells that cost nothing: as every
    interval has the same cells, they have the same values in all.

    Args:
        splines: with M coefficients.
        per: cells along each side of an interval; n in all, the last coordinate running fastest.
    """

    def __init__(self, splines: Splines, per: int):
        axes = [length for n in splines.intervals for length in (n, per)]
        order = [*range(0, len(axes), 2), *range(1, len(axes), 2)]
        self.size, self.n = splines.size, math.prod(axes)
        cells = torch.arange(self.n, device=splines.box.low.device).view(axes).permute(order)
        self.cells = cells.reshape(math.prod(splines.intervals), -1)
        centres = splines.box.cells([n * per for n in splines.intervals])[0]
        self.index, _ = splines(centres[self.cells[:, 0]])
        self.value = splines(centres[self.cells[0]])[1]

    def __call__(self, theta: Tensor) -> Tensor:
        """f at all centres, (M,) to (n,)."""
        f = theta.new_empty(self.n)
        f[self.cells] = theta[self.index] @ self.value.T
        return f

    def total(self, cell: Tensor, of: Tensor) -> Tensor:
        """Sums over what is in each cell, (N,) and (N,) to (n,)."""
        return cell.bincount(of, self.n)

    def slope(self, pull: Tensor) -> Tensor:
        """Σ_c pull_c b(z_c), (n,) to (M,)."""
        return pull.new_zeros(self.size).index_add(0, self.index.flatten(), (pull[self.cells] @ self.value).flatten())

    def gram(self, weight: Tensor) -> Tensor:
        """Σ_c weight_c b(z_c) b(z_c)ᵀ, (n,) to (M, M)."""
        products = weight[self.cells] @ (self.value.unsqueeze(-1) * self.value.unsqueeze(-2)).flatten(1)
        pairs = (self.index.unsqueeze(-1) * self.size + self.index.unsqueeze(-2)).flatten()
        return weight.new_zeros(self.size**2).index_add(0, pairs, products.flatten()).view(self.size, self.size)


def _differences(count: int, circle: bool) -> tuple[Tensor, Tensor]:
    """Matrices of first and third differences of `count` numbers in a row or on a circle."""
    eye = torch.eye(count, dtype=torch.float64)
    if circle:
        first = eye.roll(-1, 1) - eye
        return first, first @ first @ first
    return tuple(torch.from_numpy(np.diff(eye.numpy(), n=order, axis=0)) for order in (1, 3))
