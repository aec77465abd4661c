"""Linear transforms: a unit of length, and whitening by the data."""

import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import PositiveFloat
from predcg.transforms.transform import Transform


class Unit(Transform):
    """y = x / length: the same configuration measured in another unit.

    Args:
        length_nm: the unit in nm; 0.1 gives Å.

    >>> Unit(0.1)(torch.tensor([0.15]))
    tensor([1.5000])
    """

    def __init__(self, length_nm: PositiveFloat):
        if not length_nm > 0:
            raise InputError(f"length_nm: expected a positive number; found {length_nm}")
        super().__init__()
        self.length_nm = length_nm

    def _call(self, x: Tensor) -> Tensor:
        return x / self.length_nm

    def _inverse(self, y: Tensor) -> Tensor:
        return y * self.length_nm

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_full(x.shape[:-1], -x.shape[-1] * math.log(self.length_nm))


class Whitening(Transform):
    """y = L⁻¹ (x - m), with m the mean and L Lᵀ the covariance of the data, so that y has mean 0 and covariance 1.

    Directions whose variance is below `floor` times the largest count as having that variance: constrained bonds and
    data sets with fewer frames than coordinates have directions without any. Before `fit` it is the identity.

    Args:
        size: number of coordinates.
        floor: smallest variance kept, relative to the largest.

    >>> whitening = Whitening(1)
    >>> whitening.fit(torch.tensor([[1.0], [5.0]]))
    >>> whitening(torch.tensor([3.0, 7.0])[:, None]).flatten()
    tensor([0., 2.])
    """

    def __init__(self, size: int, floor: float = 1e-6):
        super().__init__()
        self.floor = floor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("lower", torch.eye(size))

    def fit(self, x: Tensor) -> None:
        if len(x) < 2:
            raise InputError(f"whitening: expected at least 2 frames to learn from; found {len(x)}")
        centred = (x - x.mean(0)).double()
        variance, direction = torch.linalg.eigh(centred.T @ centred / len(x))
        variance = variance.clamp_min(self.floor * variance.max())
        self.mean.copy_(x.mean(0))
        self.lower.copy_(torch.linalg.cholesky((direction * variance) @ direction.T))

    def _call(self, x: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.lower, (x - self.mean).unsqueeze(-1), upper=False).squeeze(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y @ self.lower.T + self.mean

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (-self.lower.diagonal().log().sum()).expand(x.shape[:-1])
