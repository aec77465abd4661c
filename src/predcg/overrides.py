"""What a user writes after `predcg`: paths as they are, and the folder that a set of overrides is named by."""

import hashlib
import os
import re
from collections.abc import Collection

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString
from hydra.errors import HydraException

from predcg.catalogue import groups, listing, shipped
from predcg.errors import InputError
from predcg.messages import unknown

SEVERAL = {"callbacks"}  # Of these groups a run may have more than one option.
LONGEST = 120  # A folder's name without its hash has at most so many characters: file systems end at 255 bytes.


def readable(arguments: list[str]) -> list[str]:
    """The same arguments, with paths written as Hydra's grammar wants them.

    In `key=value`, and in a list or a sweep of values, what names an existing file or folder is put in quotes where
    Hydra would refuse it or read another text or several values: it may hold `=`, commas, spaces and umlauts. A leading
    `~` is the user's home. All else is left as it is. Raises InputError on an option of a group that is no name.

    >>> readable(["experiment=ala2/forward_kl", "prior=flat,ard", "-m"])
    ['experiment=ala2/forward_kl', 'prior=flat,ard', '-m']
    """
    written = [_argument(argument) for argument in arguments]
    for argument in written:
        _check_option(argument)
    return written


def _check_option(argument: str) -> None:
    """Raise InputError on an option of a group that is no name, as null, a number, true or a list within a list, which
    Hydra ends on with a traceback, and on several of a group that has one.
    """
    key, _, text = argument.partition("=")
    group = key.partition("@")[0].lstrip("+")
    options = listing(shipped("conf") / "experiment") if group == "experiment" else groups().get(group)
    if options is None or not text:
        return
    try:
        value = OverridesParser.create().parse_override(argument).value()
    except HydraException:  # This is told where it is composed.
        return
    for one in value.list if isinstance(value, ChoiceSweep) else [value]:
        for name in one if isinstance(one, list) and group in SEVERAL else [one]:
            if name is None or isinstance(name, bool | int | float | list):
                raise InputError(unknown(group, text, options))


def _argument(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if argument.startswith("-") or not value:
        return argument
    opening, inside, closing = (
        ("[", value[1:-1], "]") if value.startswith("[") and value.endswith("]") else ("", value, "")
    )
    parts, found = inside.split(","), []
    while parts:
        # The longest that is there is taken: a comma may belong to a name.
        taken = next((n for n in range(len(parts), 1, -1) if _there(",".join(parts[:n]))), 1)
        found.append(_value(",".join(parts[:taken])))
        parts = parts[taken:]
    return f"{key}={opening}{','.join(found)}{closing}"


def _there(text: str) -> bool:
    return os.path.exists(os.path.expanduser(text.strip()))


def _value(text: str) -> str:
    path = os.path.expanduser(text.strip())
    if not os.path.exists(path):
        return path if text.strip().startswith("~") else text
    try:
        override = OverridesParser.create().parse_override(f"key={path}")
        read = not override.is_sweep_override() and override.value()
    except HydraException:
        read = False
    # What is read as a number is one, even where a file has its name.
    return (
        path
        if read == path or (read is not False and not isinstance(read, str))
        else QuotedString(path, Quote.single).with_quotes()
    )


def label(overrides: list[str], besides: Collection[str]) -> str:
    """A folder's name for a set of overrides, of [A-Za-z0-9._+-] only: `key-value` of each, sorted, joined by `+`;
    `default` for none.

    Different sets have different names. What cannot be read again from the name, since it holds other characters or is
    too long, has a hash at its end.

    Args:
        overrides: as Hydra has taken them, one `key=value` each.
        besides: first parts of keys that are left out.

    >>> label(["steps=100", "prior=ard", "seed=3"], besides=["seed"])
    'prior-ard+steps-100'
    >>> label(["encoder.hidden=[8,8]"], besides=[])
    'encoder.hidden-8.8+f79a8277db0a'
    """
    items = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+~").split(".")[0] not in besides:
            # `+key` makes what `key` sets: the same override, as far as both can be used.
            items.append(("without", f"~{key[1:]}") if key.startswith("~") else (key.lstrip("+"), value))
    items.sort(key=lambda item: item[0])  # Of the same key the last one counts, so that their order stays.
    name = "+".join(f"{key}-{value}" for key, value in items)
    if len(name) <= LONGEST and all(
        re.fullmatch(r"[\w.]+", key, re.ASCII) and re.fullmatch(r"[\w.-]*", value, re.ASCII) for key, value in items
    ):
        return name or "default"
    legible = "+".join("-".join(re.sub(r"[^A-Za-z0-9._-]+", ".", text).strip(".") for text in item) for item in items)
    return f"{legible[:LONGEST]}+{hashlib.sha256(repr(items).encode()).hexdigest()[:12]}"
