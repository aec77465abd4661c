"""What a density is: a module that turns a context into a distribution."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution
from zuko.distributions import NormalizingFlow
from zuko.lazy import LazyDistribution

from predcg.errors import InputError
from predcg.observables import Observable
from predcg.ranges import NonNegativeInt, PositiveInt
from predcg.transforms import Identity, Transform


class Density(LazyDistribution):
    """p(· | c): `density(c)` is a torch distribution. Latent, decoder, encoder and flow are roles of it."""

    period: float | None = None  # Of the event's coordinates, where all are angles.

    def location(self, c: Tensor) -> Tensor:
        """The representative value for each context: the mean, where the distribution has one."""
        return self(c).mean

    def pathwise(self, c: Tensor, longest: float | None = None) -> tuple[Tensor, Tensor]:
        """A reparametrised sample for each context, and its log-density with the density's own weights as constants:
        its gradient, by way of the sample alone, lacks the score, whose mean is zero.

        Args:
            longest: see `shortened`; for the gradient with respect to each sample, times the number of samples.
        """
        sample, _ = sample_with_log_prob(self(c))
        if sample.requires_grad:
            sample.register_hook(lambda slope: shortened(len(slope) * slope, longest) / len(slope))
        return sample, held_log_prob(self, c, sample)

    def fit(self, context: Tensor | None = None, event: Tensor | None = None) -> None:
        """See the data that the density will be given as context or as event; most need not."""

    def supports(self, event: Tensor) -> Tensor:
        """Whether an event can have a density above zero, whatever the weights: (..., D) to (...,)."""
        return torch.ones(event.shape[:-1], dtype=torch.bool, device=event.device)

    def information(self) -> dict[str, Tensor]:
        """Fisher information of one event, (k, k), of each parameter of k numbers, by its name; none where it is not
        known in closed form.
        """
        return {}


class Conditional(Density):
    """A density whose parameters a network computes from features of the context, seen through a transform.

    Args:
        context: size of the context c.
        size: size of the event, as the caller sees it.
        features: what the network sees of c; default c itself.
        transform: from the event to the coordinates in which the network's distribution lives; default none.
    """

    def __init__(
        self,
        context: NonNegativeInt,
        size: PositiveInt,
        features: Observable | Transform | None = None,
        transform: Transform | None = None,
    ):
        super().__init__()
        self.features = features if features is not None else Identity()
        self.transform = transform if transform is not None else Identity()
        self.inputs = self.features.width(context)
        self.outputs = self.transform.width(size)

    @abstractmethod
    def base(self, h: Tensor) -> Distribution:
        """The distribution of the transformed event, given the features h, (..., inputs)."""

    def forward(self, c: Tensor) -> Distribution:
        base = self.base(self.features(c))
        return base if isinstance(self.transform, Identity) else _Transformed(self.transform, base)

    def location(self, c: Tensor) -> Tensor:
        """The base's mean, carried to the event's own coordinates."""
        return self.transform.inv(self.base(self.features(c)).mean)

    def supports(self, event: Tensor) -> Tensor:
        return self.transform.call_and_ladj(event)[1] != -torch.inf

    def fit(self, context: Tensor | None = None, event: Tensor | None = None) -> None:
        if context is not None and isinstance(self.features, Transform):
            self.features.fit(context)
        if event is not None:
            self.transform.fit(event)


class _Transformed(NormalizingFlow):
    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        """Of a base that is itself a flow too, without inverting for it what made the sample."""
        y, log_y = sample_with_log_prob(self.base, shape)
        x, log_det = self.transform.back_and_ladj(y)
        return x, log_y - log_det


def network(
    inputs: int, hidden: list[int], activations: list[str], gain: float = 1.0, outputs: int | None = None
) -> nn.Sequential:
    """Linear layers of the widths `hidden`, each followed by its activation, named as in torch.nn, and, where there are
    `outputs`, a last linear one, which without hidden layers is all; the initial first layer times `gain`.
    """
    if len(hidden) != len(activations):
        raise InputError(f"activations: expected one per hidden layer, {len(hidden)}; found {list(activations)}")
    layers: list[nn.Module] = []
    for width, activation in zip(hidden, activations, strict=True):
        if not hasattr(nn, activation):
            raise InputError(f"activations: expected names in torch.nn, such as Tanh or SELU; found {activation!r}")
        layers += [nn.Linear(inputs, width), getattr(nn, activation)()]
        inputs = width
    if outputs is not None:
        layers.append(nn.Linear(inputs, outputs))
    for parameter in nn.Sequential(*layers[:1]).parameters():
        parameter.data.mul_(gain)
    return nn.Sequential(*layers)


def sample_with_log_prob(distribution: Distribution, shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """A reparametrised sample and its log-density, without inverting for it what made it."""
    if not distribution.has_rsample:
        raise InputError(
            "objective: needs reparametrised samples, which not every density has; choose a Gaussian or a flow as"
            " decoder and encoder"
        )
    if hasattr(distribution, "rsample_and_log_prob"):
        return distribution.rsample_and_log_prob(torch.Size(shape))
    sample = distribution.rsample(torch.Size(shape))
    return sample, distribution.log_prob(sample)


class _Seen(nn.Module):
    def __init__(self, density: Density):
        super().__init__()
        self.density = density

    def forward(self, context: Tensor | None, what: Callable) -> Any:
        return what(self.density(context))


def with_weights(
    density: Density, weights: dict[str, Tensor], context: Tensor | None, what: Callable[[Distribution], Any]
) -> Any:
    """`what` of the distribution that the density would make of the context with other weights, by name.

    Not of the distribution alone: a transform in it is a module, which has the other weights only while this call
    lasts.
    """
    return torch.func.functional_call(
        _Seen(density), {f"density.{name}": value for name, value in weights.items()}, (context, what)
    )


def held_log_prob(density: Density, context: Tensor | None, event: Tensor) -> Tensor:
    """log p(event | context) with the weights of the density as constants."""
    weights = {name: value.detach() for name, value in density.named_parameters()}
    return with_weights(density, weights, context, lambda distribution: distribution.log_prob(event))


def shortened(slope: Tensor, longest: float | None) -> Tensor:
    """Slopes, (N, D), of which longer ones have this length, and those that are not finite are 0; None leaves them."""
    if longest is None:
        return slope
    length = torch.linalg.vector_norm(slope, dim=-1, keepdim=True, dtype=torch.float64)  # Squares would leave float32.
    shorter = slope * torch.where(length > longest, longest / length, 1.0).to(slope)
    return torch.where(length.isfinite(), shorter, 0.0)
