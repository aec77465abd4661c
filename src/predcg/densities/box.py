"""A box of a few coordinates, each an interval or a circle, and the regular grid of cells that fills it."""

import torch
from torch import Tensor, nn

from predcg.errors import InputError


class Box(nn.Module):
    """[low, high] along every coordinate; along a circle high and low are the same point.

    Args:
        low, high: ends, one for each of d coordinates; of a circle the difference is its circumference.
        periodic: which coordinates are circles; default none.

    Raises:
        InputError: lists of different lengths, or an end that is not above the other.

    >>> Box([0.0, -1.0], [4.0, 1.0], [True, False]).folded(torch.tensor([5.0, 1.5]))
    tensor([1., 1.])
    """

    def __init__(self, low: list[float], high: list[float], periodic: list[bool] | None = None):
        super().__init__()
        periodic = [False] * len(low) if periodic is None else list(periodic)
        if not len(low) == len(high) == len(periodic) or not low:
            raise InputError(
                "latent.low, high, periodic: expected one entry for each coordinate; found"
                f" {len(low)}, {len(high)}, {len(periodic)}"
            )
        if any(not b > a for a, b in zip(low, high, strict=True)):
            raise InputError(f"latent.low: expected numbers below high = {list(high)}; found {list(low)}")
        self.size = len(low)
        self.register_buffer("low", torch.tensor(low, dtype=torch.float64), persistent=False)
        self.register_buffer("high", torch.tensor(high, dtype=torch.float64), persistent=False)
        self.register_buffer("periodic", torch.tensor(periodic), persistent=False)

    @property
    def sides(self) -> Tensor:
        """Lengths, (d,), float64."""
        return self.high - self.low

    def folded(self, z: Tensor) -> Tensor:
        """z inside the box, (..., d): along a circle by whole turns, else at the nearest end."""
        low, high = self.low.to(z), self.high.to(z)
        turned = low + (z - low) % (high - low)
        return torch.where(self.periodic, turned, torch.minimum(torch.maximum(z, low), high))

    def holds(self, z: Tensor) -> Tensor:
        """Whether z is inside, (..., d) to (...,); it always is along a circle."""
        return (((z >= self.low.to(z)) & (z <= self.high.to(z))) | self.periodic).all(-1)

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """Between all of two sets of points, (n, d) and (m, d) to (n, m), the shorter way around circles."""
        apart, sides = one.unsqueeze(1) - other.unsqueeze(0), self.sides.to(one)
        turned = (apart + sides / 2) % sides - sides / 2
        return torch.where(self.periodic, turned, apart).norm(dim=-1)

    def cells(self, counts: list[int]) -> tuple[Tensor, Tensor]:
        """Centres of a regular grid with so many cells along each coordinate, (n, d), the last running fastest, and the
        sides of a cell, (d,), float64.
        """
        sides = self.sides / torch.tensor(counts, device=self.low.device)
        axes = [
            low + side * (torch.arange(n, dtype=low.dtype, device=low.device) + 0.5)
            for low, side, n in zip(self.low, sides, counts, strict=True)
        ]
        return torch.cartesian_prod(*axes).view(-1, self.size), sides

    def cell(self, z: Tensor, counts: list[int]) -> Tensor:
        """Which of these cells z is in, (..., d) to (...,)."""
        at, index = (self.folded(z) - self.low.to(z)) / self.sides.to(z), torch.zeros_like(z[..., 0]).long()
        for axis, n in enumerate(counts):
            index = index * n + (at[..., axis] * n).long().clamp_max(n - 1)
        return index
