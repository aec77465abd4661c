"""What the flow is made of: couplings, which move some coordinates given the others, and a triangular matrix."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from zuko.lazy import LazyTransform
from zuko.nn import MLP

from predcg.densities.circular_spline import REACH, bounded, circular_spline
from predcg.transforms import waves

# Free parameters are scaled by it: beside those of a network, which shares its own, their steps would be small.
GAIN = 20.0
HARMONICS = 3


class Coupling(LazyTransform):
    """Coordinates that are moved, given the others, which are `seen`, and h."""

    def __init__(self, seen: Tensor, inputs: int, outputs: int, net: dict):
        super().__init__()
        parts = seen.nonzero().squeeze(-1), (~seen).nonzero().squeeze(-1)
        for name, index in zip(("kept", "moved", "order"), (*parts, torch.cat(parts).argsort()), strict=True):
            self.register_buffer(name, index, persistent=False)
        self.hyper = MLP(inputs, outputs * int((~seen).sum()), **net)

    def forward(self, c: Tensor) -> Transform:
        return _Coupled(self, c)

    @abstractmethod
    def carry(self, seen: Tensor, moved: Tensor, c: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """The moved coordinates, (..., m), there or back, and the log-derivative of each."""


class AffineCoupling(Coupling):
    """y = e^a x + b, |a| < log 1000: the map of zuko's MonotonicAffineTransform, and its order of parameters."""

    def __init__(self, seen: Tensor, context: int, net: dict):
        super().__init__(seen, int(seen.sum()) + context, 2, net)
        self.register_buffer("mask", seen)  # It is in the checkpoints of earlier versions.

    def carry(self, seen: Tensor, moved: Tensor, c: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        shift, scale = self.hyper(torch.cat([seen, c], -1)).unflatten(-1, (-1, 2)).unbind(-1)
        log_scale = bounded(scale, REACH)
        if inverse:
            return (moved - shift) * (-log_scale).exp(), -log_scale
        return moved * log_scale.exp() + shift, log_scale


class CircularCoupling(Coupling):
    """Angles through splines of the circle."""

    def __init__(self, seen: Tensor, context: int, bins: int, net: dict):
        super().__init__(seen, 2 * HARMONICS * int(seen.sum()) + context, 3 * bins - 1, net)
        self.sizes = [bins, bins, bins - 1]

    def carry(self, seen: Tensor, moved: Tensor, c: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        free = self.hyper(with_harmonics(seen, c)).unflatten(-1, (-1, sum(self.sizes))).split(self.sizes, -1)
        if inverse:
            back, log_slope = circular_spline(moved, *free, inverse=True)
            return torch.remainder(back, 2 * math.pi) - math.pi, log_slope
        return circular_spline(torch.remainder(moved, 2 * math.pi) - math.pi, *free)


class _Coupled(Transform):
    """A coupling given h; there and back its network is called once."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, coupling: Coupling, c: Tensor, inverse: bool = False):
        super().__init__()
        self.coupling, self.c, self.inverse = coupling, c, inverse

    @property
    def inv(self) -> "_Coupled":
        return _Coupled(self.coupling, self.c, not self.inverse)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        coupling = self.coupling
        c = self.c.expand(*x.shape[:-1], -1)
        seen = x[..., coupling.kept]
        moved, log_slope = coupling.carry(seen, x[..., coupling.moved], c, self.inverse)
        return torch.cat([seen, moved], -1)[..., coupling.order], log_slope.sum(-1)

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]


class Triangular(LazyTransform):
    """s = L ε with ones on the diagonal of L."""

    def __init__(self, size: int):
        super().__init__()
        self.below = nn.Parameter(torch.zeros(size, size))

    def forward(self, c: Tensor) -> Transform:
        return _Linear((GAIN * self.below).tril(-1) + torch.eye(len(self.below), dtype=c.dtype, device=c.device))


class _Linear(Transform):
    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, lower: Tensor):
        super().__init__()
        self.lower = lower

    def _call(self, x: Tensor) -> Tensor:
        return x @ self.lower.T

    def _inverse(self, y: Tensor) -> Tensor:
        # It is one system with many right-hand sides: as many systems, each with the same matrix, would take most of a
        # training step.
        return (
            torch.linalg.solve_triangular(self.lower.T, y.flatten(0, -2), upper=True, left=False).reshape(y.shape)
            if y.ndim > 1
            else self._inverse(y[None])[0]
        )

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])


def with_harmonics(t: Tensor, c: Tensor) -> Tensor:
    return torch.cat([waves(t, HARMONICS), c], -1)
