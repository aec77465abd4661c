"""Posteriors of the few parameters of coarse spins and their blocks, all at once."""

from abc import abstractmethod
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from predcg.batch import Batch
from predcg.densities import check_spins, log_evidence
from predcg.model import Model
from predcg.posteriors.posterior import Posterior, WeightPosterior, needs_data
from predcg.priors import Prior

FLOOR = 0.01  # The smallest curvature stands for a standard deviation of 10 in coupling or logit; our choice.


class Joint(WeightPosterior):
    """Gaussian density of all parameters of latent and decoder, centred on the trained ones.

    Args:
        spread: under the one name `joint` a matrix S with covariance S Sᵀ, (k, k), in the order of the parameters.
    """

    def deviations(self) -> list[float]:
        """Standard deviation of each parameter."""
        factor = self.spread["joint"]
        return (factor @ factor.T).diagonal().sqrt().tolist()

    def models(self, model: Model, draws: int) -> Iterator[Model]:
        """The model with `draws` draws of its parameters, one after another, in one copy of it."""
        twin = deepcopy(model)
        parameters = _parameters(twin)
        trained = parameters_to_vector(parameters).detach()
        factor = self.spread["joint"]
        for _ in range(draws):
            shift = factor @ torch.randn(len(factor), dtype=factor.dtype, device=factor.device)
            vector_to_parameters(trained + shift.to(trained), parameters)
            yield twin

    @torch.no_grad()
    def predict(self, model: Model, draws: int, frames: int) -> Iterator[Tensor]:
        """For each of `draws` draws of the parameters, `frames` configurations, (frames, D)."""
        for drawn in self.models(model, draws):
            yield drawn.generate(frames)


class _OfSpins(Posterior):
    """Raises InputError on any other latent density or decoder than SpinChain and SpinBlocks."""

    kind = Joint

    def __call__(self, model: Model, prior: Prior, batch: Batch) -> Joint:
        needs_data(batch)
        check_spins(model.latent, model.decoder, "posterior")
        theta, frames = model.latent.energy.weight.detach().double(), batch.effective_size
        of_prior = (frames * prior.weight * prior.precision(theta)).flatten()
        curvature = self.curvature(model, batch) + torch.diag(torch.cat([of_prior, of_prior.new_zeros(1)]))
        values, vectors = torch.linalg.eigh(curvature)
        return Joint({"joint": vectors * values.clamp_min(FLOOR).rsqrt()})

    @abstractmethod
    def curvature(self, model: Model, batch: Batch) -> Tensor:
        """-∂² log p(data | θ), (k, k), of the couplings and the logit of θ_cf."""


class CompleteData(_OfSpins):
    """As if the coarse spins were seen: couplings and θ_cf independent, var θ_cf = θ_cf (1 - θ_cf) / (N n).

    Source: Schöberl, Zabaras, Koutsourelakis 2015, who let θ_cf vary only. It is too sure of itself, since the coarse
    spins are not seen.
    """

    def curvature(self, model: Model, batch: Batch) -> Tensor:
        blocks = [*model.latent.information().values(), *model.decoder.information().values()]
        return batch.effective_size * torch.block_diag(*blocks)


class ObservedData(_OfSpins):
    """The curvature of the likelihood of what is seen, -∂² Σ_i log p(x_i), exact, by forward and backward recursion
    over the coarse chain.

    It is the complete one less what the coarse spins would tell (Louis 1982), and couplings and θ_cf are correlated.
    """

    def curvature(self, model: Model, batch: Batch) -> Tensor:
        share, total = batch.effective_size * batch.w.double() / batch.w.double().sum(), _Evidence(model)
        names, shapes = zip(*((name, value.shape) for name, value in total.named_parameters()), strict=True)

        def log_likelihood(theta: Tensor) -> Tensor:
            parts = theta.split([shape.numel() for shape in shapes])
            weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
            return (share * functional_call(total, weights, (batch.x.double(),))).sum()

        return -torch.autograd.functional.hessian(
            log_likelihood, parameters_to_vector(total.parameters()).detach().double()
        )


class _Evidence(nn.Module):
    def __init__(self, model: Model):
        super().__init__()
        self.latent, self.decoder = model.latent, model.decoder

    def forward(self, x: Tensor) -> Tensor:
        return log_evidence(self.latent, self.decoder, x)


def _parameters(model: Model) -> list[nn.Parameter]:
    return [*model.latent.parameters(), *model.decoder.parameters()]
