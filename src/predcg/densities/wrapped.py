"""The normal distribution on a circle."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import Distribution


class WrappedNormal(Distribution):
    """N(μ, diag σ²) on the circle: Σ_k N(τ + 2π k; μ, σ²), its sum cut at ± 3 turns.

    Args:
        mean: μ, (..., m), rad.
        log_scale: log σ, (..., m); widths up to some 3 rad, beyond which it is uniform, are exact.

    >>> # (1 + 2 e^(-σ²/2) cos 3 + ...) / 2π
    >>> WrappedNormal(torch.zeros(1), torch.ones(1)).log_prob(torch.tensor([3.0])).exp()
    tensor(0.1513)
    """

    has_rsample = True
    arg_constraints = {}

    def __init__(self, mean: Tensor, log_scale: Tensor):
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)
        self.centre, self.log_scale = mean, log_scale

    def rsample(self, shape: Size = ()) -> Tensor:
        turned = self.centre + self.log_scale.exp() * torch.randn(
            *shape, *self.centre.shape, dtype=self.centre.dtype, device=self.centre.device
        )
        return wrapped(turned)

    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        sample = self.rsample(shape)
        return sample, self.log_prob(sample)

    def log_prob(self, t: Tensor) -> Tensor:
        apart = wrapped(t - self.centre)
        turns = apart.unsqueeze(-1) + 2 * math.pi * torch.arange(-3, 4, dtype=t.dtype, device=t.device)
        exponents = -0.5 * (turns * (-self.log_scale.unsqueeze(-1)).exp()) ** 2
        return (exponents.logsumexp(-1) - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)


def wrapped(angle: Tensor) -> Tensor:
    """The angle on [-π, π)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
