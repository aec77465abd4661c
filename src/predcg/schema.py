"""The constructors' signatures are the schema of a configuration: types and ranges of all values, before anything is
made of them.
"""

import functools
import json
from collections.abc import Iterator
from typing import Any, Literal, TypedDict, get_origin, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from predcg.annotations import Node, expected, parameters
from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, Parallel, PositiveInt, Seed, UnitInterval

# What every library below takes; torch's networks are in single precision.
LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 3.4e38


class Settings(TypedDict, total=False):
    """The keys of a configuration that are values, or nouns that may be left out; any other is a noun."""

    x: PositiveInt | None
    frame: list[NonNegativeInt] | None
    zmatrix: dict[str, list] | None
    z_torsions: list[str | list[NonNegativeInt]] | None
    z: NonNegativeInt
    rounds: PositiveInt
    round: PositiveInt
    past: UnitInterval | None
    reset: list[Literal["latent", "decoder", "encoder"]]
    steps: NonNegativeInt
    epoch_steps: PositiveInt
    batch_size: PositiveInt
    snapshots: PositiveInt | None
    figures: list[str]
    seed: Seed
    threads: Parallel
    force: bool
    trust_code: bool
    name: str | None
    folder: str | None
    tags: list[str] | None
    checkpoint: Literal["last", "best"]
    stop: Node | dict[str, Node | None] | None
    posterior: Node | dict[str, Node | None] | None
    scheduler: Node | dict[str, Node | None] | None
    callbacks: Node | dict[str, Node | None] | None
    logger: Node | dict[str, Node | None] | None


class Value(TypedDict):
    """One value of a configuration: its dotted path, what is expected there (Any where nothing is said), and what was
    found.
    """

    path: str
    hint: Any
    found: Any


def check(cfg: DictConfig) -> None:
    """Raise InputError on the first value of a configuration that is not of the type, or not in the range, that its
    constructor's annotation tells.

    Values are taken as they are: 1.5 and 3.0 are no whole numbers, true is no number, "3" is text. No number is nan,
    infinite, beyond single precision, or a whole number beyond 2³¹ - 1.
    """
    for value in values(cfg):
        _check_size(value["path"], value["found"])
        check_value(**value)


def make_lists(cfg: DictConfig) -> None:
    """Put a list of one for every text where a list of texts is meant, as in figures=training or
    system.forcefield=amber96.xml.
    """
    for value in list(values(cfg)):
        if (
            isinstance(value["found"], str)
            and not _admits(value["hint"], value["found"])
            and _admits(value["hint"], [value["found"]])
        ):
            OmegaConf.update(cfg, value["path"], [value["found"]])


def check_value(path: str, hint: Any, found: Any) -> None:
    """Raise InputError on a value that the annotation does not admit.

    >>> check_value("steps", PositiveInt | None, 1.5)
    Traceback (most recent call last):
    predcg.errors.InputError: steps: expected a whole number >= 1 or null; found 1.5; mend it, or leave it out
    """
    try:
        # It is read as JSON, where an array is a tuple or a list, and text a path.
        if (adapter := _adapter(hint)) is not None:
            adapter.validate_json(json.dumps(found), strict=True)
    except ValidationError as reason:
        whole = isinstance(found, float) and found.is_integer() and _admits(hint, int(found))
        mend = f"write {int(found)}" if whole else "mend it, or leave it out"
        where = (
            "".join(f"[{step}]" for step in reason.errors()[0]["loc"] if isinstance(step, int))
            if get_origin(hint) is list
            else ""
        )
        raise InputError(
            f"{path}: expected {expected(hint)}; found {found!r}{f' (at {where})' if where else ''}; {mend}"
        ) from reason


def values(cfg: DictConfig) -> Iterator[Value]:
    """All values of a configuration that its constructors, or Settings, tell about; what is filled in from the system
    is not there yet.
    """
    settings = get_type_hints(Settings, include_extras=True)
    for key in sorted(cfg, key=lambda key: key not in settings):  # Settings come first: others refer to them.
        yield from _values(cfg, key, key, settings.get(key, Node))


def _values(parent: DictConfig | ListConfig, key: Any, path: str, hint: Any) -> Iterator[Value]:
    if OmegaConf.is_missing(parent, key):  # The constructor says so.
        return
    try:
        node = parent[key]
        found = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
        # Of one that holds further nodes, what is there already is told about.
        if OmegaConf.is_config(node) and not _holds_target(found):
            found = OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException:  # It refers to what another group lacks, or to what is filled in later.
        return
    # What is filled in from the system is null before, or has names of torsions in it.
    if OmegaConf.is_interpolation(parent, key) and (
        found is None or isinstance(found, list) and str in map(type, found)
    ):
        return
    if not _holds_target(found):
        yield Value(path=path, hint=hint, found=found)
    elif isinstance(node, ListConfig):
        for index in range(len(node)):
            yield from _values(node, index, f"{path}[{index}]", Any)
    else:
        hints, other = (parameters(get_object(node._target_)), Any) if "_target_" in node else ({}, Node | None)
        for name in node:
            if name not in ("_target_", "_partial_"):
                yield from _values(node, name, f"{path}.{name}", hints.get(name, other))


def _holds_target(found: Any) -> bool:
    if isinstance(found, dict):
        return "_target_" in found or any(map(_holds_target, found.values()))
    return isinstance(found, list) and any(map(_holds_target, found))


@functools.cache
def _adapter(hint: Any) -> TypeAdapter | None:
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        # Such an annotation of another library has no meaning at run time.
        return None


def _admits(hint: Any, found: Any) -> bool:
    try:
        check_value("", hint, found)
    except InputError:
        return False
    return True


def _check_size(path: str, found: Any) -> None:
    if isinstance(found, dict | list):
        for key, one in found.items() if isinstance(found, dict) else enumerate(found):
            _check_size(f"{path}.{key}" if isinstance(found, dict) else f"{path}[{key}]", one)
    elif isinstance(found, float) and not abs(found) <= LARGEST_FLOAT:
        raise InputError(
            f"{path}: expected a finite number, at most {LARGEST_FLOAT:g} in size; found {found!r}; mend it, or leave"
            " it out"
        )
    elif isinstance(found, int) and abs(found) > LARGEST_INT:
        raise InputError(
            f"{path}: expected a whole number of at most {LARGEST_INT} in size; found {found}; mend it, or leave it out"
        )
