"""From overrides to a complete configuration, and from that to the parts of a run."""

import inspect
import logging
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from predcg import figures
from predcg.acquisitions import Acquisition, NoData, Simulate
from predcg.catalogue import groups as offered
from predcg.catalogue import shipped
from predcg.errors import InputError
from predcg.messages import explain, unknown
from predcg.model import Model
from predcg.objectives import Objective
from predcg.overrides import label, readable
from predcg.posteriors import Posterior
from predcg.priors import Prior
from predcg.samplers import ReplicaExchange, Sampler
from predcg.schema import check, make_lists
from predcg.stops import Stop
from predcg.systems import Molecule, System
from predcg.training import AdaptiveTempering, check_optimizer, check_trainer

log = logging.getLogger(__name__)

# What a configuration may name: constructing any of these cannot run code or read files of the configuration's choice.
ALLOWED = ("predcg.", "torch.optim.", "torch.nn.", "pytorch_lightning.", "zuko.")


def compose(overrides: list[str]) -> DictConfig:
    """The configuration that the command line would make of the same overrides.

    >>> compose(["experiment=double_well/forward_kl", "seed=3"]).folder
    'outputs/double_well/forward_kl/default/seed-3'
    """
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(shipped("conf").resolve()), version_base="1.3"):
            cfg = hydra.compose("config", readable(overrides), return_hydra_config=True)
            return complete(cfg, cfg.hydra)
    except (HydraException, OmegaConfBaseException) as reason:
        raise InputError(explain(reason, overrides)) from reason


def complete(cfg: DictConfig, hydra_node: DictConfig) -> DictConfig:
    """Fill in name, tags and folder from what was chosen, check every `_target_`; Hydra's own node is left behind."""
    chosen = hydra_node.runtime.choices
    overrides = label(hydra_node.overrides.task, besides=hydra_node.job.config.override_dirname.exclude_keys)
    if chosen["experiment"].startswith("molecule/"):
        overrides = _of_molecule(cfg.system, hydra_node)
    filled = {
        "name": chosen["experiment"],
        "tags": [chosen[group] for group in ("system", "objective", "prior")],
        "folder": f"outputs/{chosen['experiment']}/{overrides}/seed-{cfg.seed}",
    }
    plain = OmegaConf.create({key: value for key, value in cfg.items_ex(resolve=False) if key != "hydra"})
    for key, value in filled.items():
        if plain[key] is None:
            plain[key] = value
    check_targets(plain)
    forget(plain, hydra_node.overrides.task, chosen)
    OmegaConf.set_struct(plain, True)
    make_lists(plain)
    check(plain)
    check_sizes(plain)
    fit_epochs(plain)
    return plain


def check_sizes(cfg: DictConfig) -> None:
    """Raise InputError on a role whose numbers of coordinates are not x and z."""
    for role, sizes in {
        "latent": {"size": "z"},
        "decoder": {"context": "z", "size": "x"},
        "encoder": {"context": "x", "size": "z"},
    }.items():
        for name, key in sizes.items():
            found = cfg[role].get(name, cfg[key])
            if None not in (found, cfg[key]) and found != cfg[key]:
                raise InputError(
                    f"{role}.{name}: expected {key} = {cfg[key]}; found {found}; leave it out, or set {key}"
                )


def fit_epochs(cfg: DictConfig) -> None:
    """Make epoch_steps a divisor of steps, the nearest one by ratio, and say so."""
    if cfg.steps % cfg.epoch_steps:
        given, root = cfg.epoch_steps, math.isqrt(cfg.steps)
        divisors = {
            divisor for small in range(1, root + 1) if cfg.steps % small == 0 for divisor in (small, cfg.steps // small)
        }
        cfg.epoch_steps = min(sorted(divisors), key=lambda divisor: abs(math.log(divisor / given)))
        log.info("epoch_steps: %d instead of %d, which does not divide steps = %d", cfg.epoch_steps, given, cfg.steps)


def _of_molecule(system: DictConfig, hydra_node: DictConfig) -> str:
    """The name of a folder that begins with the molecule's: the stem of its PDB file, or its sequence."""
    told = ("system=molecule", "system=peptide", "system.pdb=", "system.sequence=")
    rest = [override for override in hydra_node.overrides.task if not override.lstrip("+").startswith(told)]
    name = label(rest, besides=hydra_node.job.config.override_dirname.exclude_keys)
    subject = re.sub(
        r"[^A-Za-z0-9._-]+",
        ".",
        str(system.get("sequence") or Path(system.get("pdb") or hydra_node.runtime.choices["system"]).stem),
    )[:60]
    return subject if name == "default" else f"{subject}+{name}"


def forget(cfg: DictConfig, overrides: list[str], groups: Mapping[str, str]) -> None:
    """Drop, and say so, what an experiment sets for its own option of a group and another option, chosen on the command
    line, does not take.

    What the command line sets itself stays, and is refused by the constructor.
    """
    groups = {*groups, *offered()}  # Hydra's choices lack those of which several were chosen
    given = {override.partition("=")[0].lstrip("+") for override in overrides} - groups
    for override in overrides:
        group, _, option = override.partition("=")
        path = group.partition("@")[2] or group
        if (
            group in groups
            and group != "experiment"
            and (dropped := _drop(OmegaConf.select(cfg, path), path, given, of_group=True))
        ):
            log.info("%s does not take %s of the experiment: left out", override, ", ".join(dropped))


def _drop(node: Any, path: str, given: set[str], of_group: bool = False) -> list[str]:
    """Remove, below this node, what its constructors do not take; return the dotted names. What begins with a name of
    `given` stays. The node of a group that has no `_target_` holds several nodes, or none, and nothing else.
    """
    if not isinstance(node, DictConfig) or path in given:
        return []
    taken, dropped = None, []
    if _has_target(node):
        parameters = inspect.signature(get_object(node._target_)).parameters
        taken = (
            None
            if any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            else {*parameters, "_target_", "_partial_"}
        )
    for key in list(node):
        below, child = f"{path}.{key}", node._get_node(key)
        fits = key in taken if taken is not None else not of_group or _has_target(child)
        if fits or any(f"{name}.".startswith(f"{below}.") for name in given):
            dropped += _drop(child, below, given)
        else:
            del node[key]
            dropped.append(below)
    return dropped


def _has_target(node: Any) -> bool:
    return isinstance(node, DictConfig) and "_target_" in node


def check_targets(cfg: DictConfig) -> None:
    """Raise InputError on a `_target_` that is not a class of an allowed package."""
    pending: list[tuple[str, Any]] = [("", OmegaConf.to_container(cfg, resolve=False))]
    while pending:
        path, node = pending.pop()
        if isinstance(node, dict):
            if "_target_" in node:
                _check_target(f"{path}._target_".lstrip("."), str(node["_target_"]))
            pending += [(f"{path}.{key}", child) for key, child in node.items()]
        elif isinstance(node, list):
            pending += [(f"{path}[{index}]", child) for index, child in enumerate(node)]


def _check_target(path: str, target: str) -> None:
    refusal = f"{path}: expected a class of {', '.join(prefix[:-1] for prefix in ALLOWED)}; found {target!r}"
    if not target.startswith(ALLOWED):
        raise InputError(refusal)
    try:
        found = get_object(target)
    except Exception as reason:
        raise InputError(f"{refusal}, which does not exist") from reason
    # The name may lead out of the package again, as torch.nn.modules.module.torch.load does.
    if not (isinstance(found, type) and f"{found.__module__}.".startswith(ALLOWED)):
        raise InputError(refusal)


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
        "data": not isinstance(parts.acquisition, NoData),
        "variables": parts.model.latent().event_shape[0] > 0,
        "weights": any(weight.ndim >= 2 for weight in parts.model.decoder.parameters()),
        "posterior": parts.posterior is not None,
        "snapshots": cfg.get("snapshots") is not None,  # which run folders of earlier versions lack
        "draws": parts.objective.of_energy and cfg.steps > 0,
        "adaptive": any(isinstance(callback, AdaptiveTempering) for callback in parts.callbacks),
        "ladder": isinstance(parts.acquisition, Simulate) and isinstance(parts.sampler, ReplicaExchange),
    }
    return {name for name, there in facts.items() if there}


def build(cfg: DictConfig, system: System | None = None) -> Parts:
    """Construct the parts of a complete configuration, whose `x` and, where it refers to them, `frame` and `zmatrix`
    are filled in from the system: one that was made of the same configuration before, or a new one.
    """
    check(cfg)
    system = system or construct(cfg, "system")
    if cfg.x is not None and cfg.x != system.size:
        raise InputError(f"x: expected the system's number of coordinates, {system.size}; found {cfg.x}; leave it out")
    cfg.x = system.size
    check_sizes(cfg)
    for key, fact in {"frame": "frame_atoms", "zmatrix": "zmatrix"}.items():
        users = [role for role in ("latent", "decoder", "encoder") if f"${{{key}" in OmegaConf.to_yaml(cfg[role])]
        if users and cfg[key] is None:
            cfg[key] = getattr(system, fact, None)
            if cfg[key] is None:
                kind, choose = type(system).__name__, " ".join(f"{role}=gaussian" for role in users)
                if isinstance(system, Molecule):
                    raise InputError(
                        f"{users[0]}: expected three bonded atoms off a line, to see the molecule from; {kind} has"
                        f" none; choose {choose}"
                    )
                raise InputError(
                    f"{users[0]}: expected a system with a {key}, which molecules have; found system {kind}; choose"
                    f" {choose}"
                )
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
        if isinstance(made, partial):  # called later, with more: its keywords can be checked now
            inspect.signature(made.func).bind_partial(**made.keywords)
        return made
    except InterpolationKeyError as reason:  # of another group
        found = f"{str(reason).split(chr(39))[1]}, which is not there in this configuration"
        raise InputError(
            f"{key}: {cfg[key]._target_.split('.')[-1]} goes by {found}; choose another {key}, or what has it"
        ) from reason
    except (HydraException, OmegaConfBaseException, TypeError) as reason:
        text = explain(reason)
        raise InputError(text if re.match(rf"{key}[.:]", text) else f"{key}: {text}") from reason
