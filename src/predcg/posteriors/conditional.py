"""Laplace's approximation as if the collective variables had been observed, as the source has it: by which second
derivative, with which covariance.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from predcg.batch import Batch
from predcg.model import Model
from predcg.posteriors.curvature import Curvature, exact, gauss_newton
from predcg.posteriors.posterior import Floored, WeightPosterior, needs_data
from predcg.priors import Prior


class ByLayer(Floored):
    """Weights of a decoder's linear layers, those of different layers independent.

    The log posterior is N times what training maximises, N being Batch.effective_size: Σ_i log p(x_i | z_i, θ) + N ·
    prior(decoder), with z_i the collective variables of frame i; a precision that the prior learns is held at its mean
    ⟨τ⟩. Variances are not perturbed. Training need not end in a maximum, and many weights leave the data as they are: a
    curvature below `floor` is replaced by 10 N, as the source does.

    Args:
        floor: smallest curvature that is trusted.

    Raises:
        InputError: a decoder with weights elsewhere than in torch.nn.Linear, or a deterministic one.

    Source: Schöberl, Zabaras, Koutsourelakis 2019, J. Chem. Phys. 150, 024109, equations 24 to 26; the floor from its
    code.
    """

    def __call__(self, model: Model, prior: Prior, batch: Batch) -> WeightPosterior:
        needs_data(batch)
        frames = batch.effective_size
        share = frames * batch.w.double().unsqueeze(-1) / batch.w.double().sum()
        spread = {}
        for name, (v, curvature) in self.curvature(model, batch).items():
            theta = model.decoder.get_submodule(name).weight.detach().double()
            # There is no prior on the bias.
            of_prior = nn.functional.pad(frames * prior.weight * prior.precision(theta), (0, 1))
            spread[name] = self.spread(v, curvature * share, of_prior, frames)
        return WeightPosterior(spread)

    @abstractmethod
    def curvature(self, model: Model, batch: Batch) -> Curvature:
        """Second derivatives by the output of each layer; see the module of this name."""

    @abstractmethod
    def spread(self, v: Tensor, curvature: Tensor, of_prior: Tensor, frames: float) -> Tensor:
        """The spread of a layer's weights, as in WeightPosterior, from its inputs v, (N, in + 1), the curvature by its
        outputs, (N, out), and that of the prior, (out, in + 1).
        """


class ConditionalLaplace(ByLayer):
    """Independent weights, with the exact second derivative: 1 / variance = -∂² log p(θ | data) / ∂θ_ab².

    Args:
        floor: see ByLayer.

    >>> from predcg.densities import FreeScale, GaussianMLP, StandardNormal
    >>> from predcg.priors import Flat
    >>> net = {"hidden": [], "activations": [], "scale": FreeScale}
    >>> model = Model(StandardNormal(1), GaussianMLP(1, 2, **net), GaussianMLP(2, 1, **net))
    >>> ConditionalLaplace()(model, Flat(), Batch.of(torch.randn(25, 2))).spread["mean"][:, 1]  # of the biases: σ / √N
    tensor([0.2000, 0.2000], dtype=torch.float64)
    """

    def curvature(self, model: Model, batch: Batch) -> Curvature:
        return exact(model, batch)

    def spread(self, v: Tensor, curvature: Tensor, of_prior: Tensor, frames: float) -> Tensor:
        return self.deviation(curvature.T @ v.square() + of_prior, frames)


class ConditionalGaussNewton(ConditionalLaplace):
    """Independent weights, with the Fisher information, which is never negative, in place of the second derivative.

    Args:
        floor: see ByLayer.
    """

    def curvature(self, model: Model, batch: Batch) -> Curvature:
        return gauss_newton(model, batch)


class ConditionalUnitGaussNewton(ConditionalGaussNewton):
    """A full covariance for the weights and bias of each unit; for the last layer of a Gaussian decoder that is the
    whole covariance.

    Λ_a = Σ_i F_ia v_i v_iᵀ + prior, with F the Fisher information by the unit's output and v the layer's inputs; the
    floor is for the eigenvalues of Λ_a.

    Args:
        floor: see ByLayer.
    """

    def spread(self, v: Tensor, curvature: Tensor, of_prior: Tensor, frames: float) -> Tensor:
        total = (curvature.T.unsqueeze(-1) * v).mT @ v + torch.diag_embed(of_prior)
        values, vectors = torch.linalg.eigh(total)
        return vectors * self.deviation(values, frames).unsqueeze(1)
