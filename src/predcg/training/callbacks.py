"""What happens beside the training steps: exact resume, bounds and snapshots along the way, one calm progress bar."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor

from predcg.files import write_tensors
from predcg.importance import log_z_bounds
from predcg.processes import end_with_parent
from predcg.progress import progress
from predcg.ranges import PositiveInt
from predcg.training.aside import aside
from predcg.training.module import Training


class RandomState(pl.Callback):
    """Keeps the state of torch's generators in the checkpoint, so that a resumed run draws what it would have drawn."""

    def state_dict(self) -> dict[str, Tensor | list[Tensor]]:
        return {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Tensor | list[Tensor]]) -> None:
        self._state = state

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        end_with_parent()  # It is one of several processes, one for each device.
        if hasattr(self, "_state"):
            torch.set_rng_state(self._state["cpu"].cpu())
            if self._state["cuda"]:
                torch.cuda.set_rng_state_all([state.cpu() for state in self._state["cuda"]])
        # Every process needs noise of its own, and the checkpoint knows the first one's only.
        if trainer.global_rank > 0:
            torch.manual_seed(int(torch.randint(2**62, ())) + trainer.global_rank)


class Evaluations(pl.Callback):
    """Keeps the count of energy evaluations whole where averages of weights take the model's place, with buffers of an
    earlier step: in checkpoints, at validations, at the end.
    """

    def on_save_checkpoint(self, trainer: pl.Trainer, module: Training, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"]["system.evaluations"] = module.system.evaluations.clone()

    def _keep(self, trainer: pl.Trainer, module: Training, *rest: Any) -> None:
        self._count = module.system.evaluations.clone()

    def _restore(self, trainer: pl.Trainer, module: Training) -> None:
        module.system.evaluations.copy_(self._count)

    on_train_start = on_validation_batch_end = on_train_epoch_end = _keep
    on_validation_epoch_end = on_train_end = _restore


class WholeEpochs(pl.Callback):
    """Has a resumed training begin a new epoch.

    A checkpoint is written at the end of an epoch, while Lightning's counters still say that it goes on: resumed from
    them, it would end once more, and without held-out frames after one further step, so that all later epochs ended one
    step late.
    """

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        loop = trainer.fit_loop
        if loop.epoch_progress.current.completed < loop.epoch_progress.current.processed:
            loop.epoch_progress.increment_completed()
            loop.reset_restart_stage()
            loop.epoch_loop.restarting = False


class RowsFirst(pl.Callback):
    """Has the loggers write before each checkpoint: a run that was killed between the two logs again what the
    checkpoint does not know, and loses nothing.
    """

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in trainer.loggers:
            logger.save()


class Best(ModelCheckpoint):
    """Keeps `folder`/best.ckpt, of the epochs at β = 1 that with the highest bound of the held-out frames; the prior,
    which says nothing of frames, is not in it.

    Bounds of tempered targets are not comparable with each other.
    """

    def __init__(self, folder: Path):
        super().__init__(
            folder, "best", "val/bound", mode="max", save_on_train_epoch_end=True, enable_version_counter=False
        )

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        return bool(trainer.lightning_module.objective.beta == 1) and super().check_monitor_top_k(trainer, current)


class LogZBounds(pl.Callback):
    """Logs both bounds of log Z of the target after every epoch, for systems with exact samples.

    Args:
        draws: draws from the model and from the system.
        samples: latent draws in the estimate of log q(x).
    """

    def __init__(self, draws: PositiveInt = 2000, samples: PositiveInt = 32):
        self.draws, self.samples = draws, samples

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Training) -> None:
        with aside("bounds", trainer.global_step):
            exact = module.system.sample(self.draws)
            bounds = log_z_bounds(module.model, module.system, exact, self.draws, self.samples)
        # It goes straight to the loggers: what Lightning collects reaches them after the checkpoint of this step only,
        # too late for a kill between.
        for logger in trainer.loggers:
            logger.log_metrics({f"sample/{name}": value for name, value in bounds.items()}, trainer.global_step)


class Snapshots(pl.Callback):
    """Keeps the model, with β and the count of energy evaluations, as `folder`/step-<n>.pt (see
    predcg.results.Snapshot).

    Not Lightning's ModelCheckpoint: that names a file by the step of the last validation, without its callbacks it
    forgets averages of the weights, and with them it keeps the optimiser and the objective's buffers too.

    Args:
        folder: where they go.
        every: steps between two of them; there is one more at the end.
    """

    def __init__(self, folder: Path, every: int):
        self.folder, self.every = folder, every

    def on_train_batch_end(self, trainer: pl.Trainer, module: Training, outputs: Any, batch: Any, index: int) -> None:
        if trainer.is_global_zero and (
            trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps
        ):
            checkpoint = {"state_dict": module.state_dict()}
            for callback in trainer.callbacks:
                if isinstance(callback, WeightAveraging):
                    callback.on_save_checkpoint(trainer, module, checkpoint)
            weights = {
                name.removeprefix("model."): value
                for name, value in checkpoint["state_dict"].items()
                if name.startswith("model.")
            }
            content = {"model": weights, "beta": module.objective.beta, "evaluations": module.system.evaluations}
            write_tensors(self.folder / f"step-{trainer.global_step}.pt", content)


class Progress(pl.callbacks.ProgressBar):
    """One bar over all steps, with rate, remaining time, loss and β."""

    def __init__(self):
        super().__init__()
        self._shown = True

    def disable(self) -> None:
        self._shown = False

    def enable(self) -> None:
        self._shown = True

    def on_train_start(self, trainer: pl.Trainer, module: Training) -> None:
        self._bar = progress(trainer.max_steps, "training", trainer.global_step, self._shown)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Training, outputs: Any, batch: Any, index: int) -> None:
        if trainer.global_step % trainer.log_every_n_steps == 0:
            self._bar.set_postfix(
                loss=f"{outputs['loss'].item():.3f}", beta=f"{module.objective.beta.item():.3g}", refresh=False
            )
        self._bar.update(trainer.global_step - self._bar.n)

    def on_train_end(self, trainer: pl.Trainer, module: Training) -> None:
        self._bar.close()

    def on_exception(self, trainer: pl.Trainer, module: Training, exception: BaseException) -> None:
        if hasattr(self, "_bar"):
            self._bar.close()
