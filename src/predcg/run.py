"""A configuration in, a run folder out."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from predcg.batch import Data
from predcg.errors import InputError
from predcg.files import alone, read_json, write_json
from predcg.folder import finish, is_finished, reopen
from predcg.loading import load
from predcg.parts import Parts, build, construct
from predcg.report import FAILED, draw, final_beta, weigh
from predcg.results import bounds, parted
from predcg.rounds import Round, acquire, learnt, rehearse, renew, train
from predcg.training import Training, check_logger

__all__ = ["load", "run"]
log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Acquire data, train on them (unless steps=0), for as many rounds as asked; draw; return the run folder, which
    ends with the file `finished`.

    A finished folder is returned as it is unless `force=true`, or more rounds are asked for than it has; an unfinished
    one is resumed from its last checkpoint.

    Raises:
        InputError: anything in the configuration or in what it points to that cannot be used, before anything is
            written.
        FloatingPointError: a loss or too many energies that are not finite; one of their configurations is in the
            folder, as worst.pdb or .npy.
    """
    began, folder = time.perf_counter(), Path(cfg.folder)
    os.environ.setdefault("WANDB_SILENT", "true")
    # In seconds: on a busy machine its process needs more than its own 30 to start.
    os.environ.setdefault("WANDB__SERVICE_WAIT", "180")
    if cfg.round != 1:
        raise InputError(f"round: is filled in, and every run begins with 1; found {cfg.round}; leave it out")
    torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    parts = build(cfg)
    resolved = OmegaConf.to_container(cfg, resolve=True)
    with alone(folder):
        if is_finished(folder, resolved):
            _draw_missing(cfg.figures, folder)
            return folder
        loggers = _loggers(cfg)
        reopen(folder, resolved)
        with _ended(loggers):
            module, rounds = _go_round(cfg, parts, resolved, loggers)
            summary = _results(cfg, module) | ({"rounds": rounds} if cfg.rounds > 1 else {})
            summary["wall_time_s"] = round(time.perf_counter() - began, 1)
            for logger in loggers:
                _report(logger, folder, summary)
        finish(folder, resolved, summary)
    log.info("finished: %s", folder)
    return folder


def _go_round(cfg: DictConfig, parts: Parts, resolved: dict, loggers: Sequence) -> tuple[Training, int]:
    """Acquire, train, look again; return the last round's training and how many rounds there were."""
    rehearse(parts)
    evaluations = round(cfg.rounds * cfg.steps * parts.objective.cost(cfg.batch_size))
    for rule in filter(None, (parts.acquisition, parts.stop)):
        rule.check(parts.model, evaluations)
    past: list[Data] = []
    model, before, module = parts.model, None, None
    for number in range(1, cfg.rounds + 1):
        here = Round.of(Path(cfg.folder), number)
        if number > 1:  # Nothing survives a round unnoticed.
            parts = renew(cfg, here, parts.system)
        past.append(acquire(cfg, here, parts, model, past, resolved))
        # This is so whether or not there was a simulation before: compiled code has other last digits.
        parts.system.expect(evaluations)
        module = train(cfg, here, parts, before, learnt(past, cfg.past), loggers)
        before, model = module.state_dict(), module.model.eval()
        if parts.stop and parts.stop(model, past):
            break
        if number < cfg.rounds:
            log.info("round %d of up to %d: %d energy evaluations", number, cfg.rounds, int(parts.system.evaluations))
    return module, number


def _draw_missing(names: list[str], folder: Path) -> None:
    """Draw those figures of a finished run that it lacks; its summary takes their numbers, all else stays as it is."""
    if missing := [name for name in names if not (folder / "figures" / f"{name}.png").exists()]:
        log.info("finished already, but for the figures %s: %s", ", ".join(missing), folder)
        # What has failed before is tried again.
        numbers = {
            name: value
            for name, value in read_json(folder / "summary.json").items()
            if name.removesuffix(FAILED) not in missing
        }
        write_json(folder / "summary.json", numbers | draw(load(folder), missing, folder / "figures"))
    else:
        log.info("finished already: %s (force=true runs it again)", folder)


def _loggers(cfg: DictConfig) -> list:
    loggers = [logger for logger in [construct(cfg, "logger")] if logger]
    for logger in loggers:
        check_logger(logger)
        # Lightning passes this one on to wandb, which warns the user that it is of no use.
        settings = getattr(logger, "_wandb_init", {})
        settings.pop("anonymous", None)
        # The process of wandb's own stays where the first run of this one was: a relative path would be another there.
        settings |= {"dir": os.path.abspath(settings["dir"])} if settings.get("dir") else {}
    return loggers


@contextmanager
def _ended(loggers: Sequence) -> Iterator[None]:
    """Afterwards loggers are finished, and WANDB_MODE, which Lightning sets for the whole process, is as before."""
    mode = os.environ.get("WANDB_MODE")
    try:
        yield
    finally:
        for logger in loggers:
            if getattr(logger, "_experiment", None) is not None:  # To ask for it would begin one.
                getattr(logger.experiment, "finish", lambda: None)()
        os.environ.pop("WANDB_MODE", None)
        if mode is not None:
            os.environ["WANDB_MODE"] = mode


def _results(cfg: DictConfig, module: Training) -> dict[str, float]:
    """Judge, weigh and draw what was learnt; return all numbers of the run."""
    folder, objective = Path(cfg.folder), module.objective
    finished = load(folder)
    summary = bounds(finished)
    if summary and (warning := parted(summary, module.system.size)):
        log.warning(warning)
    before = int(finished.system.evaluations)
    if cfg.steps and objective.of_energy:
        summary |= weigh(finished, finished.folder)
    weighed = int(finished.system.evaluations) - before
    summary |= draw(finished, cfg.figures, folder / "figures")
    summary["energy_evaluations"] = int(module.system.evaluations) + weighed  # Those of figures are not counted.
    summary |= final_beta(objective) if cfg.steps else {}
    if dropped := sum(int(part.dropped_samples) for part in objective.modules() if hasattr(part, "dropped_samples")):
        summary["dropped_samples"] = dropped
    return summary


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
