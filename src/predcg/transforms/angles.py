"""Angles as a network may see them."""

import torch
from torch import Tensor

from predcg.ranges import PositiveInt
from predcg.transforms.transform import Transform


class Harmonics(Transform):
    """cos k n t and sin k n t of the first coordinates, angles t, k = 1, 2, ...: bounded, without a seam, and without a
    way back. The other coordinates are left out.

    Args:
        folds: n of each angle; default all coordinates, with n = 1.
        orders: largest k.

    >>> Harmonics([1], orders=2)(torch.tensor([0.0, 5.0]))
    tensor([1., 0., 1., 0.])
    """

    bijective = False

    def __init__(self, folds: list[PositiveInt] | None = None, orders: PositiveInt = 1):
        super().__init__()
        self.orders = orders
        self.register_buffer(
            "folds", None if folds is None else torch.tensor(folds, dtype=torch.long), persistent=False
        )

    def width(self, size: int) -> int:
        return 2 * self.orders * (size if self.folds is None else len(self.folds))

    def _call(self, x: Tensor) -> Tensor:
        turned = x if self.folds is None else self.folds * x[..., : len(self.folds)]
        return waves(turned, self.orders)


def waves(t: Tensor, orders: int) -> Tensor:
    """cos k t and sin k t of angles t, k up to `orders`, (..., m) to (..., 2 m orders)."""
    return torch.cat([f(k * t) for k in range(1, orders + 1) for f in (torch.cos, torch.sin)], -1)
