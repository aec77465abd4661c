"""Gaussian densities: the standard normal, and one whose mean and spread a network computes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from zuko.distributions import DiagNormal

from predcg.densities.density import Conditional, Density, network
from predcg.observables import Observable
from predcg.transforms import Transform


class StandardNormal(Density):
    """N(0, I) of `size` coordinates, whatever the context.

    >>> StandardNormal(2)().log_prob(torch.zeros(2)).exp()  # 1 / 2π
    tensor(0.1592)
    """

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("zero", torch.zeros(size), persistent=False)

    def forward(self, c: Tensor | None = None) -> Distribution:
        return DiagNormal(self.zero, torch.ones_like(self.zero))


class GaussianMLP(Conditional):
    """N(μ(h), diag σ²) with μ a multilayer perceptron of the features h.

    Args:
        context, size, features, transform: see Conditional.
        hidden: width of each hidden layer.
        activations: activation after each hidden layer, named as in torch.nn.
        scale: what computes log σ²: FreeScale, TrunkScale or NetScale, waiting for its sizes.

    >>> decoder = GaussianMLP(context=2, size=66, hidden=[50], activations=["Tanh"], scale=FreeScale)
    >>> decoder(torch.zeros(7, 2)).sample().shape
    torch.Size([7, 66])
    """

    def __init__(
        self,
        context: int,
        size: int,
        hidden: list[int],
        activations: list[str],
        scale: Callable[..., nn.Module],
        features: Observable | Transform | None = None,
        transform: Transform | None = None,
    ):
        super().__init__(context, size, features, transform)
        self.trunk = network(self.inputs, hidden, activations)
        self.mean = nn.Linear(hidden[-1], self.outputs)
        self.scale = scale(inputs=self.inputs, trunk=hidden[-1], outputs=self.outputs)

    def base(self, h: Tensor) -> Distribution:
        trunk = self.trunk(h)
        mean = self.mean(trunk)
        return DiagNormal(mean, (0.5 * self.scale(h, trunk)).exp().expand_as(mean))


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
    """

    def __init__(self, inputs: int, trunk: int, outputs: int, hidden: list[int], activations: list[str]):
        super().__init__()
        self.net = nn.Sequential(*network(inputs, hidden, activations), nn.Linear(hidden[-1], outputs))

    def forward(self, h: Tensor, trunk: Tensor) -> Tensor:
        return self.net(h)
