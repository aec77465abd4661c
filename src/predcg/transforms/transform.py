"""What a transform is: torch's own noun with parameters, a size, and a chance to see the data."""

import torch
from torch import Tensor, nn
from torch.distributions import constraints


class Transform(torch.distributions.Transform, nn.Module):
    """A map x -> y with its log-determinant, (..., D) to (..., k); `transform.inv` goes back.

    Seen from a decoder it is the last step from the network's coordinates y to Cartesian x; seen from an encoder it is
    an observable. A subclass writes `_call`, `_inverse`, `log_abs_det_jacobian` and, where k differs from D, `width`.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True
    # torch's Transform defines equality without a hash, and modules live in sets.
    __hash__ = nn.Module.__hash__

    def __init__(self):
        nn.Module.__init__(self)
        torch.distributions.Transform.__init__(self)

    def width(self, size: int) -> int:
        """k, given D = `size`."""
        return size

    def back_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """x and log|dx/dy| of y in one pass."""
        x = self.inv(y)
        return x, -self.log_abs_det_jacobian(x, y)

    def fit(self, x: Tensor) -> None:
        """See the configurations that the model will learn from, (N, D); most transforms need not."""


class Identity(Transform):
    """y = x."""

    def _call(self, x: Tensor) -> Tensor:
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])


class Chain(Transform):
    """Transforms one after another, the first listed acting first on x."""

    def __init__(self, transforms: list[Transform]):
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def width(self, size: int) -> int:
        for transform in self.transforms:
            size = transform.width(size)
        return size

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        for transform in self.transforms:
            shape = transform.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        for transform in reversed(self.transforms):
            shape = transform.inverse_shape(shape)
        return shape

    def fit(self, x: Tensor) -> None:
        for transform in self.transforms:
            transform.fit(x)
            x = transform(x)

    def _call(self, x: Tensor) -> Tensor:
        for transform in self.transforms:
            x = transform(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for transform in reversed(self.transforms):
            y = transform.inv(y)
        return y

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log|dy/dx| in one pass."""
        total = x.new_zeros(x.shape[:-1])
        for transform in self.transforms:
            x, log_det = transform.call_and_ladj(x)
            total = total + log_det
        return x, total

    def back_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        total = y.new_zeros(y.shape[:-1])
        for transform in reversed(self.transforms):
            y, log_det = transform.back_and_ladj(y)
            total = total + log_det
        return y, total

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]
