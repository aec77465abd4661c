"""Adaptive tempering: how far β rises follows from how far the model is from the target."""

import math
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from predcg.densities import sample_with_log_prob
from predcg.errors import InputError
from predcg.importance import Weighted
from predcg.model import Model
from predcg.ranges import Beta, GrowthFactor, PositiveFloat, PositiveInt
from predcg.systems import System
from predcg.training.aside import aside
from predcg.training.module import Training

SHRINK = 0.6  # A rise that was too large shrinks by this factor, as in the source.
SMALLEST = 0.01  # Backtracking ends at this share of the largest rise; our choice.
EFFECTIVE = 100  # An estimate is believed where so many draws are left after reweighting; our choice.


class Overlap(NamedTuple):
    """Draws (z, x) ~ q of the model against p_β(x) r(z|x), with the encoder as r.

    Args:
        u: energies u(x), (n,), float64.
        log_w: joint log-weights log w = -β u(x) + log r(z|x) - log q(x|z) - log q(z), (n,), float64.
    """

    u: Tensor
    log_w: Tensor

    @property
    def log_z(self) -> tuple[float, float]:
        """log mean w, the estimate of log Z(β), and its standard error."""
        return self._weighted(0.0).log_z

    @property
    def kl(self) -> float:
        """KL(q(x, z) || p_β(x) r(z|x)) = log Z(β) - E_q log w, with log Z from the same draws: never negative, and too
        small where they are too few.
        """
        return self.log_z[0] - self.log_w.mean().item()

    def effective_sample_size(self, rise: float) -> float:
        """That of the weights w e^{-Δβ u}, between 1/n and 1."""
        return self._weighted(rise).effective_sample_size

    def log_ratio(self, rise: float) -> tuple[float, float]:
        """log Z(β + Δβ) / Z(β) = log Σ w e^{-Δβ u} / Σ w, and its standard error by the delta method."""
        after = self.log_w - rise * self.u
        return (after.logsumexp(0) - self.log_w.logsumexp(0)).item(), (
            after.softmax(0) - self.log_w.softmax(0)
        ).norm().item()

    def growth(self, rise: float) -> float:
        """c = [log Z(β + Δβ) / Z(β) + Δβ E_q u] / max(KL, 1 nat): what the rise adds to the divergence, relative to it.

        The source divides by KL alone, which vanishes for a good fit and would forbid any rise; that a fit better than
        one nat counts as one nat is our choice. A rise that brings the target closer has c < 0.
        """
        return (self.log_ratio(rise)[0] + rise * self.u.mean().item()) / max(self.kl, 1.0)

    def _weighted(self, rise: float) -> Weighted:
        return Weighted(self.u, self.log_w - rise * self.u)


@torch.no_grad()
def overlap(model: Model, system: System, beta: float, draws: int) -> Overlap:
    """Fresh draws of the model, each with one energy. Those without a finite one weigh nothing in log Z and are left
    out of all else.
    """
    z, log_latent = sample_with_log_prob(model.latent(), (draws,))
    x, log_decoder = sample_with_log_prob(model.decoder(z))
    u = system.unchecked(x).double()
    log_w = model.encoder(x).log_prob(z).double() - log_decoder - log_latent - beta * u
    finite = log_w.isfinite()
    return Overlap(u[finite], log_w[finite] + finite.double().mean().log())


class AdaptiveTempering(pl.Callback):
    """Raises the objective's β from `start` to 1, each time the loss has converged, as far as the growth of KL allows.

    The largest rise, to min(1, growth β, β + increment), is shrunk by 0.6 until its relative growth c is at most
    `threshold` and enough draws are effective (see Overlap). The loss has converged when the lowest of its averages
    over `block` steps since the last rise is not the last one. When no rise is allowed, training goes on at the same β;
    after `most` steps the smallest one is forced. (Schöberl, Zabaras, Koutsourelakis 2020, arXiv:2002.10148.)

    Every attempt is logged, with log Z(β): estimated directly at the first β, from then on the sum of the estimated
    log-ratios, beside a direct estimate of each; at β = 1 also after the last step. β is a buffer of the objective, all
    else this callback's state.

    The error of the sum knows nothing of modes that the model has lost: there the sum and the direct estimate part.
    Defaults are those of the source's code, `threshold` that of Stupp and Koutsourelakis 2026 (arXiv:2504.20940).

    Args:
        start: first β, in (0, 1].
        growth: largest factor between two values, > 1.
        increment: largest difference between two values, > 0.
        threshold: largest relative growth c, > 0.
        steps: fewest optimiser steps at each β.
        most: steps at one β after which the loss counts as converged, and a rise is forced.
        block: steps in one average of the loss.
        draws: draws (z, x) of one attempt, each with an energy.

    Raises:
        InputError: a number out of its range.

    >>> tempering = AdaptiveTempering(start=1e-4, increment=0.05, threshold=0.1)
    """

    def __init__(
        self,
        start: Beta = 1e-10,
        growth: GrowthFactor = 3.0,
        increment: PositiveFloat = 1e-3,
        threshold: PositiveFloat = 0.1,
        steps: PositiveInt = 120,
        most: PositiveInt = 800,
        block: PositiveInt = 20,
        draws: PositiveInt = 2000,
    ):
        if not 0 < start <= 1:
            raise InputError(f"start: expected a number in (0, 1]; found {start}")
        if not (growth > 1 and increment > 0 and threshold > 0):
            raise InputError(
                f"growth, increment, threshold: expected > 1, > 0, > 0; found {growth}, {increment}, {threshold}"
            )
        if not 1 <= block <= steps <= most:
            raise InputError(
                f"block, steps, most: expected 1 <= block <= steps <= most; found {block}, {steps}, {most}"
            )
        if draws < EFFECTIVE:
            raise InputError(f"draws: expected at least {EFFECTIVE}; found {draws}")
        self.start, self.growth, self.increment, self.threshold = start, growth, increment, threshold
        self.steps, self.most, self.block, self.draws = steps, most, block, draws
        self._state = {"changed": 0, "total": 0.0, "least": math.inf, "raised": 0, "log_z": 0.0, "variance": 0.0}

    def on_train_start(self, trainer: pl.Trainer, module: Training) -> None:
        if trainer.global_step == 0:
            module.objective.temper(self.start)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Training, outputs: Any, batch: Any, index: int) -> None:
        state, step, beta = self._state, trainer.global_step, module.objective.beta.item()
        if not (self._converged(step, outputs["loss"].item()) if beta < 1 else step == trainer.max_steps):
            return
        with aside("tempering", step):
            seen = overlap(module.model, module.system, beta, self.draws)
        direct, error = seen.log_z
        if state["raised"] == 0:
            state |= {"log_z": direct, "variance": error**2}
        log = {
            "tempering/beta": beta,
            "tempering/kl": seen.kl,
            "sample/log_z_direct": direct,
            "sample/log_z_direct_error": error,
        }
        log |= {"sample/log_z": state["log_z"], "sample/log_z_error": math.sqrt(state["variance"])}
        if beta < 1:
            log |= self._attempt(seen, module, step)
        # As in LogZBounds: straight to the loggers, before the checkpoint of this step is written.
        for logger in trainer.loggers:
            logger.log_metrics(log, step)

    def _converged(self, step: int, loss: float) -> bool:
        """Whether, at the end of a block, the loss has stopped falling or time is up."""
        state, waited = self._state, step - self._state["changed"]
        state["total"] += loss
        if waited % self.block:
            return False
        last, least, state["total"] = state["total"], state["least"], 0.0
        state["least"] = min(last, least)
        return waited >= self.steps and (last > least or waited >= self.most)

    def _attempt(self, seen: Overlap, module: Training, step: int) -> dict[str, float]:
        """Raise β as far as allowed, if at all; all trials are judged on the same draws."""
        state, beta = self._state, module.objective.beta.item()
        largest = min((self.growth - 1) * beta, self.increment, 1 - beta)
        rise, shrunk = largest, 0
        while not (allowed := self._allowed(seen, rise)) and rise * SHRINK >= largest * SMALLEST:
            rise, shrunk = rise * SHRINK, shrunk + 1
        growth, effective, forced = (
            seen.growth(rise),
            seen.effective_sample_size(rise),
            not allowed and step - state["changed"] >= self.most,
        )
        if allowed or forced:
            ratio, error = seen.log_ratio(rise)
            module.objective.temper(1.0 if rise == 1 - beta else beta + rise)
            state |= {"changed": step, "least": math.inf, "raised": state["raised"] + 1}
            state |= {"log_z": state["log_z"] + ratio, "variance": state["variance"] + error**2}
        made = {
            "rise": rise * (allowed or forced),
            "growth": growth,
            "effective_sample_size": effective,
            "shrunk": shrunk,
            "forced": int(forced),
        }
        return {f"tempering/{name}": value for name, value in made.items()}

    def _allowed(self, seen: Overlap, rise: float) -> bool:
        return seen.growth(rise) <= self.threshold and len(seen.u) * seen.effective_sample_size(rise) >= EFFECTIVE

    def state_dict(self) -> dict[str, float]:
        return dict(self._state)

    def load_state_dict(self, state: dict[str, float]) -> None:
        self._state = dict(state)
