"""A configuration in, a run folder out."""

import logging
import os
import time
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from predcg.batch import Batch, Data
from predcg.config import Parts, build, construct
from predcg.errors import InputError, NonFiniteError
from predcg.files import alone, clear, read_json, reading, write_json
from predcg.folder import begin, configuration, finish, is_finished, withdraw
from predcg.inputs import kept
from predcg.messages import short_of_memory
from predcg.objectives import ReverseKL
from predcg.posteriors import WeightPosterior
from predcg.report import FAILED, draw, final_beta, weigh
from predcg.results import Run, bounds, parted
from predcg.systems.trajectory import write_frame
from predcg.training import BEST, LAST, Training, check_logger, fit, read_checkpoint, read_history

log = logging.getLogger(__name__)
POSTERIOR = "posterior.npz"
COST = "data/cost.json"  # of the data, in energy evaluations


def run(cfg: DictConfig) -> Path:
    """Acquire data, train on them (unless steps=0), draw; return the run folder, which ends with the file `finished`.

    A finished folder is returned as it is unless `force=true`; an unfinished one is resumed from its last checkpoint.

    Raises:
        InputError: anything in the configuration or in what it points to that cannot be used, before anything is
            written.
        FloatingPointError: a loss or too many energies that are not finite; one of their configurations is in the
            folder, as worst.pdb or .npy.
    """
    began, folder = time.perf_counter(), Path(cfg.folder)
    os.environ.setdefault("WANDB_SILENT", "true")
    # Seconds: on a busy machine its process needs more than its own 30 to start.
    os.environ.setdefault("WANDB__SERVICE_WAIT", "180")
    torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    parts = build(cfg)
    resolved = OmegaConf.to_container(cfg, resolve=True)
    with alone(folder):
        if is_finished(folder, resolved):
            _draw_missing(cfg.figures, folder)
            return folder
        loggers = _loggers(cfg)
        data = _acquire(cfg, parts, resolved)
        try:
            module = _train(cfg, parts, data, loggers)
            summary = _results(cfg, parts, module)
            summary["wall_time_s"] = round(time.perf_counter() - began, 1)
            for logger in loggers:
                _report(logger, folder, summary)
        finally:
            for logger in loggers:
                if getattr(logger, "_experiment", None) is not None:  # to ask for it would begin one
                    getattr(logger.experiment, "finish", lambda: None)()
        finish(folder, resolved, summary)
    log.info("finished: %s", folder)
    return folder


def _draw_missing(names: list[str], folder: Path) -> None:
    """Draw those figures of a finished run that it lacks; its summary takes their numbers, all else stays as it is."""
    if missing := [name for name in names if not (folder / "figures" / f"{name}.png").exists()]:
        log.info("finished already, but for the figures %s: %s", ", ".join(missing), folder)
        numbers = read_json(folder / "summary.json")
        # What has failed before is tried again.
        numbers = {name: value for name, value in numbers.items() if name.removesuffix(FAILED) not in missing}
        write_json(folder / "summary.json", numbers | draw(load(folder), missing, folder / "figures"))
    else:
        log.info("finished already: %s (force=true runs it again)", folder)


def _loggers(cfg: DictConfig) -> list:
    loggers = [logger for logger in [construct(cfg, "logger")] if logger]
    for logger in loggers:
        check_logger(logger)
        # Lightning passes this one on to wandb, which warns the user that it is of no use.
        getattr(logger, "_wandb_init", {}).pop("anonymous", None)
    return loggers


def _acquire(cfg: DictConfig, parts: Parts, resolved: dict) -> Data:
    """The data of the run folder, or new ones; the system has then counted what they have cost, whenever that was."""
    folder = Path(cfg.folder)
    a_step = _rehearse(parts, Batch.of(parts.system.start(2)))
    data = None if cfg.force else Data.load(folder / "data")
    if data is not None:
        clear(folder)
        if (folder / COST).exists():  # which run folders of earlier versions lack
            parts.system.evaluations.fill_(read_json(folder / COST)["energy_evaluations"])
    else:
        torch.manual_seed(cfg.seed)
        made = folder if (folder / "config.yaml").exists() and not cfg.force else begin(folder, resolved)
        clear(folder)
        try:
            data = parts.acquisition.acquire(parts.model, parts.system, parts.sampler, folder / "simulation")
            data = Data(
                *(_possible(parts, part, frames) for part, frames in zip(("training", "held-out"), data, strict=True))
            )
            parts.prior.fit(data.train.effective_size)
            _rehearse(parts, data.train.frames(slice(0, 2)))
            _infer(parts, data.train.frames(slice(0, 2)))
            if cfg.steps and cfg.checkpoint == "best" and not len(data.test.x):
                raise InputError(
                    "checkpoint: best follows the bound of held-out frames, and there are none; hold some out, or"
                    " choose checkpoint=last"
                )
        except InputError:
            withdraw(folder, made)
            raise
        write_json(folder / COST, {"energy_evaluations": int(parts.system.evaluations)})
        data.save(folder / "data")
    # Whether or not there was a simulation before: its compiled code has other last digits.
    parts.system.expect(cfg.steps * a_step)
    parts.prior.fit(data.train.effective_size)
    return data


def _train(cfg: DictConfig, parts: Parts, data: Data, loggers: list) -> Training:
    """Train from the last checkpoint where there is one, and infer the posterior; nothing of both for steps=0."""
    folder, module = Path(cfg.folder), _training(parts)
    torch.manual_seed(cfg.seed)
    if not cfg.steps:
        return module
    if len(data.train.x):
        parts.model.fit(data.train.x)
    try:
        fit(
            module,
            data,
            parts.trainer,
            parts.callbacks,
            loggers,
            folder,
            cfg.batch_size,
            cfg.epoch_steps,
            cfg.snapshots,
        )
    except NonFiniteError as reason:
        file = write_frame(folder / "worst", parts.system, reason.x)
        raise FloatingPointError(
            f"{reason} (one: {file}); lower the learning rate or temper from a smaller beta"
        ) from reason
    if parts.posterior:  # of the weights that the results use
        state = read_checkpoint(_file(folder, cfg.checkpoint))["state_dict"]
        module.load_state_dict(
            {name: value for name, value in state.items() if name.startswith("model.")}, strict=False
        )
        torch.manual_seed(cfg.seed)  # of one that is sampled: the same after a resume
        if weights := _infer(parts, data.train):
            weights.save(folder / POSTERIOR)
    return module


def _results(cfg: DictConfig, parts: Parts, module: Training) -> dict[str, float]:
    """Judge, weigh and draw what was learnt; return all numbers of the run."""
    folder = Path(cfg.folder)
    finished = load(folder)
    summary = bounds(finished)
    if summary and (warning := parted(summary, parts.system.size)):
        log.warning(warning)
    before = int(finished.system.evaluations)
    if cfg.steps and parts.objective.of_energy:
        summary |= weigh(finished, folder)
    weighed = int(finished.system.evaluations) - before
    summary |= draw(finished, cfg.figures, folder / "figures")
    summary["energy_evaluations"] = int(module.system.evaluations) + weighed  # those of figures are not counted
    summary |= final_beta(parts.objective) if cfg.steps else {}
    if dropped := sum(int(part.dropped_samples) for part in parts.objective.modules() if isinstance(part, ReverseKL)):
        summary["dropped_samples"] = dropped
    return summary


def load(folder: Path | str, checkpoint: str | None = None) -> Run:
    """Rebuild a run from its folder alone, wherever it is now: the files of its system are in it.

    Args:
        folder: the run folder.
        checkpoint: which of the models kept there: last, or best, that with the highest bound of held-out frames;
            default what the configuration says.

    Raises:
        InputError: no such checkpoint, or anything in the folder that cannot be used.
    """
    folder = Path(folder).expanduser()
    there = configuration(folder)
    if there is None:
        raise InputError(
            f"{folder / 'config.yaml'}: expected the configuration of a run; found none that can be read; choose a run"
            " folder"
        )
    cfg = OmegaConf.create(there | {"system": kept(folder, there["system"])})
    parts = build(cfg)
    module = _training(parts)
    configured = cfg.get("checkpoint", "last")  # which run folders of earlier versions lack
    which = checkpoint or configured
    step = 0
    if cfg.steps:
        file = _file(folder, which)
        content = read_checkpoint(file)
        with reading(file, "it is of another configuration: start again with force=true"):
            module.load_state_dict(content["state_dict"])
        step = content["global_step"]
    data = Data.load(folder / "data")
    if data is None:
        raise InputError(
            f"{folder / 'data'}: expected train.npz and test.npz; found not both; start again with force=true"
        )
    history = read_history(folder / "metrics.csv") if cfg.steps else []
    parts.prior.fit(data.train.effective_size)
    name = " ".join(folder.parts[-2:]).replace("default ", "")
    # The posterior is about the weights of one checkpoint.
    weights = (
        parts.posterior.kind.load(folder / POSTERIOR) if parts.posterior and cfg.steps and which == configured else None
    )
    model = parts.model.eval().requires_grad_(False)
    return Run(f"{cfg.name} {name}", folder, parts.system, model, parts.prior, weights, data, history, cfg.seed, step)


def _file(folder: Path, which: str) -> Path:
    """Where a checkpoint is."""
    files = {"last": folder / LAST, "best": folder / BEST}
    if which not in files or not files[which].exists():
        kept = [name for name, file in files.items() if file.exists()]
        why = "; the best is kept of epochs at β = 1, where frames are held out" if which == "best" else ""
        raise InputError(f"checkpoint: expected one of {', '.join(kept) or 'none'} in {folder}; found {which!r}{why}")
    return files[which]


def _rehearse(parts: Parts, batch: Batch) -> int:
    """Evaluate the objective once, so that what does not fit together fails before it costs or writes anything; count
    its energy evaluations.
    """
    before = int(parts.system.evaluations)
    roles = ", ".join(f"{role} {type(density).__name__}" for role, density in parts.model.named_children())
    try:
        with torch.no_grad():
            loss = parts.objective(parts.model, parts.system, batch).loss
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
    cost = int(parts.system.evaluations) - before
    parts.system.evaluations.fill_(before)  # a rehearsal is no part of the run: a resumed one has more of them
    return cost


def _possible(parts: Parts, part: str, frames: Batch) -> Batch:
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
            f"decoder: expected {part} frames that it can have; found none among {lost}: {why}; mend the model in"
            " system.pdb, or choose decoder=molecule"
        )
    log.warning(f"{lost} of {len(possible)} {part} frames are left out: {why}")
    return frames.frames(possible)


def _infer(parts: Parts, batch: Batch) -> WeightPosterior | None:
    return parts.posterior(parts.model, parts.prior, batch) if parts.posterior else None


def _training(parts: Parts) -> Training:
    return Training(parts.model, parts.system, parts.prior, parts.objective, parts.optimizer, parts.scheduler)


def _report(logger, folder: Path, summary: dict[str, float]) -> None:
    """Give pictures and summary to loggers that take them."""
    if hasattr(logger, "log_image"):
        for picture in sorted((folder / "figures").glob("*.png")):
            logger.log_image(f"figures/{picture.stem}", [str(picture)])
    if hasattr(logger, "log_table"):
        logger.log_table("summary", ["name", "value"], [[name, value] for name, value in summary.items()])
        logger.experiment.summary.update(summary)


if __name__ == "__main__":
    from predcg.cli import main

    main()
