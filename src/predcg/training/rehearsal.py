"""What a training needs, made once for nothing: what cannot be used is found before data cost anything."""

import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, Timer
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from predcg.errors import InputError
from predcg.training.fit import calm

LONGEST = 20_000  # At most so many steps of a schedule are gone through.


def check_trainer(trainer: Callable[..., pl.Trainer], callbacks: Sequence[pl.Callback], steps: int) -> None:
    """Raise InputError on what no Trainer is made of, what would end it before its steps, and where each of several
    devices would run the whole program once more, in the folder of the first.
    """
    calm()
    try:
        built = trainer(logger=False, callbacks=[*callbacks, ModelCheckpoint()])
    except Exception as reason:  # Lightning raises anything, and so does what it asks about devices.
        raise InputError(f"trainer: {reason}; mend it, or leave it out") from reason
    early = {
        "max_steps": built.max_steps != steps,
        "max_epochs": built.max_epochs not in (-1, None),
        "fast_dev_run": built.fast_dev_run,
        "max_time": any(isinstance(callback, Timer) for callback in built.callbacks),
    }
    for name in (name for name, ends in early.items() if ends):
        raise InputError(
            f"trainer.{name}: expected a training that ends after steps = {steps}; this ends elsewhere; leave it out,"
            " and choose steps=<n>"
        )
    for name in {"callbacks", "logger", "num_sanity_val_steps", "enable_model_summary"} & getattr(
        trainer, "keywords", {}
    ).keys():
        raise InputError(f"trainer.{name}: is given by the run; leave it out")
    if built.log_every_n_steps < 1:
        raise InputError(
            f"trainer.log_every_n_steps: expected a whole number >= 1; found {built.log_every_n_steps}; mend it, or"
            " leave it out"
        )
    if (built.gradient_clip_val or 0) < 0:
        raise InputError(
            f"trainer.gradient_clip_val: expected a number >= 0 or null; found {built.gradient_clip_val}; mend it, or"
            " leave it out"
        )
    if isinstance(built.strategy.launcher, _SubprocessScriptLauncher) and built.world_size > 1:
        raise InputError(
            f"trainer.strategy: expected one whose processes are children of one run, for {built.world_size} devices;"
            f" found {type(built.strategy).__name__}; choose trainer.strategy=ddp_spawn, or trainer.devices=1"
        )


def check_optimizer(optimizer: Callable, scheduler: Callable | None, steps: int) -> None:
    """Make optimiser and schedule of one parameter and go through the steps. Raises InputError on what they refuse, and
    on a rate that is negative or not finite.
    """
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    try:
        made = optimizer([parameter])
        made.step()
    except Exception as reason:  # Whatever optimiser was named raises what it likes.
        raise InputError(f"optimizer: {reason or type(reason).__name__}; mend it, or leave it out") from reason
    if not steps:
        return
    if scheduler is None:
        return _check_moves("optimizer.lr", max(group["lr"] for group in made.param_groups))
    for name, value in getattr(scheduler, "keywords", {}).items():
        if name != "last_epoch" and isinstance(value, int | float) and value < 0:
            raise InputError(f"scheduler.{name}: expected a number >= 0; found {value}; mend it, or leave it out")
    highest = 0.0
    try:
        with warnings.catch_warnings(action="ignore"):
            schedule = scheduler(made)
            for step in range(min(steps, LONGEST)):
                if step:  # It follows a step of the optimiser, as in training; a schedule of n rates lasts n steps.
                    schedule.step()
                rates = schedule.get_last_lr()
                if not all(0 <= rate < math.inf for rate in rates):
                    raise InputError(
                        f"scheduler: expected learning rates >= 0; found {rates[0]:g} at step {step}; mend it, or leave"
                        " it out"
                    )
                highest = max(highest, *rates)
    except InputError:
        raise
    except Exception as reason:
        raise InputError(
            f"scheduler: {reason or type(reason).__name__} (in {steps} steps); mend it, or leave it out"
        ) from reason
    _check_moves("scheduler", highest)


def _check_moves(name: str, rate: float) -> None:
    if not rate > 0:
        raise InputError(
            f"{name}: expected a learning rate > 0 at some step; found {rate:g} at all of them; mend it, or choose"
            " steps=0"
        )


def check_logger(logger: Any) -> None:
    """Raise InputError where Weights & Biases is to be reached and cannot be, within seconds."""
    if not hasattr(logger, "use_artifact") or logger._offline or os.environ.get("WANDB_MODE", "online") != "online":
        return
    import wandb

    mend = "run `wandb login`, or choose logger=none or logger.offline=true"
    try:
        known = wandb.login(prompt=False, timeout=10, verify=True)
    except Exception as reason:  # There is no server, the key is wrong, or a service of its own does not start.
        raise InputError(
            f"logger: expected Weights & Biases to answer; {' '.join(str(reason).split())[:300]}; {mend}"
        ) from reason
    if not known:
        raise InputError(f"logger: expected a key of Weights & Biases, since logger.offline=false; found none; {mend}")
