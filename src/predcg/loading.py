"""A run, rebuilt from its folder alone."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from predcg.batch import Data
from predcg.errors import InputError
from predcg.files import reading
from predcg.folder import begun, configuration
from predcg.inputs import kept
from predcg.parts import Parts, build
from predcg.results import Run
from predcg.rounds import POSTERIOR, Round, checkpoint_file, learnt, training
from predcg.training import LAST, read_checkpoint, read_history


def load(folder: Path | str, checkpoint: str | None = None, round: int | None = None) -> Run:
    """Rebuild a run from its folder alone, wherever it is now: the files of its system are in it.

    Args:
        folder: the run folder.
        checkpoint: which of the models kept there: last, or best, that with the highest bound of held-out frames;
            default what the configuration says.
        round: which of its rounds, from 1 on; default the last. All of them: load(folder).rounds.

    Raises:
        InputError: no such checkpoint or round, or anything in the folder that cannot be used.
    """
    folder = Path(folder).expanduser()
    there = configuration(folder)
    if there is None:
        raise InputError(
            f"{folder / 'config.yaml'}: expected the configuration of a run; found none that can be read; choose a run"
            " folder"
        )
    cfg = OmegaConf.create(there | {"system": kept(folder, there["system"])})
    known = [number for number in range(1, begun(folder) + 1) if not cfg.steps or _trained(folder, number)] or [1]
    number = known[-1] if round is None else round
    if number not in known:
        raise InputError(f"round: expected one of 1 to {known[-1]} in {folder}; found {round}")
    here, which = Round.of(folder, number), checkpoint or cfg.checkpoint
    parts, step = _restored(cfg, here, which)
    acquired = [_data(Round.of(folder, one).folder) for one in range(1, number + 1)]
    data = learnt(acquired, cfg.past)
    parts.prior.fit(data.train.effective_size)
    # The posterior is about the weights of one checkpoint.
    inferred = parts.posterior and cfg.steps and which == cfg.checkpoint
    weights = parts.posterior.kind.load(here.folder / POSTERIOR) if inferred else None
    name = " ".join(folder.parts[-2:]).replace("default ", "")
    return Run(
        f"{cfg.name} {name}" + (f" round {number}" if round else ""),
        here.folder,
        parts.system,
        parts.model.eval().requires_grad_(False),
        parts.prior,
        weights,
        data,
        read_history(here.folder / "metrics.csv") if cfg.steps else [],
        here.seed(cfg.seed),
        step,
        acquired[-1],
        number,
        cfg.rounds,
        partial(load, folder, checkpoint),
        lambda: _restored(cfg, here, which)[0].objective,
    )


def _restored(cfg: DictConfig, here: Round, which: str) -> tuple[Parts, int]:
    """The parts as a checkpoint of a round has them, and the optimiser steps behind it."""
    parts = build(cfg)
    if not cfg.steps:
        return parts, 0
    file, module = checkpoint_file(here.folder, which), training(parts)
    content = read_checkpoint(file)
    with reading(file, "it is of another configuration: start again with force=true"):
        module.load_state_dict(content["state_dict"])
    return parts, content["global_step"]


def _trained(folder: Path, number: int) -> bool:
    return (Round.of(folder, number).folder / LAST).exists()


def _data(folder: Path) -> Data:
    found = Data.load(folder / "data")
    if found is None:
        raise InputError(
            f"{folder / 'data'}: expected train.npz and test.npz; found not both; start again with force=true"
        )
    return found
