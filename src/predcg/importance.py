"""Importance weights between a model and the system it should resemble: bounds of log Z and reweighted averages."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import Completing, sample_with_log_prob
from predcg.errors import InputError, NonFiniteError
from predcg.files import atomic, reading
from predcg.model import Model
from predcg.systems import System
from predcg.systems.writing import write_trajectory


class Weighted(NamedTuple):
    """Draws x ~ q from the model, (N, D), with log p̃(x) / q(x), (N,), where p̃ = exp(-u)."""

    x: Tensor
    log_w: Tensor

    @property
    def batch(self) -> Batch:
        """The draws with weights w of mean 1."""
        return Batch(self.x, self.log_w.double().softmax(0) * len(self.log_w))

    @property
    def effective_sample_size(self) -> float:
        """(Σ w)² / (N Σ w²), between 1/N and 1."""
        log_w = self.log_w.double()
        return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp().item() / len(log_w)

    @property
    def effective_sample_size_error(self) -> float:
        """Its standard error by the delta method: that of the mean of 2 E w (w - E w) / E w² - (E w / E w²)² (w² - E
        w²).
        """
        w = self.log_w.double().softmax(0)
        one, two = w.mean(), w.square().mean()
        influence = 2 * one / two * (w - one) - (one / two) ** 2 * (w.square() - two)
        return influence.std().item() / math.sqrt(len(w))

    @property
    def lower_bound(self) -> tuple[float, float]:
        """E_q log w <= log Z, and its standard error."""
        return _mean(self.log_w)

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

    def finite(self) -> "Weighted":
        """The draws with a weight, as those of q where p̃ is not 0: log Z is as before."""
        there = self.log_w.isfinite()
        if not there.any():
            raise NonFiniteError(f"none of {len(there)} draws of the model has a finite energy and density", self.x[0])
        return Weighted(self.x[there], self.log_w[there] + there.double().mean().log().to(self.log_w))

    def save(self, folder: Path, system: System) -> None:
        """`draws.npz` with x and w, of mean 1, as a Batch, and log_w; of a molecule also `topology.pdb`,
        `trajectory.dcd` and `weights.txt`, a line per frame.
        """
        w = self.batch.w
        if getattr(system, "topology", None) is not None:
            write_trajectory(folder, system, self.x)
            with atomic(folder / "weights.txt") as temporary:
                np.savetxt(temporary, w.numpy(), fmt="%.6g")
        with atomic(folder / "draws.npz") as temporary:  # It comes last: its presence means that all is whole.
            np.savez(temporary, x=self.x.numpy(), w=w.to(self.x).numpy(), log_w=self.log_w.numpy())

    @classmethod
    def load(cls, folder: Path) -> "Weighted":
        """Read what `save` wrote. Raises InputError where there is none."""
        path = folder / "draws.npz"
        if not path.is_file():
            raise InputError(
                f"{path}: expected the weighted draws of a run that learns from the energy; found none; run it again"
                " with force=true"
            )
        with reading(path), np.load(path, allow_pickle=False) as arrays:
            return cls(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["log_w"]))


DRAWS = Path("draws")  # The part of a run folder that Weighted.save writes.
CHUNK = 10_000  # So many draws are made at a time: with 32 latent draws each they fill some hundred MB.


@torch.no_grad()
def draw(model: Model, system: System, n: int, samples: int = 32, beta: float | Tensor = 1.0) -> Weighted:
    """n draws from the model with exact importance weights (see Model.log_prob) towards exp(-β u); without a finite
    energy the weight is zero.
    """
    drawn = []
    for start in range(0, n, CHUNK):
        x, log_q = model.draw(min(CHUNK, n - start), samples)
        log_w = -beta * system.unchecked(x) - log_q
        drawn.append((x, torch.where(log_w.isfinite(), log_w, -torch.inf)))
    return Weighted(*map(torch.cat, zip(*drawn, strict=True)))


@torch.no_grad()
def complete(model: Model, system: System, z: Tensor, n: int) -> Weighted:
    """n configurations that have the collective variables z, (d,), with weights e^-u(x) / q(x|z) towards the system's
    own distribution of such configurations; `log_z` of what is returned is -F(z).

    Raises:
        InputError: the decoder completes no collective variables, or z is not one of each.
    """
    if not isinstance(model.decoder, Completing):
        raise InputError(
            "model: configurations at z are those of a decoder that completes it; found"
            f" {type(model.decoder).__name__}; choose decoder=completion"
        )
    d = len(model.decoder.kept)
    if z.shape != (d,):
        raise InputError(f"z: expected {d} numbers, one point of collective variables; found shape {tuple(z.shape)}")
    drawn = []
    for start in range(0, n, CHUNK):
        x, log_q = sample_with_log_prob(model.decoder(z.expand(min(CHUNK, n - start), -1)))
        log_w = -system.unchecked(x) - log_q
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
        answers[name], answers[f"{name}_error"] = _mean(values)
    return answers


def _mean(values: Tensor) -> tuple[float, float]:
    return values.mean().item(), values.std().item() / math.sqrt(len(values))
