"""The Müller-Brown potential."""

import torch
from torch import Tensor

from predcg.ranges import PositiveFloat
from predcg.systems.planar import Planar

A = (-200.0, -100.0, -170.0, 15.0)
a = (-1.0, -1.0, -6.5, 0.7)
b = (0.0, 0.0, 11.0, 0.6)
c = (-10.0, -10.0, -6.5, 0.7)
X = (1.0, 0.0, -0.5, -1.0)
Y = (0.0, 0.5, 1.5, 1.0)


class MuellerBrown(Planar):
    """u(x) = β Σ_k A_k exp(a_k (x1-X_k)² + b_k (x1-X_k)(x2-Y_k) + c_k (x2-Y_k)²).

    Constants of Müller and Brown 1979; β = 0.1 as in Schopmans and Friederich 2024. The basins are told apart by the
    collective variable s = x1 - x2, at its two barriers.

    Args:
        beta: inverse temperature in inverse units of the A_k.

    >>> MuellerBrown()(torch.tensor([[-0.558, 1.442]])).round()
    tensor([-15.])
    """

    basins = ("upper", "middle", "lower")

    def __init__(self, beta: PositiveFloat = 0.1):
        super().__init__(box=((-3.5, 2.5), (-2.0, 4.0)))
        self.beta = beta
        for name, values in {"A": A, "a": a, "b": b, "c": c, "X": X, "Y": Y}.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def energy(self, x: Tensor) -> Tensor:
        dx, dy = x[..., :1] - self.X, x[..., 1:] - self.Y
        return self.beta * (self.A * (self.a * dx**2 + self.b * dx * dy + self.c * dy**2).exp()).sum(-1)

    def pmf(self, s: Tensor) -> Tensor:
        """F(s) = -log ∫ exp(-u(s + x2, x2)) dx2 in kT, minimum 0 over the given s: (n,) to (n,), float64."""
        x2 = self.grid[:, 1].unique()
        x1 = s.to(x2)[:, None] + x2
        f = -(-self.energy(torch.stack([x1, x2.expand_as(x1)], -1))).logsumexp(-1)
        return f - f.min()

    @staticmethod
    def cv(x: Tensor) -> Tensor:
        """s = x1 - x2: (..., 2) to (...,)."""
        return x[..., 0] - x[..., 1]

    def label(self, x: Tensor) -> Tensor:
        """0 for s < -1.402, 1 up to -0.106, 2 above: the barriers of the free energy of s."""
        return torch.bucketize(self.cv(x), torch.tensor([-1.402, -0.106], device=x.device, dtype=x.dtype))
