"""A mixture of Gaussians whose parameters depend on the context."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from zuko.mixtures import GMM

from predcg.densities.density import Conditional
from predcg.observables import Observable
from predcg.ranges import NonNegativeInt, PositiveInt
from predcg.transforms import Transform


class GaussianMixtureMLP(Conditional):
    """Σ_k π_k(h) N(μ_k(h), diag σ_k(h)²), with all parameters from one network (zuko's GMM).

    Its samples are not reparametrised: it serves as decoder or encoder of the forward objective.

    Args:
        context, size, features, transform: see Conditional.
        components: number of Gaussians K.
        hidden: width of each hidden layer.

    >>> GaussianMixtureMLP(context=1, size=2, components=3, hidden=[8])(torch.zeros(5, 1)).sample().shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        context: NonNegativeInt,
        size: PositiveInt,
        components: PositiveInt,
        hidden: list[PositiveInt],
        features: Observable | Transform | None = None,
        transform: Transform | None = None,
    ):
        super().__init__(context, size, features, transform)
        self.gmm = GMM(
            self.outputs, max(self.inputs, 1), components, "diagonal", hidden_features=list(hidden), activation=nn.Tanh
        )

    def base(self, h: Tensor) -> Distribution:
        if not self.inputs:  # zuko's own form without a context has no batches.
            h = h.new_ones(*h.shape[:-1], 1)
        return _Mixture(self.gmm(h))


class _Mixture(torch.distributions.MixtureSameFamily):
    """zuko's mixture with the mean that its own class lacks."""

    def __init__(self, mixture: Distribution):
        super().__init__(torch.distributions.Categorical(logits=mixture.logits), mixture.base)
