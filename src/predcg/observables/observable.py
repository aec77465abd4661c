"""What an observable is: a collective variable, an encoder's features and what a figure measures are the same thing."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from predcg.errors import InputError


class Observable(nn.Module, ABC):
    """A differentiable map x -> a(x), (..., D) to (..., k)."""

    period: float | None = None  # Of its values, where they are angles.

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """a(x): (..., D) to (..., k)."""

    @abstractmethod
    def width(self, size: int) -> int:
        """k, given D = `size`."""


class Combinations(Observable):
    """a_k = Σ_i w_ki x_i: linear combinations of the coordinates.

    Args:
        weights: w, k rows of one number for each of D coordinates.

    Raises:
        InputError: rows of different lengths, or none.

    >>> Combinations([[1.0, -1.0]])(torch.tensor([3.0, 1.0]))
    tensor([2.])
    """

    def __init__(self, weights: list[list[float]]):
        super().__init__()
        rows = [list(row) for row in weights]
        if not rows or len({len(row) for row in rows}) > 1:
            raise InputError(f"weights: expected rows of the same length; found lengths {[len(row) for row in rows]}")
        self.register_buffer("weights", torch.tensor(rows, dtype=torch.float64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.weights.shape[1]:
            raise InputError(
                f"weights: expected rows of {x.shape[-1]} numbers, one for each coordinate; found"
                f" {self.weights.shape[1]}"
            )
        return x @ self.weights.to(x).T

    def width(self, size: int) -> int:
        return len(self.weights)


def atoms(x: Tensor) -> Tensor:
    """Flat Cartesian coordinates seen as atoms: (..., 3 n) to (..., n, 3)."""
    return x.unflatten(-1, (-1, 3))


def apart(one: Tensor, other: Tensor, period: float | None) -> Tensor:
    """one - other, on a circle of this circumference the shorter way around.

    >>> apart(torch.tensor([3.0]), torch.tensor([-3.0]), 2 * torch.pi)
    tensor([-0.2832])
    """
    difference = one - other
    return difference if period is None else (difference + period / 2) % period - period / 2
