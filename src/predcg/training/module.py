"""Lightning carries; it does not compute."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from predcg.batch import Batch
from predcg.model import Model
from predcg.objectives import Objective
from predcg.priors import Prior
from predcg.systems import System
from predcg.training.aside import aside


class Training(pl.LightningModule):
    """Minimises objective - prior over the model's parameters.

    Args:
        model, system, prior, objective: the nouns.
        optimizer: makes the optimiser of an iterable of parameters.
        scheduler: makes a learning-rate schedule of the optimiser, advanced every step; default none.
    """

    def __init__(
        self,
        model: Model,
        system: System,
        prior: Prior,
        objective: Objective,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        scheduler: Callable[[Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
    ):
        super().__init__()
        self.model, self.system, self.prior, self.objective = model, system, prior, objective
        self.optimizer, self.scheduler = optimizer, scheduler

    def __setattr__(self, name: str, value: Any) -> None:
        # Forty times a step Lightning notes which hook is running; torch would look each time whether that is a
        # parameter.
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss, values = self._measure(batch)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"loss is {value} at step {self.global_step}; lower the learning rate or temper from a smaller beta"
            )
        if self.global_step % self.trainer.log_every_n_steps == 0:
            # self.log costs as much as a small network's step, and counts steps anew after a resume.
            for logger in self.trainer.loggers:
                logger.log_metrics(
                    {f"train/{name}": number.item() for name, number in values.items()}, self.global_step
                )
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        with aside("held out", self.global_step):
            _, values = self._measure(batch)
        self.log_dict(
            {f"val/{name}": value for name, value in values.items()} | {"step": float(self.global_step)},
            batch_size=1,
            sync_dist=True,
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, index: int) -> Batch:
        # Lightning searches every batch for tensors to move; on a CPU there are none, and the search costs as much as a
        # layer.
        return batch if batch.x.device == device else super().transfer_batch_to_device(batch, device, index)

    def _measure(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        terms = self.objective(self.model, self.system, batch)
        log_prior = self.prior(self.model.latent, self.model.decoder)
        loss = terms.loss - log_prior
        shown = {
            "loss": loss.detach(),
            "bound": -terms.loss.detach(),
            "log_prior": log_prior.detach(),
            "beta": self.objective.beta,
        }
        return loss, terms.log | shown

    def configure_optimizers(self) -> dict | Optimizer:
        optimizer = self.optimizer(self.model.parameters())
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}
