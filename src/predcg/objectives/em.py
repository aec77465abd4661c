"""Expectation maximisation: maximum likelihood where the latent variables are spins."""

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import check_spins, log_evidence
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Objective, Terms
from predcg.ranges import PositiveInt
from predcg.systems import System


class EM(Objective):
    """L = -E_w E_{X ~ p(X|x)} [log p(x|X) + log p(X)], with the posterior sampled: its gradient is that of -E_w log
    p(x) (Dempster et al. 1977).

    The E-step draws X from p(X|x) by Gibbs sweeps over the coarse spins of all frames at once, from where the encoder
    says. The M-step is one step of the optimiser (Wei and Tanner 1990), here that of Robbins and Monro (Schöberl,
    Zabaras, Koutsourelakis 2015). Sums over all coarse chains are exact, see SpinChain.

    Args:
        samples: draws of X per frame.
        sweeps: Gibbs sweeps before each.

    >>> EM(samples=10, sweeps=10)
    EM()
    """

    needs = frozenset({"x"})

    def __init__(self, samples: PositiveInt, sweeps: PositiveInt):
        super().__init__()
        for name, count in {"samples": samples, "sweeps": sweeps}.items():
            if count < 1:
                raise InputError(f"objective.{name}: expected at least 1; found {count}")
        self.samples, self.sweeps = samples, sweeps

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        _check(model)
        with torch.no_grad():
            field, _ = model.decoder.evidence(batch.x)
            z = model.latent.spins(field).gibbs_sweeps(model.encoder(batch.x).sample((self.samples,)), self.sweeps)
        joint = model.decoder(z).log_prob(batch.x) + model.latent().log_prob(z)
        return Terms(-batch.mean(joint.mean(0)), _parameters(model))


class ExactEM(Objective):
    """L = -E_w log p(x), with the coarse spins summed over by forward and backward recursion: what EM estimates.

    Its gradient is that of an exact E-step, so that the same optimiser makes the steps of EM without their noise.
    """

    needs = frozenset({"x"})

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        _check(model)
        evidence = batch.mean(log_evidence(model.latent, model.decoder, batch.x).to(batch.x))
        return Terms(-evidence, {"log_evidence": evidence.detach()} | _parameters(model))


def _check(model: Model) -> None:
    check_spins(model.latent, model.decoder, "objective: EM is for coarse spins")


def _parameters(model: Model) -> dict[str, Tensor]:
    """θ_c and θ_cf, to be logged."""
    couplings = dict(zip(model.latent.names, model.latent.energy.weight[0].detach(), strict=True))
    return {f"theta_{name}": value for name, value in couplings.items()} | {
        "agreement": model.decoder.agreement.detach()
    }
