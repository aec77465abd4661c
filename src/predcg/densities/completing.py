"""Densities of configurations whose collective variables are given."""

from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from predcg.densities.density import Density, sample_with_log_prob
from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveInt
from predcg.transforms import Transform


class Completing(Density):
    """p(x|z) on the configurations whose collective variables are z: x = T⁻¹(z, r) with r ~ q(r|z).

    log p(x|z) = log q(r|z) + log |∂(z, r)/∂x|, so that p(z) p(x|z) is the density of x, and the mean over draws of
    e^-u(x) / p(x|z) is ∫ e^-u(x) δ(z - z(x)) dx = e^-F(z) (Schopmans and Friederich 2024). What is generated has the
    collective variables z to rounding, whatever q is.

    Args:
        context: number of collective variables d.
        size: number of coordinates D.
        rest: makes the density q of the coordinates that z leaves open, of their number and that of z.
        transform: T, from x to coordinates of which some are z.
        kept: which of these z is; default the first ones.

    Raises:
        InputError: places that are not d different ones among the transformed coordinates.

    >>> from functools import partial
    >>> from predcg.densities.sinh_arcsinh import SinhArcsinh
    >>> from predcg.transforms import Matrix
    >>> decoder = Completing(1, 2, partial(SinhArcsinh, hidden=[8], activations=["Tanh"]), Matrix([[1.0, -1.0]], 2))
    >>> x = decoder(torch.tensor([0.5])).sample((3,))
    >>> (x[:, 0] - x[:, 1]).round(decimals=5)
    tensor([0.5000, 0.5000, 0.5000])
    """

    def __init__(
        self,
        context: PositiveInt,
        size: PositiveInt,
        rest: Callable[..., Density],
        transform: Transform,
        kept: list[NonNegativeInt] | None = None,
    ):
        super().__init__()
        width, kept = transform.width(size), list(range(context)) if kept is None else list(kept)
        if sorted(set(kept) & set(range(width))) != sorted(kept) or len(kept) != context or width == context:
            raise InputError(
                f"decoder.kept: expected the places of z = {context} collective variables among {width} coordinates,"
                f" of which some are left open; found {kept}"
            )
        self.transform, self.rest = transform, rest(context=context, size=width - context)
        self.kept, self.open = kept, [place for place in range(width) if place not in kept]
        self.order = sorted(range(width), key=(self.kept + self.open).__getitem__)

    def forward(self, c: Tensor) -> Distribution:
        return _Completed(self, c)

    def location(self, c: Tensor) -> Tensor:
        return self.transform.inv(self.joined(c, self.rest.location(c)))

    def joined(self, z: Tensor, r: Tensor) -> Tensor:
        """z and r in the order of the transformed coordinates, (..., d) and (..., n) to (..., d + n)."""
        return torch.cat([z.expand(*r.shape[:-1], -1), r], -1)[..., self.order]

    def pathwise(self, c: Tensor, longest: float | None = None) -> tuple[Tensor, Tensor]:
        r, log_r = self.rest.pathwise(c, longest)
        x, log_det = self.transform.back_and_ladj(self.joined(c, r))
        return x, log_r - log_det

    def supports(self, event: Tensor) -> Tensor:
        return self.transform.call_and_ladj(event)[1] != -torch.inf

    def fit(self, context: Tensor | None = None, event: Tensor | None = None) -> None:
        if event is not None:
            self.transform.fit(event)
            y = self.transform(event)
            self.rest.fit(y[..., self.kept], y[..., self.open])


class _Completed(Distribution):
    has_rsample = True
    arg_constraints = {}

    def __init__(self, density: Completing, c: Tensor):
        self.density, self.c, self.rest = density, c, density.rest(c)
        event_shape = density.transform.inverse_shape(Size([len(density.order)]))
        super().__init__(c.shape[:-1], event_shape, validate_args=False)

    def rsample(self, shape: Size = ()) -> Tensor:
        return self.rsample_and_log_prob(shape)[0]

    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        """A reparametrised sample and its log-density in one pass."""
        r, log_r = sample_with_log_prob(self.rest, shape)
        x, log_det = self.density.transform.back_and_ladj(self.density.joined(self.c, r))
        return x, log_r - log_det

    def log_prob(self, x: Tensor) -> Tensor:
        y, log_det = self.density.transform.call_and_ladj(x)
        return self.rest.log_prob(y[..., self.density.open]) + log_det
