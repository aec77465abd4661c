"""log p(θ) of the weights of decoder and latent density, up to a constant."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from predcg.errors import InputError
from predcg.ranges import NonNegativeFloat, PositiveFloat


class Prior(nn.Module, ABC):
    """`prior(latent, decoder)` is weight · log p(θ), a scalar; θ are the weight matrices of both, not their biases or
    scales.

    The data term of an objective is a mean over N frames, so the posterior of θ has weight = 1/N.

    Args:
        weight: what log p(θ) is multiplied with; None becomes 1/N as soon as the data are known.
    """

    def __init__(self, weight: NonNegativeFloat | None = None):
        super().__init__()
        if weight is not None and weight < 0:
            raise InputError(f"prior.weight: expected a number >= 0, or null for 1/N given N frames; found {weight}")
        self.weight = weight

    def fit(self, frames: float) -> None:
        """Let a weight that was left open be 1 / frames, see Batch.effective_size. Raises InputError when there are
        none.
        """
        if self.weight is None:
            if frames == 0:
                raise InputError("prior.weight: null means 1/N of N training frames, and there are none; give a number")
            self.weight = 1 / frames

    @abstractmethod
    def log_prob(self, theta: Tensor) -> Tensor:
        """log p of these weights, of any shape: a scalar, up to a constant."""

    @abstractmethod
    def precision(self, theta: Tensor) -> Tensor:
        """Curvature of -log p at each weight, of θ's shape: what a Gaussian prior of the same strength would have."""

    def forward(self, *densities: nn.Module) -> Tensor:
        # Weights are joined to one vector: for networks this small, a call costs more than what it computes.
        matrices = [theta.flatten() for density in densities for theta in density.parameters() if theta.ndim >= 2]
        return self.weight * self.log_prob(torch.cat(matrices or [torch.zeros(0)]))


class Flat(Prior):
    """log p(θ) = 0: maximum likelihood."""

    def __init__(self):
        super().__init__(0.0)

    def log_prob(self, theta: Tensor) -> Tensor:
        return theta.new_zeros(())

    def precision(self, theta: Tensor) -> Tensor:
        return torch.zeros_like(theta)


class Gaussian(Prior):
    """log p(θ) = -½ τ Σ θ².

    Args:
        weight: see Prior.
        tau: precision τ.

    >>> Gaussian(weight=1.0, tau=4.0).log_prob(torch.tensor([[1.0, 2.0]]))
    tensor(-10.)
    """

    def __init__(self, weight: NonNegativeFloat | None = None, tau: PositiveFloat = 1.0):
        super().__init__(weight)
        self.tau = tau

    def log_prob(self, theta: Tensor) -> Tensor:
        return -0.5 * self.tau * theta.pow(2).sum()

    def precision(self, theta: Tensor) -> Tensor:
        return torch.full_like(theta, self.tau)


class _GammaPrecision(Prior):
    """θ_j ~ N(0, 1/τ_j), τ_j ~ Gamma(a0, b0): most weights are driven to zero, a few stay free.

    Args:
        weight: see Prior.
        a0, b0: shape and rate of the Gamma density.
    """

    def __init__(self, weight: NonNegativeFloat | None = None, a0: NonNegativeFloat = 1e-5, b0: PositiveFloat = 1e-5):
        super().__init__(weight)
        self.a0, self.b0 = a0, b0

    def precision(self, theta: Tensor) -> Tensor:
        """⟨τ⟩ = (a0 + ½) / (b0 + ½ θ²), the posterior mean of each precision (E-step), which Laplace's approximation
        holds fixed.
        """
        return (self.a0 + 0.5) / (self.b0 + 0.5 * theta**2)


class ARD(_GammaPrecision):
    """Automatic relevance determination as the authors released it: -½ Σ ⟨τ⟩(θ) θ² = -(a0 + ½) Σ θ² / (2 b0 + θ²),
    differentiated through ⟨τ⟩.

    The penalty is bounded by a0 + ½ nat per weight, so that a weight the data ask for pays a fixed price. This is the
    default, since it reproduces the latent maps of the source; the EM form (StudentT) collapses them from a random
    start (Schöberl, Zabaras, Koutsourelakis 2019, J. Chem. Phys. 150, 024109, and its code).
    """

    def log_prob(self, theta: Tensor) -> Tensor:
        square = theta * theta
        return -(self.a0 + 0.5) * (square / (square + 2 * self.b0)).sum()


class StudentT(_GammaPrecision):
    """ARD as the paper writes it: τ integrated out, log p(θ) = -(a0 + ½) Σ log(b0 + ½ θ²).

    Its gradient -⟨τ⟩θ is the M-step of EM with ⟨τ⟩ held fixed. Unbounded at θ = 0: from a random start it drives the
    whole decoder to zero.
    """

    def log_prob(self, theta: Tensor) -> Tensor:
        return -(self.a0 + 0.5) * (self.b0 + 0.5 * theta**2).log().sum()
