"""What a configuration takes from its system: ${fact:<name>} is filled in once the system is there."""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor

from predcg.errors import InputError
from predcg.messages import unknown
from predcg.systems import Molecule, System

# Keys of a configuration that several roles share, each with the fact that it is unless the configuration says more.
SHARED = {"frame": "frame_atoms", "zmatrix": "zmatrix"}
ROLES = ("latent", "decoder", "encoder")


def fill(cfg: DictConfig, system: System) -> None:
    """Put facts of the system where a configuration names one, and into those of its keys `frame` and `zmatrix` that a
    role refers to.

    A value ${fact:name}, anywhere but in the system's own node, becomes the system's attribute of this name, and
    ${fact:name.key} what that has under the key. What may be named are `system.facts`.

    Raises:
        InputError: a name that is none of the facts, one that this system has nothing for, or text around it.
    """
    for key, name in SHARED.items():
        users = [role for role in ROLES if f"${{{key}" in OmegaConf.to_yaml(cfg[role])]
        if users and cfg[key] is None:
            cfg[key] = _shared(system, key, name, users)
    for node, key, path, text in _named(cfg, ""):
        if not (name := re.fullmatch(r"\$\{fact:\s*([^{}]*?)\s*\}", text)) or path.startswith("system."):
            raise InputError(f"{path}: expected ${{fact:<name>}} alone, outside of system; found {text!r}; mend it")
        node[key] = _plain(_fact(system, name[1], path))


def _shared(system: System, key: str, name: str, users: list[str]) -> Any:
    value = getattr(system, name, None)
    if value is not None:
        return value
    kind, choose = type(system).__name__, " ".join(f"{role}=gaussian" for role in users)
    if isinstance(system, Molecule):
        raise InputError(
            f"{users[0]}: expected three bonded atoms off a line, to see the molecule from; {kind} has none; choose"
            f" {choose}"
        )
    raise InputError(
        f"{users[0]}: expected a system with a {key}, which molecules have; found system {kind}; choose {choose}"
    )


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
    return value.tolist() if isinstance(value, Tensor) else value
