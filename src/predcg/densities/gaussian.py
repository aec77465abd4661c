"""Gaussian densities: the standard normal, and one whose mean and spread a network computes."""

import math
from collections.abc import Callable

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution
from zuko.distributions import DiagNormal

from predcg.densities.density import Conditional, Density, network
from predcg.observables import Observable
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt
from predcg.transforms import Transform


class Gaussian(DiagNormal):
    """N(μ, diag σ²), its density computed from log σ, which may be one for all contexts, in half as many operations as
    from σ.

    Args:
        mean: μ, (..., D).
        log_scale: log σ, (..., D) or (D,).

    >>> Gaussian(torch.zeros(5, 2), torch.zeros(2)).log_prob(torch.zeros(2)).exp()[0]  # 1 / 2π
    tensor(0.1592)
    """

    def __init__(self, mean: Tensor, log_scale: Tensor):
        super().__init__(mean, log_scale.exp().expand_as(mean))
        self.log_scale = log_scale

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_prob((x - self.mean) * (-self.log_scale).exp())

    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        """A reparametrised sample μ + σ ε and its log-density, which depends on ε and σ only."""
        noise = torch.randn(*shape, *self.mean.shape, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.base_dist.scale * noise, self._log_prob(noise)

    def _log_prob(self, noise: Tensor) -> Tensor:
        normalisation = self.log_scale.sum(-1) + 0.5 * self.mean.shape[-1] * math.log(2 * math.pi)
        return -0.5 * (noise * noise).sum(-1) - normalisation


class StandardNormal(Density):
    """N(0, I) of `size` coordinates, whatever the context.

    >>> StandardNormal(2)().log_prob(torch.zeros(2)).exp()  # 1 / 2π
    tensor(0.1592)
    """

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("zero", torch.zeros(size), persistent=False)

    def forward(self, c: Tensor | None = None) -> Distribution:
        zero = self.zero if c is None else self.zero.expand(*c.shape[:-1], -1)
        return Gaussian(zero, zero)


class GaussianMLP(Conditional):
    """N(μ(h), diag σ²) with μ a multilayer perceptron of the features h.

    Args:
        context, size, features, transform: see Conditional.
        hidden: width of each hidden layer; none makes the mean linear.
        activations: activation after each hidden layer, named as in torch.nn.
        scale: what computes log σ²: FreeScale, TrunkScale or NetScale, waiting for its sizes.
        gain: factor of the initial first layer; the larger, the shorter the stretch of h in which μ can turn.

    >>> decoder = GaussianMLP(context=2, size=66, hidden=[50], activations=["Tanh"], scale=FreeScale)
    >>> decoder(torch.zeros(7, 2)).sample().shape
    torch.Size([7, 66])
    """

    def __init__(
        self,
        context: NonNegativeInt,
        size: PositiveInt,
        hidden: list[PositiveInt],
        activations: list[str],
        scale: Callable[..., nn.Module],
        features: Observable | Transform | None = None,
        transform: Transform | None = None,
        gain: PositiveFloat = 1.0,
    ):
        super().__init__(context, size, features, transform)
        self.trunk = network(self.inputs, hidden, activations, gain)
        width = [self.inputs, *hidden][-1]
        self.mean = nn.Linear(width, self.outputs)
        self.scale = scale(inputs=self.inputs, trunk=width, outputs=self.outputs)

    def base(self, h: Tensor) -> Distribution:
        trunk = self.trunk(h)
        return Gaussian(self.mean(trunk), 0.5 * self.scale(h, trunk))


class FreeScale(nn.Module):
    """log σ² as free parameters, the same for every context.

    Args:
        init: initial log σ².
    """

    def __init__(self, inputs: int, trunk: int, outputs: int, init: float = 0.0):
        super().__init__()
        self.log_variance = nn.Parameter(torch.full((outputs,), float(init)))

    def forward(self, h: Tensor, trunk: Tensor) -> Tensor:
        return self.log_variance


class TrunkScale(nn.Module):
    """log σ² as a second linear head of the network that computes μ."""

    def __init__(self, inputs: int, trunk: int, outputs: int):
        super().__init__()
        self.head = nn.Linear(trunk, outputs)

    def forward(self, h: Tensor, trunk: Tensor) -> Tensor:
        return self.head(trunk)


class NetScale(nn.Module):
    """log σ² from a network of its own.

    Args:
        hidden, activations: its hidden layers.
        gain: factor of its initial first layer.
    """

    def __init__(
        self,
        inputs: int,
        trunk: int,
        outputs: int,
        hidden: list[PositiveInt],
        activations: list[str],
        gain: PositiveFloat = 1.0,
    ):
        super().__init__()
        self.net = network(inputs, hidden, activations, gain, outputs)

    def forward(self, h: Tensor, trunk: Tensor) -> Tensor:
        return self.net(h)
