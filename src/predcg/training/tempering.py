"""Tempering: from a flat target to the real one."""

import logging
from typing import Any

import pytorch_lightning as pl

from predcg.errors import InputError
from predcg.ranges import Beta, GrowthFactor, NonNegativeInt, PositiveFloat, PositiveInt
from predcg.training.module import Training

log = logging.getLogger(__name__)


class Tempering(pl.Callback):
    """Raises the objective's β from `start` to 1: β ← min(1, growth β, β + increment) after every `steps` steps.

    Growth governs small β, where the target changes slowly with log β; the increment governs β near 1 (Δβ_max of
    Schöberl et al. 2019). β is a buffer of the objective and the time of the last change is this callback's state, so
    both are in the checkpoint.

    Args:
        start: first β, in (0, 1].
        growth: largest factor between two values, > 1.
        increment: largest difference between two values, > 0.
        steps: optimiser steps at each β.
        first_steps: optimiser steps at the first β; default `steps`.

    >>> tempering = Tempering(start=0.1, growth=2.0, increment=0.3, steps=10)  # 0.1, 0.2, 0.4, 0.7, 1
    """

    def __init__(
        self,
        start: Beta,
        growth: GrowthFactor,
        increment: PositiveFloat,
        steps: PositiveInt,
        first_steps: NonNegativeInt | None = None,
    ):
        if not 0 < start <= 1:
            raise InputError(f"start: expected a number in (0, 1]; found {start}")
        if not (growth > 1 and increment > 0 and steps >= 1):
            raise InputError(f"growth, increment, steps: expected > 1, > 0, >= 1; found {growth}, {increment}, {steps}")
        self.start, self.growth, self.increment, self.steps = start, growth, increment, steps
        self.until = first_steps if first_steps is not None else steps

    def on_train_start(self, trainer: pl.Trainer, module: Training) -> None:
        if trainer.global_step == 0:
            module.objective.temper(self.start)
            if trainer.max_steps <= (needed := self._needed()):
                log.warning(
                    "tempering: β reaches 1 after %d steps, and there are %d; choose more steps, or a larger growth or"
                    " increment",
                    needed,
                    trainer.max_steps,
                )

    def _raised(self, beta: float) -> float:
        return min(1.0, self.growth * beta, beta + self.increment)

    def _needed(self) -> int:
        """Steps until β = 1."""
        beta, rises = self.start, 0
        while beta < 1:
            beta, rises = self._raised(beta), rises + 1
        return self.until + (rises - 1) * self.steps if rises else 0

    def on_train_batch_start(self, trainer: pl.Trainer, module: Training, batch: Any, index: int) -> None:
        beta = module.objective.beta.item()
        if beta < 1 and trainer.global_step >= self.until:
            module.objective.temper(self._raised(beta))
            self.until = trainer.global_step + self.steps

    def state_dict(self) -> dict[str, int]:
        return {"until": self.until}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.until = state["until"]
