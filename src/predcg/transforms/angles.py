"""Angles as a network may see them."""

import torch
from torch import Tensor

from predcg.ranges import PositiveInt
from predcg.transforms.transform import Transform


class Harmonics(Transform):
    """cos n t and sin n t of the first coordinates, angles t: bounded, without a seam, and without a way back. The
    other coordinates are left out.

    Args:
        folds: n of each angle.

    >>> Harmonics([1])(torch.tensor([0.0, 5.0]))
    tensor([1., 0.])
    """

    bijective = False

    def __init__(self, folds: list[PositiveInt]):
        super().__init__()
        self.register_buffer("folds", torch.tensor(folds, dtype=torch.long), persistent=False)

    def width(self, size: int) -> int:
        return 2 * len(self.folds)

    def _call(self, x: Tensor) -> Tensor:
        turned = self.folds * x[..., : len(self.folds)]
        return torch.cat([turned.cos(), turned.sin()], -1)
