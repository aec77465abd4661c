"""From a complete configuration to the parts of a run."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from predcg import figures
from predcg.acquisitions import Acquisition, Simulate
from predcg.config import check_sizes
from predcg.densities import FreeEnergy, StandardNormal
from predcg.errors import InputError
from predcg.facts import fill
from predcg.messages import explain, unknown
from predcg.model import Model
from predcg.objectives import Objective
from predcg.posteriors import Posterior
from predcg.priors import Prior
from predcg.samplers import ReplicaExchange, Sampler
from predcg.schema import check
from predcg.stops import Stop
from predcg.systems import System
from predcg.training import AdaptiveTempering, check_optimizer, check_trainer


class Parts(NamedTuple):
    """What a configuration stands for, built: the parts of a run; optimizer, scheduler and trainer wait for what they
    act on.
    """

    system: System
    model: Model
    prior: Prior
    posterior: Posterior | None
    objective: Objective
    acquisition: Acquisition
    sampler: Sampler
    stop: Stop | None
    optimizer: Callable
    scheduler: Callable | None
    trainer: Callable
    callbacks: list


def check_figures(names: list[str], system: System, had: set[str]) -> None:
    """Raise InputError on a figure that does not exist, or that cannot be drawn of a run of this system that will have
    all that (see figures.runs.HAD).
    """
    lacking = {}
    for name in names:
        if name not in figures.__all__:
            raise InputError(unknown("figures", name, figures.__all__))
        lacking[name] = getattr(figures, name).needs.lacking(system, had)
    for name, lack in lacking.items():
        if lack:
            rest = ",".join(other for other in names if not lacking[other])
            raise InputError(f"figures: {name} is drawn of {lack} leave it out: figures=[{rest}]")


def will_have(cfg: DictConfig, parts: Parts) -> set[str]:
    """Which of figures.runs.HAD the run will have."""
    facts = {
        "training": cfg.steps > 0,
        "data": parts.acquisition.of_target,
        "variables": parts.model.latent().event_shape[0] > 0,
        "normal": isinstance(parts.model.latent, StandardNormal),
        "weights": any(weight.ndim >= 2 for weight in parts.model.decoder.parameters()),
        "posterior": parts.posterior is not None,
        "snapshots": cfg.snapshots is not None,
        "draws": parts.objective.of_energy and cfg.steps > 0,
        "adaptive": any(isinstance(callback, AdaptiveTempering) for callback in parts.callbacks),
        "free_energy": isinstance(parts.model.latent, FreeEnergy) and cfg.steps > 0,
        "ladder": isinstance(parts.acquisition, Simulate) and isinstance(parts.sampler, ReplicaExchange),
    }
    return {name for name, there in facts.items() if there}


def build(cfg: DictConfig, system: System | None = None) -> Parts:
    """Construct the parts of a complete configuration, whose `x` and facts are filled in from the system: one that was
    made of the same configuration before, or a new one.
    """
    check(cfg)
    system = system or construct(cfg, "system")
    if cfg.x is not None and cfg.x != system.size:
        raise InputError(f"x: expected the system's number of coordinates, {system.size}; found {cfg.x}; leave it out")
    cfg.x = system.size
    fill(cfg, system)
    check(cfg)
    check_sizes(cfg)
    model = Model(*(construct(cfg, role) for role in ("latent", "decoder", "encoder")))
    rest = {key: construct(cfg, key) or None for key in Parts._fields[2:-1]}
    callbacks = [callback for callback in (construct(cfg, "callbacks") or {}).values() if callback]
    check_trainer(rest["trainer"], callbacks, cfg.steps)
    check_optimizer(rest["optimizer"], rest["scheduler"], cfg.steps)
    parts = Parts(system, model, **rest, callbacks=callbacks)
    check_figures(cfg.figures, system, will_have(cfg, parts))
    return parts


def construct(cfg: DictConfig, key: str) -> Any:
    """Instantiate one node. Raises InputError with the node's name on anything that the constructor refuses."""
    try:
        made = instantiate(cfg[key], _convert_="all")
        if isinstance(made, partial):  # It is called later, with more; its keywords can be checked now.
            inspect.signature(made.func).bind_partial(**made.keywords)
        return made
    except InterpolationKeyError as reason:  # The key belongs to another group.
        found = f"{str(reason).split(chr(39))[1]}, which is not there in this configuration"
        raise InputError(
            f"{key}: {cfg[key]._target_.split('.')[-1]} goes by {found}; choose another {key}, or what has it"
        ) from reason
    except (HydraException, OmegaConfBaseException, TypeError) as reason:
        text = explain(reason)
        if not re.match(rf"{key}[.:]", text):  # A constructor knows its arguments, not the group that it is in.
            text = f"{key}.{text}" if re.match(r"\w+: expected", text) else f"{key}: {text}"
        raise InputError(text) from reason
