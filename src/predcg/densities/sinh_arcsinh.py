"""A density with a skew and with tails of its own, from a network."""

import math

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from predcg.densities.density import Conditional, network
from predcg.observables import Observable
from predcg.ranges import NonNegativeInt, PositiveInt
from predcg.transforms import Transform

NODES, SHARES = np.polynomial.hermite_e.hermegauss(40)  # Nodes and shares of means over N(0, 1).


class SinhArcsinh(Conditional):
    """y = m + s sinh((arcsinh ε + a) t) for every coordinate, ε ~ N(0, 1), with location m, log s, skew a and tails t
    from a network (Jones and Pewsey 2009, Biometrika 96, 761, eq. 2).

    It starts close to N(0, 1). Tails are bounded, e^-½ < t < e^½, so that no draw's density is far from a normal one's.

    Args:
        context, size, features, transform: see Conditional.
        hidden, activations: hidden layers.

    >>> SinhArcsinh(context=1, size=2, hidden=[8], activations=["Tanh"])(torch.zeros(5, 1)).rsample().shape
    torch.Size([5, 2])
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
        self.net = network(self.inputs, hidden, activations, outputs=4 * self.outputs)
        with torch.no_grad():
            self.net[-1].weight.mul_(0.1)
            self.net[-1].bias.zero_()

    def base(self, h: Tensor) -> Distribution:
        return _SinhArcsinh(*self.net(h).chunk(4, -1))


class _SinhArcsinh(Distribution):
    has_rsample = True
    arg_constraints = {}

    def __init__(self, mean: Tensor, log_scale: Tensor, skew: Tensor, tail: Tensor):
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)
        self.m, self.log_s, self.a, self.log_t = mean, log_scale, skew, 0.5 * tail.tanh()

    def _carried(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """y of the noise, and the argument of sinh."""
        inner = (noise.arcsinh() + self.a) * self.log_t.exp()
        return self.m + self.log_s.exp() * inner.sinh(), inner

    def _log_prob(self, noise: Tensor, inner: Tensor) -> Tensor:
        log_cosh = inner.abs() + torch.log1p((-2 * inner.abs()).exp()) - math.log(2)
        slope = self.log_s + self.log_t + log_cosh - 0.5 * torch.log1p(noise**2)
        return (-0.5 * noise**2 - 0.5 * math.log(2 * math.pi) - slope).sum(-1)

    @property
    def mean(self) -> Tensor:
        nodes, shares = (torch.from_numpy(of).to(self.m).view(-1, *[1] * self.m.ndim) for of in (NODES, SHARES))
        return (shares * self._carried(nodes)[0]).sum(0) / shares.sum()

    def rsample(self, shape: Size = ()) -> Tensor:
        return self.rsample_and_log_prob(shape)[0]

    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        """A reparametrised sample and its log-density in one pass."""
        noise = torch.randn(*shape, *self.m.shape, dtype=self.m.dtype, device=self.m.device)
        y, inner = self._carried(noise)
        return y, self._log_prob(noise, inner)

    def log_prob(self, y: Tensor) -> Tensor:
        inner = ((y - self.m) * (-self.log_s).exp()).arcsinh()
        return self._log_prob((inner * (-self.log_t).exp() - self.a).sinh(), inner)
