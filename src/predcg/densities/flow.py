"""A conditional normalizing flow for coordinates of which some are angles."""

import math
from collections.abc import Callable

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid
from zuko.distributions import BoxUniform, NormalizingFlow
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.nn import MLP
from zuko.transforms import ComposedTransform

from predcg.densities.couplings import HARMONICS, AffineCoupling, CircularCoupling, Triangular, with_harmonics
from predcg.densities.density import Conditional
from predcg.densities.gaussian import Gaussian
from predcg.densities.wrapped import WrappedNormal, wrapped
from predcg.observables import Observable
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Width
from predcg.transforms import Transform as Coordinates


class Flow(Conditional):
    """q(t, s | h) = q(t | h) q(s | t, h) for periodic coordinates t on (-π, π] and others s on the real line.

    t: uniform noise through couplings of circular rational-quadratic splines (Durkan et al. 2019; Rezende et al. 2020);
    s: Gaussian noise through affine couplings (Dinh et al. 2017), one triangular matrix, and an affine map of each
    coordinate; all but the matrix depend on h and on harmonics of t, so that the density has no seam at ±π. It starts
    close to uniform t and standard normal s. Of an n-fold t only τ = n t is modelled, with the n branches t = (τ + 2π
    k) / n equally likely: their density is that of τ (a surjection, Nielsen et al. 2020). What is not the same in every
    branch, s depends on.

    Args:
        context, size, features, transform: see Conditional.
        folds: n of each periodic coordinate, which are the first ones of the transformed: 3 for a methyl group, whose
            hydrogens no energy tells apart, else 1.
        bins: of each spline.
        rounds: how often the couplings go over all of t. With 0, each t is instead a wrapped normal about a mean that h
            determines.
        couplings: affine couplings of s.
        hidden: width of each hidden layer of every network.
        gain: with rounds = 0, factor of the initial first layer of the network of the means; that of its last is 2.5
            times as large. At 4 they go round the whole circle from the start, which learning from the energy needs:
            what is not visited at first is not found. At 1 they are smooth, which learning from data needs: neighbours
            in z are neighbours on the circle, and z is filled as p(z) asks.
        widest: with rounds = 0, largest width of the wrapped normals, in rad, up to 1: all that is wider or has several
            modes, a latent variable has to tell apart.

    >>> flow = Flow(context=1, size=5, folds=[1, 1], bins=8, rounds=2, couplings=2, hidden=[16])
    >>> x, log_q = flow(torch.zeros(7, 1)).rsample_and_log_prob()
    >>> x.shape, log_q.shape
    (torch.Size([7, 5]), torch.Size([7]))
    """

    def __init__(
        self,
        context: NonNegativeInt,
        size: PositiveInt,
        folds: list[PositiveInt],
        bins: PositiveInt,
        rounds: NonNegativeInt,
        couplings: NonNegativeInt,
        hidden: list[PositiveInt],
        features: Observable | Coordinates | None = None,
        transform: Coordinates | None = None,
        gain: PositiveFloat = 4.0,
        widest: Width = 0.5,
    ):
        super().__init__(context, size, features, transform)
        self.widest = widest
        self.alone = not self.inputs and (len(folds) < 2 or not rounds)
        self.inputs += self.alone
        self.register_buffer("folds", torch.tensor(folds, dtype=torch.long), persistent=False)
        periodic, rest = len(folds), self.outputs - len(folds)
        net = {"hidden_features": tuple(hidden), "activation": nn.SiLU}
        seen = 2 * HARMONICS * periodic + self.inputs
        # Torsions of a chain are φ, ψ, φ, ψ, ...: every second one is moved given the others.
        groups = [torch.arange(periodic) % 2 == parity for parity in range(min(periodic, 2))]
        self.angles = nn.ModuleList(
            CircularCoupling(~moved, self.inputs, bins, net) for _ in range(rounds) for moved in groups
        )
        self.mean = MLP(self.inputs, 2 * periodic, **net) if periodic and not rounds else None
        masks = (
            [
                torch.randperm(rest, generator=torch.Generator().manual_seed(i // 2)) % 2 == i % 2
                for i in range(couplings)
            ]
            if rest > 1
            else []
        )
        self.rest = nn.ModuleList(AffineCoupling(mask, seen, net) for mask in masks)
        self.rest += [Triangular(rest), ElementWiseTransform(rest, seen, **net)] if rest else []
        with torch.no_grad():
            for lazy in self.modules():
                if isinstance(getattr(lazy, "hyper", None), MLP):
                    lazy.hyper[-1].weight.mul_(0.01)
                    lazy.hyper[-1].bias.zero_()
            if self.mean is not None:
                self.mean[0].weight.mul_(gain)
                self.mean[-1].weight[:periodic].mul_(2.5 * gain)

    def base(self, h: Tensor) -> Distribution:
        if self.alone:  # One of the networks would have no input; they see a constant.
            h = h.new_ones((*h.shape[:-1], 1))
        return _Conditioned(h, self.outputs, self.folds, self._turned, self.rest)

    def pathwise(self, c: Tensor, longest: float | None = None) -> tuple[Tensor, Tensor]:
        """With the score of the angles: without it nothing brings down a spike of their density, whose top is flat."""
        x, log_q = super().pathwise(c, longest)
        if not len(self.folds):
            return x, log_q
        t = self.transform(x.detach())[..., : len(self.folds)]
        log_t = self.base(self.features(c)).of_angles(t)
        return x, log_q + log_t - log_t.detach()

    def _turned(self, h: Tensor) -> Distribution:
        """q(τ | h)."""
        if self.mean is not None:
            mean, width = self.mean(h).chunk(2, -1)
            return WrappedNormal(mean, (self.widest * self.folds).log() + logsigmoid(width))
        bound = h.new_full((*h.shape[:-1], len(self.folds)), math.pi)
        return _flow(self.angles, h, BoxUniform(-bound, bound))

    def location(self, c: Tensor) -> Tensor:
        """Where the centre of the noise is carried to."""
        return self.transform.inv(self.base(self.features(c)).centre)


class _Conditioned(Distribution):
    """q(t | h) q(s | t, h)."""

    has_rsample = True
    arg_constraints = {}

    def __init__(
        self, h: Tensor, size: int, folds: Tensor, turned: Callable[[Tensor], Distribution], rest: nn.ModuleList
    ):
        super().__init__(h.shape[:-1], Size([size]), validate_args=False)
        self.h, self.folds, self.turned, self.rest = h, folds, turned, rest
        self.split = [len(folds), size - len(folds)]

    def _others(self, t: Tensor, h: Tensor) -> Distribution:
        zero = h.new_zeros((*h.shape[:-1], self.split[1]))
        return _flow(self.rest, with_harmonics(t, h), Gaussian(zero, zero[..., :1].expand_as(zero)))

    @property
    def centre(self) -> Tensor:
        t = wrapped(self.turned(self.h).centre) / self.folds if self.split[0] else self.h[..., :0]
        return torch.cat([t, self._others(t, self.h).centre], -1) if self.split[1] else t

    def rsample(self, shape: Size = ()) -> Tensor:
        return self.rsample_and_log_prob(shape)[0]

    def rsample_and_log_prob(self, shape: Size = ()) -> tuple[Tensor, Tensor]:
        """A reparametrised sample and its log-density in one pass."""
        h = self.h.expand(*shape, *self.h.shape)
        tau, log_t = self.turned(h).rsample_and_log_prob() if self.split[0] else (h[..., :0], h.new_zeros(h.shape[:-1]))
        t = wrapped((tau + 2 * math.pi * (torch.rand_like(tau) * self.folds).floor()) / self.folds)
        s, log_s = self._others(t, h).rsample_and_log_prob() if self.split[1] else (h[..., :0], 0.0)
        return torch.cat([t, s], -1), log_t + log_s

    def of_angles(self, t: Tensor) -> Tensor:
        """log q(t | h)."""
        return self.turned(self.h.expand(*t.shape[:-1], -1)).log_prob(wrapped(self.folds * t))

    def log_prob(self, y: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(y.shape[:-1], self.h.shape[:-1])
        h = self.h.expand(*shape, -1)
        t, s = y.expand(*shape, -1).split(self.split, -1)
        log_t = self.of_angles(t) if self.split[0] else 0.0
        return log_t + (self._others(t, h).log_prob(s) if self.split[1] else 0.0)


class _Carried(NormalizingFlow):
    @property
    def centre(self) -> Tensor:
        return self.transform.inv(self.base.mean)


def _flow(lazies: nn.ModuleList, c: Tensor, base: Distribution) -> NormalizingFlow:
    """The distribution of noise carried through transforms, written from noise to event, the way training goes."""
    return _Carried(ComposedTransform(*(lazy(c) for lazy in lazies)).inv, base)
