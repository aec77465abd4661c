"""One training: checkpoints, exact resume, progress."""

import logging
import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.profilers import PassThroughProfiler

from predcg.batch import Data
from predcg.files import reading, write_tensors
from predcg.results import SNAPSHOTS
from predcg.training.callbacks import Best, Evaluations, Progress, RandomState, RowsFirst, Snapshots, WholeEpochs
from predcg.training.history import History
from predcg.training.loader import Loader, WholeBatch
from predcg.training.module import Training

log = logging.getLogger(__name__)
LAST = Path("checkpoints/last.ckpt")
BEST = LAST.with_stem("best")


def fit(
    module: Training,
    data: Data,
    trainer: Callable[..., pl.Trainer],
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    folder: Path,
    batch_size: int,
    epoch_steps: int,
    snapshots: int | None = None,
) -> None:
    """Train in `folder`, from its last checkpoint where there is one.

    Args:
        module, data: what is trained, on what.
        trainer: makes the Trainer of callbacks and loggers.
        callbacks, loggers: further ones, beside those that every run has.
        folder: run folder; checkpoints/last.ckpt, checkpoints/best.ckpt and metrics.csv are written there.
        batch_size, epoch_steps: see Loader.
        snapshots: steps between two snapshots/step-<n>.pt; default none.

    Raises:
        InputError: the last checkpoint cannot be read.
    """
    calm()
    last = folder / LAST
    history = History(folder / "metrics.csv")
    if last.exists():
        step = read_checkpoint(last)["global_step"]
        log.info("resuming from step %d", step)
        history.truncate(step)
    held_out = len(data.test.x) > 0
    # Lightning's own save_last follows the best: it would stop being written when the held-out loss stops falling.
    keep = [ModelCheckpoint(last.parent, "last", save_on_train_epoch_end=True, enable_version_counter=False)]
    if held_out:
        keep.insert(0, Best(last.parent))  # It comes first, so that the last checkpoint knows which was the best.
    if snapshots:
        keep.append(Snapshots(folder / SNAPSHOTS, snapshots))
    built = trainer(
        callbacks=[*callbacks, RandomState(), WholeEpochs(), Evaluations(), RowsFirst(), Progress(), *keep],
        logger=[history, *loggers],
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
    built.strategy.checkpoint_io = _InPlace()
    if isinstance(built.profiler, PassThroughProfiler):
        built.profiler = _Unmeasured()
    batches, held_out_batches = Loader(data.train, batch_size, epoch_steps), WholeBatch(data.test) if held_out else None
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        # Joblib's workers have one of their own, which children of theirs do not know.
        multiprocessing.set_start_method("spawn", force=True)
    try:
        built.fit(module, batches, held_out_batches, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as ctrl_c:  # Lightning makes SystemExit of Ctrl-C.
        raise KeyboardInterrupt from ctrl_c


class _InPlace(TorchCheckpointIO):
    """Writes a checkpoint beside its place: Lightning's own goes by the temporary folder, from which on another disk it
    is copied, not renamed.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        write_tensors(Path(path), checkpoint)


class _Unmeasured(PassThroughProfiler):
    """No profile, at no cost: Lightning's own enters a generator forty times a step to measure nothing."""

    def profile(self, action_name: str) -> AbstractContextManager:
        return nullcontext()


def calm() -> None:
    """Silence what Lightning says and the user cannot act on."""
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*isinstance.treespec, LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*defined a `validation_step` but have no `val_dataloader`.*",
        ".*smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def read_checkpoint(path: Path) -> dict:
    """A checkpoint's content, plain Python and tensors only. Raises InputError when it cannot be read."""
    with reading(path, "delete it, or start again with force=true"):
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not {"state_dict", "global_step"} <= content.keys():
            raise ValueError("it holds no training")
        return content
