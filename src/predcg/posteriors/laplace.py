"""Laplace's approximation: by which second derivative, and with which covariance."""

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.model import Model
from predcg.posteriors.curvature import Curvature, exact, gauss_newton
from predcg.posteriors.posterior import ByLayer


class Laplace(ByLayer):
    """Independent weights, with the exact second derivative: 1 / variance = -∂² log p(θ | data) / ∂θ_ab².

    Args:
        floor: see ByLayer.

    >>> from predcg.densities import FreeScale, GaussianMLP, StandardNormal
    >>> from predcg.priors import Flat
    >>> net = {"hidden": [], "activations": [], "scale": FreeScale}
    >>> model = Model(StandardNormal(1), GaussianMLP(1, 2, **net), GaussianMLP(2, 1, **net))
    >>> Laplace()(model, Flat(), Batch.of(torch.randn(25, 2))).spread["mean"][:, 1]  # of the biases: σ / √N
    tensor([0.2000, 0.2000], dtype=torch.float64)
    """

    def curvature(self, model: Model, batch: Batch) -> Curvature:
        return exact(model, batch)

    def spread(self, v: Tensor, curvature: Tensor, of_prior: Tensor, frames: float) -> Tensor:
        return self.deviation(curvature.T @ v.square() + of_prior, frames)


class GaussNewton(Laplace):
    """Independent weights, with the Fisher information, which is never negative, in place of the second derivative.

    Args:
        floor: see ByLayer.
    """

    def curvature(self, model: Model, batch: Batch) -> Curvature:
        return gauss_newton(model, batch)


class UnitGaussNewton(GaussNewton):
    """A full covariance for the weights and bias of each unit; for the last layer of a Gaussian decoder that is the whole covariance.

    Λ_a = Σ_i F_ia v_i v_iᵀ + prior, with F the Fisher information by the unit's output and v the layer's inputs; the floor is for the
    eigenvalues of Λ_a.

    Args:
        floor: see ByLayer.
    """

    def spread(self, v: Tensor, curvature: Tensor, of_prior: Tensor, frames: float) -> Tensor:
        total = (curvature.T.unsqueeze(-1) * v).mT @ v + torch.diag_embed(of_prior)
        values, vectors = torch.linalg.eigh(total)
        return vectors * self.deviation(values, frames).unsqueeze(1)
