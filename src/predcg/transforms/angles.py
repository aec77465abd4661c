"""Angles as a network may see them."""

import torch
from torch import Tensor

from predcg.ranges import PositiveInt
from predcg.transforms.transform import Transform


class Harmonics(Transform):
    """cos n t and sin n t of the first coordinates, angles t: bounded, without a seam, and without a way back. The
    other coordinates are left out.

    Args:
        folds: n of each angle; default all coordinates, with n = 1.

    >>> Harmonics([1])(torch.tensor([0.0, 5.0]))
    tensor([1., 0.])
    """

    bijective = False

    def __init__(self, folds: list[PositiveInt] | None = None):
        super().__init__()
        self.register_buffer(
            "folds", None if folds is None else torch.tensor(folds, dtype=torch.long), persistent=False
        )

    def width(self, size: int) -> int:
        return 2 * (size if self.folds is None else len(self.folds))

    def _call(self, x: Tensor) -> Tensor:
        turned = x if self.folds is None else self.folds * x[..., : len(self.folds)]
        return torch.cat([turned.cos(), turned.sin()], -1)
