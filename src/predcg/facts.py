"""What a configuration takes from its system: ${fact:<name>} is filled in once the system is there."""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor

from predcg.errors import InputError
from predcg.messages import unknown
from predcg.systems import System

ROLES = ("latent", "decoder", "encoder")


def fill(cfg: DictConfig, system: System) -> None:
    """Put facts of the system where a configuration names one, and into those of its keys `frame`, `z_torsions` and
    `zmatrix` that a role refers to.

    A value ${fact:name}, anywhere but in the system's own node, becomes the system's attribute of this name, and
    ${fact:name.key} what that has under the key. What may be named are `system.facts`. Torsions become their atoms, and
    the Z-matrix is built upon them where a role refers to ${zmatrix.given}.

    Raises:
        InputError: a name that is none of the facts, one that this system has nothing for, or text around it; torsions
            that are not of this system, or not as many as z.
    """
    _share(cfg, system)
    for node, key, path, text in _named(cfg, ""):
        if not (name := re.fullmatch(r"\$\{fact:\s*([^{}]*?)\s*\}", text)) or path.startswith("system."):
            raise InputError(f"{path}: expected ${{fact:<name>}} alone, outside of system; found {text!r}; mend it")
        node[key] = _plain(_fact(system, name[1], path))


def _share(cfg: DictConfig, system: System) -> None:
    """The keys that roles share."""
    texts = {role: OmegaConf.to_yaml(cfg[role]) for role in ROLES}

    def users(key: str) -> list[str]:
        return [role for role in ROLES if f"${{{key}" in texts[role]]

    given = users("zmatrix.given")
    if taking := users("z_torsions") or given:
        choose = "encoder=observed decoder=linear_completion"
        atoms = _of_molecule(system, "torsion_atoms", "torsions", taking, choose)(_plain(cfg.z_torsions))
        if cfg.z != len(atoms):
            raise InputError(
                f"z: expected {len(atoms)}, one for each of z_torsions; found {cfg.z}; set z={len(atoms)}, or choose"
                " other z_torsions, or another encoder and decoder"
            )
        cfg.z_torsions = atoms
    if given and (alike := [role for role in users("zmatrix.") if role not in given]):
        raise InputError(
            f"{alike[0]}: expected encoder=torsions decoder=completion together, which take z_torsions as given; found"
            f" {cfg[alike[0]]._target_.split('.')[-1]}, which takes all torsions alike; choose these"
        )
    for key, name in {"frame": "frame_atoms", "zmatrix": "zmatrix"}.items():
        if (here := users(key)) and cfg[key] is None:
            choose = " ".join(f"{role}=gaussian" for role in here)
            value = _of_molecule(system, name, f"a {key}", here, choose)
            if value is None:
                raise InputError(
                    f"{here[0]}: expected three bonded atoms off a line, to see the molecule from;"
                    f" {type(system).__name__} has none; choose {choose}"
                )
            cfg[key] = system.zmatrix_of(_plain(cfg.z_torsions)) if given and key == "zmatrix" else value


def _of_molecule(system: System, name: str, what: str, users: list[str], choose: str) -> Any:
    """An attribute that molecules have; raise InputError on a system without it."""
    if not hasattr(system, name):
        raise InputError(
            f"{users[0]}: expected a system with {what}, which molecules have; found system {type(system).__name__};"
            f" choose {choose}"
        )
    return getattr(system, name)


def _named(node: DictConfig | ListConfig, path: str) -> Iterator[tuple[DictConfig | ListConfig, Any, str, str]]:
    """Where facts are named: the node, the key in it, the dotted path, and the text."""
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        child, below = node._get_node(key), f"{path}[{key}]" if isinstance(node, ListConfig) else f"{path}.{key}"
        if isinstance(child, DictConfig | ListConfig) and not (child._is_none() or child._is_interpolation()):
            yield from _named(child, below)
        elif isinstance(text := child._value(), str) and "${fact:" in text:
            yield node, key, below.lstrip("."), text


def _fact(system: System, name: str, path: str) -> Any:
    first, *keys = name.split(".")
    if first not in system.facts:
        raise InputError(f"{unknown(path, name, sorted(system.facts))}; these are the facts of {type(system).__name__}")
    value = getattr(system, first)
    if value is None:
        group = re.split(r"[.\[]", path)[0]
        raise InputError(
            f"{path}: expected a system that has {first}; this {type(system).__name__} has none; choose another {group}"
        )
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(value) if isinstance(value, dict) else "no keys"
            raise InputError(f"{path}: expected one of the keys of {first}, {known}; found {key!r}; mend it")
        value = value[key]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, DictConfig | ListConfig):
        return OmegaConf.to_container(value)
    return value.tolist() if isinstance(value, Tensor) else value
