"""Deterministic maps as densities of their one value."""

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from predcg.densities.density import Conditional, Density, network
from predcg.observables import Observable
from predcg.observables.observable import apart
from predcg.ranges import NonNegativeInt, PositiveInt
from predcg.transforms import Transform


class Dirac(Distribution):
    """All mass at `value`; the density is taken with respect to that point mass, so that log p(value) = 0.

    Args:
        value: (..., D).
        rounding: how far from it, relative to max(1, |value|), is still the same.
        period: of values that are angles.
    """

    has_rsample = True
    arg_constraints = {}

    def __init__(self, value: Tensor, rounding: float = 0.0, period: float | None = None):
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)
        self.value, self.rounding, self.period = value, rounding, period

    @property
    def mean(self) -> Tensor:
        return self.value

    def rsample(self, shape: Size = torch.Size()) -> Tensor:
        return self.value.expand(*shape, *self.value.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        off = apart(x, self.value, self.period).abs()
        same = (off <= self.rounding * self.value.abs().clamp_min(1)).all(-1)
        return torch.where(same, 0.0, -torch.inf).to(self.value.dtype)


class Observed(Density):
    """δ(z - a(x)): an observable as encoder, with nothing to learn.

    Args:
        observable: a, whose values are the collective variables.

    >>> from predcg.observables import Combinations
    >>> Observed(Combinations([[1.0, -1.0]])).location(torch.tensor([3.0, 1.0]))
    tensor([2.])
    """

    ROUNDING = 1e-4  # Single precision changes z by less than this on the way to x and back.

    def __init__(self, observable: Observable):
        super().__init__()
        self.observable, self.period = observable, observable.period

    def forward(self, c: Tensor) -> Distribution:
        return Dirac(self.observable(c), self.ROUNDING, self.period)


class DeterministicMLP(Conditional):
    """δ(y - f(h)) with f a multilayer perceptron: the encoder of an autoencoder.

    Args:
        context, size, features, transform: see Conditional.
        hidden, activations: hidden layers.

    >>> DeterministicMLP(context=3, size=1, hidden=[8], activations=["Tanh"])(torch.zeros(3)).sample().shape
    torch.Size([1])
    """

    def __init__(
        self,
        context: NonNegativeInt,
        size: PositiveInt,
        hidden: list[PositiveInt],
        activations: list[str],
        features: Observable | Transform | None = None,
        transform: Transform | None = None,
    ):
        super().__init__(context, size, features, transform)
        self.net = network(self.inputs, hidden, activations, outputs=self.outputs)

    def base(self, h: Tensor) -> Distribution:
        return Dirac(self.net(h))
