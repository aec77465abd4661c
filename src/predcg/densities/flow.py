"""A conditional normalizing flow for coordinates of which some are angles."""

import math
from collections.abc import Callable

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, Transform
from zuko.distributions import BoxUniform, NormalizingFlow
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.flows.spline import CircularRQSTransform
from zuko.lazy import LazyTransform
from zuko.nn import MLP
from zuko.transforms import ComposedTransform, CouplingTransform, DependentTransform
from zuko.utils import unpack

from predcg.densities.density import Conditional
from predcg.densities.gaussian import Gaussian
from predcg.observables import Observable
from predcg.transforms import Transform as Coordinates

GAIN = 20.0  # of free parameters, whose steps would otherwise be small beside those of a network that shares its own
HARMONICS = 3


class Flow(Conditional):
    """q(t, s | h) = q(t | h) q(s | t, h) for periodic coordinates t on (-π, π] and others s on the real line.

    t: uniform noise through couplings of circular rational-quadratic splines (Durkan et al. 2019; Rezende et al. 2020); s: Gaussian noise
    through affine couplings (Dinh et al. 2017), one triangular matrix, and an affine map of each coordinate; all but
    the matrix depend on h and on harmonics of t, so that the density has no seam at ±π. It starts close to uniform t and standard normal s.

    Args:
        context, size, features, transform: see Conditional.
        periodic: how many of the transformed coordinates, the first ones, are periodic.
        bins: of each spline.
        rounds: how often the couplings go over all of t. With 0, each t is a wrapped normal whose mean and width h determines: only h can then
            make it multimodal, so that a latent variable has to tell the modes apart.
        couplings: affine couplings of s.
        hidden: width of each hidden layer of every network.

    >>> x, log_q = Flow(context=1, size=5, periodic=2, bins=8, rounds=2, couplings=2, hidden=[16])(torch.zeros(7, 1)).rsample_and_log_prob()
    >>> x.shape, log_q.shape
    (torch.Size([7, 5]), torch.Size([7]))
    """

    def __init__(
        self,
        context: int,
        size: int,
        periodic: int,
        bins: int,
        rounds: int,
        couplings: int,
        hidden: list[int],
        features: Observable | Coordinates | None = None,
        transform: Coordinates | None = None,
    ):
        super().__init__(context, size, features, transform)
        self.periodic, rest = periodic, self.outputs - periodic
        net = {"hidden_features": tuple(hidden), "activation": nn.SiLU}
        seen = 2 * HARMONICS * periodic + self.inputs
        self.mean = MLP(self.inputs, 2 * periodic, **net) if periodic and not rounds else None
        # φ, ψ, φ, ψ, ... of a chain: every second one is moved given the others.
        groups = [torch.arange(periodic) % 2 == parity for parity in range(min(periodic, 2))]
        self.torsions = nn.ModuleList(_CircularCoupling(moved, self.inputs, bins, net) for _ in range(rounds) for moved in groups)
        masks = [torch.randperm(rest, generator=torch.Generator().manual_seed(i // 2)) % 2 == i % 2 for i in range(couplings)] if rest > 1 else []
        self.rest = nn.ModuleList(GeneralCouplingTransform(rest, seen, mask, **net) for mask in masks)
        self.rest += [_Triangular(rest), ElementWiseTransform(rest, seen, **net)] if rest else []
        with torch.no_grad():
            for lazy in self.modules():
                if isinstance(getattr(lazy, "hyper", None), MLP):
                    lazy.hyper[-1].weight.mul_(0.01)
                    lazy.hyper[-1].bias.zero_()

    def base(self, h: Tensor) -> Distribution:
        return _Conditioned(h, self.outputs, self.periodic, self._angles, self.rest)

    def _angles(self, h: Tensor) -> Distribution:
        """q(t | h)."""
        if self.mean is not None:
            return WrappedNormal(*self.mean(h).chunk(2, -1))
        bound = h.new_full((*h.shape[:-1], self.periodic), math.pi)
        return _flow(self.torsions, h, BoxUniform(-bound, bound))

    def location(self, c: Tensor) -> Tensor:
        """Where the centre of the noise is carried to."""
        return self.transform.inv(self.base(self.features(c)).centre)


class _CircularCoupling(LazyTransform):
    """The `moved` angles through splines that depend on the others and on h."""

    def __init__(self, moved: Tensor, context: int, bins: int, net: dict):
        super().__init__()
        self.register_buffer("seen", ~moved, persistent=False)
        self.shapes = [(bins,), (bins,), (bins - 1,)]
        others, count = int((~moved).sum()), int(moved.sum())
        self.hyper = MLP(2 * HARMONICS * others + context, count * (3 * bins - 1), **net)

    def forward(self, c: Tensor) -> Transform:
        return CouplingTransform(lambda seen: self._splines(seen, c), self.seen)

    def _splines(self, seen: Tensor, c: Tensor) -> Transform:
        phi = self.hyper(_with_harmonics(seen, c)).unflatten(-1, (-1, sum(shape[0] for shape in self.shapes)))
        return DependentTransform(CircularRQSTransform(*unpack(phi, self.shapes)), 1)


class _Triangular(LazyTransform):
    """s = L ε with ones on the diagonal of L."""

    def __init__(self, size: int):
        super().__init__()
        self.below = nn.Parameter(torch.zeros(size, size))

    def forward(self, c: Tensor) -> Transform:
        return _Linear((GAIN * self.below).tril(-1) + torch.eye(len(self.below), dtype=c.dtype, device=c.device))


class _Linear(Transform):
    domain = codomain = torch.distributions.constraints.real_vector
    bijective = True

    def __init__(self, lower: Tensor):
        super().__init__()
        self.lower = lower

    def _call(self, x: Tensor) -> Tensor:
        return x @ self.lower.T

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.lower, y.unsqueeze(-1), upper=False).squeeze(-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])


class _Conditioned(Distribution):
    """q(t | h) q(s | t, h)."""

    has_rsample = True
    arg_constraints = {}

    def __init__(self, h: Tensor, size: int, periodic: int, angles: Callable[[Tensor], Distribution], rest: nn.ModuleList):
        super().__init__(h.shape[:-1], Size([size]), validate_args=False)
        self.h, self.periodic, self.angles, self.rest = h, periodic, angles, rest

    def _others(self, t: Tensor, h: Tensor) -> Distribution:
        zero = h.new_zeros((*h.shape[:-1], self.event_shape[0] - self.periodic))
        return _flow(self.rest, _with_harmonics(t, h), Gaussian(zero, zero[..., :1].expand_as(zero)))

    @property
    def centre(self) -> Tensor:
        return self._join(lambda distribution: (distribution.centre, 0.0), self.h)[0]

    def rsample(self, shape: Size = ()) -> Tensor:
        return self.rsample_and_log_prob(shape)[0]

    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        """A reparametrised sample and its log-density in one pass."""
        return self._join(lambda distribution: distribution.rsample_and_log_prob(), self.h.expand(*shape, *self.h.shape))

    def _join(self, take, h: Tensor) -> tuple[Tensor, Tensor]:
        t, log_t = take(self.angles(h)) if self.periodic else (h.new_empty((*h.shape[:-1], 0)), 0.0)
        if self.periodic == self.event_shape[0]:
            return t, log_t
        s, log_s = take(self._others(t, h))
        return torch.cat([t, s], -1), log_t + log_s

    def log_prob(self, y: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(y.shape[:-1], self.h.shape[:-1])
        h = self.h.expand(*shape, -1)
        t, s = y.expand(*shape, -1).tensor_split([self.periodic], -1)
        log_t = self.angles(h).log_prob(t) if self.periodic else 0.0
        return log_t + (self._others(t, h).log_prob(s) if s.shape[-1] else 0.0)


class _Carried(NormalizingFlow):
    @property
    def centre(self) -> Tensor:
        return self.transform.inv(self.base.mean)


def _flow(lazies: nn.ModuleList, c: Tensor, base: Distribution) -> NormalizingFlow:
    """The distribution of noise carried through transforms: written from noise to event, the way which training goes."""
    return _Carried(ComposedTransform(*(lazy(c) for lazy in lazies)).inv, base)


class WrappedNormal(Distribution):
    """N(μ, diag σ²) on the circle: Σ_k N(τ + 2π k; μ, σ²), its sum cut at ± 3 turns.

    Args:
        mean: μ, (..., m), rad.
        log_scale: log σ, (..., m); widths up to some 3 rad, beyond which it is uniform, are exact.

    >>> WrappedNormal(torch.zeros(1), torch.ones(1)).log_prob(torch.tensor([3.0])).exp()  # nearly uniform: 1 / 2π
    tensor(0.1526)
    """

    has_rsample = True
    arg_constraints = {}

    def __init__(self, mean: Tensor, log_scale: Tensor):
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)
        self.centre, self.log_scale = mean, log_scale

    def rsample(self, shape: Size = ()) -> Tensor:
        turned = self.centre + self.log_scale.exp() * torch.randn(*shape, *self.centre.shape, dtype=self.centre.dtype, device=self.centre.device)
        return torch.remainder(turned + math.pi, 2 * math.pi) - math.pi

    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        sample = self.rsample(shape)
        return sample, self.log_prob(sample)

    def log_prob(self, t: Tensor) -> Tensor:
        apart = torch.remainder(t - self.centre + math.pi, 2 * math.pi) - math.pi
        turns = apart.unsqueeze(-1) + 2 * math.pi * torch.arange(-3, 4, dtype=t.dtype, device=t.device)
        exponents = -0.5 * (turns * (-self.log_scale.unsqueeze(-1)).exp()) ** 2
        return (exponents.logsumexp(-1) - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)


def _with_harmonics(t: Tensor, c: Tensor) -> Tensor:
    waves = torch.cat([f(k * t) for k in range(1, HARMONICS + 1) for f in (torch.cos, torch.sin)], -1)
    return torch.cat([waves, c], -1)
