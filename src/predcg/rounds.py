"""One round of a run: new data, then a training on them and on what earlier rounds have acquired."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from predcg.batch import Batch, Data
from predcg.errors import InputError, NonFiniteError
from predcg.files import clear, read_json, write_json
from predcg.folder import ROUNDS, begin, withdraw
from predcg.messages import short_of_memory
from predcg.model import Model
from predcg.parts import Parts, build
from predcg.systems import System
from predcg.systems.writing import write_frame
from predcg.training import BEST, LAST, Later, Training, fit, read_checkpoint

log = logging.getLogger(__name__)
POSTERIOR = "posterior.npz"
COST = "data/cost.json"  # It holds what all data so far and the trainings before have cost, in energy evaluations.


class Round(NamedTuple):
    """Which round of a run it is, from 1 on, and where it is kept: the first in the run folder itself."""

    number: int
    folder: Path

    @classmethod
    def of(cls, run: Path, number: int) -> "Round":
        """The round of this number of the run in a folder."""
        return cls(number, run if number == 1 else run / ROUNDS / str(number))

    def seed(self, seed: int) -> int:
        """The round's own seed of one of the run: in the first round that very seed.

        >>> Round.of(Path("mine"), 1).seed(7), Round.of(Path("mine"), 2).seed(7) == 7
        (7, False)
        """
        return seed if self.number == 1 else int(np.random.SeedSequence((seed, self.number)).generate_state(1)[0] >> 1)


def renew(cfg: DictConfig, here: Round, system: System) -> Parts:
    """All parts of a round after the first, made anew from its seed and with its number; the system stays."""
    torch.manual_seed(here.seed(cfg.seed))
    parts = build(OmegaConf.merge(cfg, {"round": here.number}), system)
    parts.sampler.seed = here.seed(parts.sampler.seed)
    return parts


def acquire(cfg: DictConfig, here: Round, parts: Parts, model: Model, past: Sequence[Data], resolved: dict) -> Data:
    """The round's new data, from its folder where they are there already; the system has then counted all energies up
    to here, whenever they were evaluated.

    Args:
        cfg, resolved: the configuration, and its plain form.
        here, parts: the round.
        model: as the last round has left it; in the first round the untrained one.
        past: what each round before has acquired.
    """
    data = None if cfg.force and here.number == 1 else Data.load(here.folder / "data")
    if data is not None:
        clear(here.folder)
        if (here.folder / COST).exists():  # Run folders of earlier versions lack it.
            parts.system.evaluations.fill_(read_json(here.folder / COST)["energy_evaluations"])
        return data
    torch.manual_seed(here.seed(cfg.seed))
    run = Path(cfg.folder)
    made = run if (run / "config.yaml").exists() and not (cfg.force and here.number == 1) else begin(run, resolved)
    here.folder.mkdir(parents=True, exist_ok=True)
    clear(here.folder)
    try:
        data = parts.acquisition.acquire(model, parts.system, parts.sampler, past, here.folder / "simulation")
        named = zip(("training", "held-out"), data, strict=True)
        data = Data(*(_possible(parts, name, frames) for name, frames in named))
        if here.number == 1:
            parts.prior.fit(data.train.effective_size)
            rehearse(parts, data.train.frames(slice(0, 2)))
            if parts.posterior:
                parts.posterior.rehearse(parts.model, parts.prior, data.train.frames(slice(0, 2)))
        if cfg.steps and cfg.checkpoint == "best" and not len(data.test):
            raise InputError(
                "checkpoint: best follows the bound of held-out frames, and there are none; hold some out, or choose"
                " checkpoint=last"
            )
    except InputError:
        withdraw(run, made)
        raise
    write_json(here.folder / COST, {"energy_evaluations": int(parts.system.evaluations)})
    data.save(here.folder / "data")
    return data


def learnt(past: Sequence[Data], share: float | None) -> Data:
    """What the last of some rounds learns from and is judged by: its own frames, and those of the rounds before.

    Args:
        past: what each round has acquired, the last one's last.
        share: of the weight of all, what the rounds before have together; None leaves every frame its own weight.

    >>> one, other = (Data(Batch(torch.zeros(n, 1)), Batch(torch.zeros(0, 1))) for n in (4, 2))
    >>> learnt([one, other], share=0.5).train.w
    tensor([1.5000, 1.5000, 0.7500, 0.7500, 0.7500, 0.7500])
    """
    return Data(*(_mixed([data[part] for data in past], share) for part in range(2)))


def _mixed(batches: list[Batch], share: float | None) -> Batch:
    new, before = batches[-1], Batch.join(batches[:-1]) if batches[:-1] else None
    if before is None or not len(before) or share == 0:
        return new
    if share is not None and len(new):
        count = len(new) + len(before)
        new = replace(new, w=new.w * ((1 - share) * count / new.w.sum()))
        before = replace(before, w=before.w * (share * count / before.w.sum()))
    return Batch.join([new, before])


def train(
    cfg: DictConfig, here: Round, parts: Parts, before: dict[str, Tensor] | None, data: Data, loggers: Sequence
) -> Training:
    """Train in the round's folder, from its last checkpoint where there is one, and infer the posterior; neither for
    steps=0.

    Args:
        cfg, here, parts: the round.
        before: the state in which the last round has left model and objective, from which this one begins; what
            cfg.reset names begins anew, and so does β.
        data: see `learnt`.
        loggers: beside the round's own history.

    Returns:
        The model of the checkpoint that results use, and the objective of the last one.
    """
    module = training(parts)
    parts.prior.fit(data.train.effective_size)
    torch.manual_seed(here.seed(cfg.seed))
    if cfg.steps and len(data.train):
        parts.model.fit(data.train.x)
    if before is not None:
        _go_on(module, before, cfg.reset)
    if not cfg.steps:
        return module
    if here.number > 1:
        loggers = [Later(logger, (here.number - 1) * cfg.steps, here.number) for logger in loggers]
    try:
        sizes = cfg.batch_size, cfg.epoch_steps, cfg.snapshots
        fit(module, data, parts.trainer, parts.callbacks, loggers, here.folder, *sizes)
    except NonFiniteError as reason:
        file = write_frame(Path(cfg.folder) / "worst", parts.system, reason.x)
        raise FloatingPointError(
            f"{reason} (one: {file}); lower the learning rate or temper from a smaller beta"
        ) from reason
    state = read_checkpoint(checkpoint_file(here.folder, cfg.checkpoint))["state_dict"]
    module.load_state_dict({name: value for name, value in state.items() if name.startswith("model.")}, strict=False)
    if parts.posterior:
        torch.manual_seed(here.seed(cfg.seed))  # A posterior that is sampled is the same after a resume.
        parts.posterior(parts.model, parts.prior, data.train).save(here.folder / POSTERIOR)
    return module


def _go_on(module: Training, before: dict[str, Tensor], reset: Sequence[str]) -> None:
    """Begin with model and objective of the last round, but for roles that are reset, and for β."""
    dropped = tuple(f"model.{role}." for role in reset) + ("system.", "prior.")
    kept = {
        name: value
        for name, value in before.items()
        if not name.startswith(dropped) and not (name.startswith("objective.") and name.endswith(".beta"))
    }
    module.load_state_dict(kept, strict=False)


def training(parts: Parts) -> Training:
    """What Lightning trains."""
    return Training(parts.model, parts.system, parts.prior, parts.objective, parts.optimizer, parts.scheduler)


def checkpoint_file(folder: Path, which: str) -> Path:
    """Where the checkpoint last or best of a round is. Raises InputError where it is not kept."""
    files = {"last": folder / LAST, "best": folder / BEST}
    if which not in files or not files[which].exists():
        kept = [name for name, file in files.items() if file.exists()]
        why = "; the best is kept of epochs at β = 1, where frames are held out" if which == "best" else ""
        raise InputError(f"checkpoint: expected one of {', '.join(kept) or 'none'} in {folder}; found {which!r}{why}")
    return files[which]


def rehearse(parts: Parts, batch: Batch | None = None) -> None:
    """Evaluate the objective once, so that what does not fit together fails before it costs or writes anything: of
    data, or while there are none of two configurations from which a simulation may start.
    """
    if batch is None:
        start = parts.system.start(2)
        batch = Batch(start, z=parts.model.cv(start).detach() if "z" in parts.objective.needs else None)
    before = int(parts.system.evaluations)
    roles = ", ".join(f"{role} {type(density).__name__}" for role, density in parts.model.named_children())
    try:
        with torch.no_grad():
            loss = parts.objective.eval()(parts.model, parts.system, batch).loss
    except InputError as reason:
        raise InputError(f"{reason} (found {roles})") from reason
    except FloatingPointError as reason:
        raise InputError(
            f"objective: of the untrained model {reason}; choose a decoder that starts nearer to the system, and an"
            f" encoder with a density (found {roles})"
        ) from reason
    except (RuntimeError, MemoryError) as reason:
        if told := short_of_memory(reason):
            raise InputError(f"objective: of the untrained model {told} (found {roles})") from reason
        raise
    if not torch.isfinite(loss):
        raise InputError(
            f"objective: the loss of the untrained model is {loss.item()}; choose densities that overlap, not a"
            f" deterministic one (found {roles})"
        )
    parts.objective.train()
    parts.system.evaluations.fill_(before)  # A rehearsal is no part of the run: a resumed one has more of them.


def _possible(parts: Parts, name: str, frames: Batch) -> Batch:
    """Without those frames to which the decoder can give no density; how many they are is said."""
    possible = parts.model.decoder.supports(frames.x)
    lost = int((~possible).sum())
    if not lost:
        return frames
    why = (
        "the decoder gives them no density, as to peptide bonds and chiral centres that are not as in the system's"
        " first model"
    )
    if lost == len(possible):
        raise InputError(
            f"decoder: expected {name} frames that it can have; found none among {lost}: {why}; mend the model in"
            " system.pdb, or choose decoder=molecule"
        )
    log.warning(f"{lost} of {len(possible)} {name} frames are left out: {why}")
    return frames.frames(possible)
