"""What an observable is: a collective variable, an encoder's features and what a figure measures are the same thing."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Observable(nn.Module, ABC):
    """A differentiable map x -> a(x), (..., D) to (..., k)."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """a(x): (..., D) to (..., k)."""

    @abstractmethod
    def width(self, size: int) -> int:
        """k, given D = `size`."""


def atoms(x: Tensor) -> Tensor:
    """Flat Cartesian coordinates seen as atoms: (..., 3 n) to (..., n, 3)."""
    return x.unflatten(-1, (-1, 3))
