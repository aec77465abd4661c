"""Importance weights between a model and the system it should resemble: bounds of log Z and reweighted averages."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from predcg.model import Model
from predcg.systems import System


class Weighted(NamedTuple):
    """Draws x ~ q from the model, (N, D), with log p̃(x) / q(x), (N,), where p̃ = exp(-u)."""

    x: Tensor
    log_w: Tensor

    @property
    def effective_sample_size(self) -> float:
        """(Σ w)² / (N Σ w²), between 1/N and 1."""
        log_w = self.log_w.double()
        return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp().item() / len(log_w)

    @property
    def log_z(self) -> tuple[float, float]:
        """log 1/N Σ w, the estimate of log Z that is unbiased on the scale of Z, and its standard error."""
        log_w, n = self.log_w.double(), len(self.log_w)
        return log_w.logsumexp(0).item() - math.log(n), (log_w.softmax(0) * n).std().item() / math.sqrt(n)

    def mean(self, values: Tensor) -> tuple[float, float]:
        """Self-normalised average of one value per draw, and its standard error by the delta method.

        >>> mean, _ = Weighted(torch.zeros(2, 1), torch.tensor([0.0, math.log(3.0)])).mean(torch.tensor([0.0, 4.0]))
        >>> round(mean, 4)
        3.0
        """
        share = self.log_w.double().softmax(0)
        values = values.double()
        mean = share @ values
        return mean.item(), ((share * (values - mean)) ** 2).sum().sqrt().item()


CHUNK = 10_000  # draws at a time: with 32 latent draws each they fill some hundred MB


@torch.no_grad()
def draw(model: Model, system: System, n: int, samples: int = 32, beta: float | Tensor = 1.0) -> Weighted:
    """n draws from the model with exact importance weights (see Model.log_prob) towards exp(-β u); without a finite energy the weight is zero."""
    drawn = []
    for start in range(0, n, CHUNK):
        x, log_q = model.draw(min(CHUNK, n - start), samples)
        log_w = -beta * system.unchecked(x) - log_q
        drawn.append((x, torch.where(log_w.isfinite(), log_w, -torch.inf)))
    return Weighted(*map(torch.cat, zip(*drawn, strict=True)))


@torch.no_grad()
def log_z_bounds(model: Model, system: System, exact: Tensor, n: int, samples: int = 32) -> dict[str, float]:
    """Both bounds of log Z, rigorous for any number of samples, with standard errors.

    lower = E_q[log p̃(x) - log q(x)] <= log Z <= E_p[log p̃(x) - log q(x)] = upper.

    Args:
        exact: draws from p, (M, D).
        n: draws from the model.
        samples: latent draws in the estimate of log q(x).
    """
    below = draw(model, system, n, samples).log_w
    above = -system(exact) - model.log_prob(exact, samples)
    answers = {}
    for name, values in {"log_z_lower": below, "log_z_upper": above}.items():
        answers[name] = values.mean().item()
        answers[f"{name}_error"] = values.std().item() / math.sqrt(len(values))
    return answers
