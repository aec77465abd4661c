"""Angles: those of which several values are one and the same, and their sines and cosines."""

import math

import torch
from torch import Tensor

from predcg.transforms.transform import Transform


class Rotors(Transform):
    """The first coordinates, angles τ, n-fold: t = n τ on (-π, π]; back, τ = (t + 2π k) / n with k drawn uniformly.

    The density of τ is that of t, since the n branches share it: an n-fold symmetric density for any density of t (a surjection in the sense
    of Nielsen et al. 2020). For methyl groups, whose three hydrogens no energy tells apart.

    Args:
        folds: n of each of the first coordinates.

    >>> Rotors([3])(torch.tensor([0.1, 5.0]))
    tensor([0.3000, 5.0000])
    """

    bijective = False

    def __init__(self, folds: list[int]):
        super().__init__()
        self.register_buffer("folds", torch.tensor(folds, dtype=torch.float64), persistent=False)

    def _call(self, x: Tensor) -> Tensor:
        angles, rest = x.tensor_split([len(self.folds)], -1)
        return torch.cat([_wrap(self.folds.to(x) * angles), rest], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        angles, rest = y.tensor_split([len(self.folds)], -1)
        folds = self.folds.to(y)
        branch = (torch.rand_like(angles) * folds).floor()
        return torch.cat([_wrap((angles + 2 * math.pi * branch) / folds), rest], -1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])


class Harmonics(Transform):
    """The first coordinates, angles τ, as cos τ and sin τ, the others as they are: what a network may see of them without a seam. No way back.

    Args:
        periodic: how many are angles.

    >>> Harmonics(1)(torch.tensor([0.0, 5.0]))
    tensor([1., 0., 5.])
    """

    bijective = False

    def __init__(self, periodic: int):
        super().__init__()
        self.periodic = periodic

    def width(self, size: int) -> int:
        return size + self.periodic

    def _call(self, x: Tensor) -> Tensor:
        angles, rest = x.tensor_split([self.periodic], -1)
        return torch.cat([angles.cos(), angles.sin(), rest], -1)


def _wrap(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
