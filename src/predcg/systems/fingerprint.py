"""What names a simulation: a hash of all that an energy depends on."""

import hashlib
from functools import cached_property
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from predcg.errors import InputError

PLAIN = int | float | complex | str | bytes | Path | torch.dtype | torch.device | None


def fingerprint(module: nn.Module) -> str:
    """A hash of plain attributes, buffers and parameters of a module and of all that it is made of.

    Not hashed are the buffer `evaluations`, which counts, and attributes whose name begins with an underscore. A module
    inside that has a `fingerprint` of its own is asked for it.

    Raises:
        InputError: an attribute that has no content to hash, such as an open file.
    """
    is_system = hasattr(module, "fingerprint")
    own = {name: value for name, value in sorted(vars(module).items()) if _made_of(module, name)}
    # What systems had from the first version on comes first and as it was: kept simulations are named by it.
    plain = {name: value for name, value in own.items() if isinstance(value, int | float) or _is_plain_tuple(value)}
    digest = hashlib.sha256(f"{type(module).__name__} {plain}".encode())
    for name, value in module.named_buffers(recurse=False):
        if name != "evaluations":
            digest.update(_content("" if is_system else name, value))
    for name, child in module.named_children():
        inner = child.fingerprint() if hasattr(child, "fingerprint") else name + fingerprint(child)
        digest.update(inner.encode())
    for name, value in (own | dict(module.named_parameters(recurse=False))).items():
        if name not in plain:
            digest.update(_content(name, value))
    return digest.hexdigest()


def _made_of(module: nn.Module, name: str) -> bool:
    """Whether an attribute is part of what a module was made as: no mode, and no answer that was cached."""
    cached = isinstance(getattr(type(module), name, None), cached_property)
    return name[0] != "_" and name != "training" and not cached


def _is_plain_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, PLAIN) or _is_plain_tuple(one) for one in value)


def _content(name: str, value: Any) -> bytes:
    """The bytes of a value, after its name and shape where it has a name."""
    if isinstance(value, Tensor | np.ndarray):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return f"{name} {array.dtype} {array.shape} ".encode() * bool(name) + array.tobytes()
    if isinstance(value, dict):
        return f"{name} {len(value)} ".encode() + b"".join(_content(f"{name}.{key}", value[key]) for key in value)
    if isinstance(value, list | tuple):
        return f"{name} {len(value)} ".encode() + b"".join(_content(f"{name}.{i}", one) for i, one in enumerate(value))
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return f"{name} {value.__module__}.{value.__qualname__} ".encode()
    if isinstance(value, PLAIN):
        return f"{name} {value!r} ".encode()
    raise InputError(
        f"system: expected numbers, text and tensors as attributes, to name simulations by; found {name} of"
        f" {type(value).__name__}; begin its name with an underscore where the energy does not depend on it, or write"
        " the system a fingerprint of its own"
    )
