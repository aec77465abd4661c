"""Linear transforms: a unit of length, a given matrix, and whitening by the data."""

import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import PositiveFloat, PositiveInt
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


class Matrix(Transform):
    """y = A x, with the first rows of A as they are given, and an orthonormal basis of what these leave as the others.

    Args:
        rows: the first rows, of D numbers each; all D of them leave nothing.
        size: D.

    Raises:
        InputError: rows of another length, or such that A cannot be inverted.

    >>> Matrix([[1.0, -1.0], [1.0, 1.0]], 2)(torch.tensor([3.0, 1.0]))
    tensor([2., 4.])
    >>> Matrix([[2.0, 0.0]], 2)(torch.tensor([3.0, 1.0]))
    tensor([6., 1.])
    """

    def __init__(self, rows: list[list[float]], size: PositiveInt):
        super().__init__()
        found = [list(row) for row in rows]
        if not 1 <= len(found) <= size or any(len(row) != size for row in found):
            raise InputError(
                f"rows: expected between 1 and {size} rows of {size} numbers; found {found}; mend it, or choose encoder"
                " and decoder for this system"
            )
        given = torch.tensor(found, dtype=torch.float64)
        singular, directions = torch.linalg.svd(given)[1:]
        if not singular.min() > 1e-9 * singular.max():
            raise InputError(
                f"rows: expected linearly independent combinations, from which x can be found again; found {found}"
            )
        rest = directions[len(found) :]
        # The sign of a singular vector is open: its largest number is positive.
        rest = rest * rest.gather(1, rest.abs().argmax(1, keepdim=True)).sign()
        matrix = torch.cat([given, rest])
        # Kept with the weights: of several coordinates that are left, another library may choose another basis.
        self.register_buffer("matrix", matrix)
        self.register_buffer("inverse", matrix.inverse())

    def _call(self, x: Tensor) -> Tensor:
        return x @ self.matrix.to(x).T

    def _inverse(self, y: Tensor) -> Tensor:
        return y @ self.inverse.to(y).T

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.linalg.slogdet(self.matrix).logabsdet.to(x).expand(x.shape[:-1])


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
