"""From overrides to a complete configuration."""

import inspect
import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from predcg.catalogue import groups as offered
from predcg.catalogue import shipped
from predcg.errors import InputError
from predcg.messages import explain
from predcg.overrides import label, readable
from predcg.schema import check, make_lists

log = logging.getLogger(__name__)

# A configuration may name these: constructing any of them cannot run code or read files of its choice.
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
    # They are taken as written: to read one would resolve what it refers to.
    task = OmegaConf.to_container(hydra_node.overrides.task)
    overrides = label(task, besides=hydra_node.job.config.override_dirname.exclude_keys)
    if chosen["experiment"].startswith("molecule/"):
        overrides = _of_molecule(cfg.system, hydra_node, task)
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
    forget(plain, task, chosen)
    OmegaConf.set_struct(plain, True)
    make_lists(plain)
    check(plain)
    check_sizes(plain)
    check_taken(plain)
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
            try:
                found = cfg[role].get(name, cfg[key])
            # It is a fact, filled in later, or what another group lacks, which is told there.
            except OmegaConfBaseException:
                continue
            if None not in (found, cfg[key]) and found != cfg[key]:
                raise InputError(
                    f"{role}.{name}: expected {key} = {cfg[key]}; found {found}; leave it out, or set {key}"
                )


def check_taken(cfg: DictConfig) -> None:
    """Raise InputError on torsions as collective variables that no role takes."""
    if cfg.z_torsions is not None and "${z_torsions" not in OmegaConf.to_yaml(cfg.encoder):
        raise InputError(
            "z_torsions: expected an encoder that takes them; found"
            f" {cfg.encoder._target_.split('.')[-1]}; choose encoder=torsions, or leave z_torsions out"
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


def _of_molecule(system: DictConfig, hydra_node: DictConfig, task: list[str]) -> str:
    """The name of a folder that begins with the molecule's: the stem of its PDB file, or its sequence."""
    told = ("system=molecule", "system=peptide", "system.pdb=", "system.sequence=")
    rest = [override for override in task if not override.lstrip("+").startswith(told)]
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
    groups = {*groups, *offered()}  # Hydra's choices lack groups of which several options were chosen.
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
        fits = key in taken if taken is not None else not of_group or _has_target(node) or _has_target(child)
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
