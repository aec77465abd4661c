"""One line out of what went wrong, with the nearest right spelling."""

import difflib
import re
from collections.abc import Iterable

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig

from predcg.catalogue import groups, listing, shipped

LONGEST = 600  # A message on the command line has at most so many characters.


def short(text: str) -> str:
    """One line of readable length, which keeps its start, what is wrong, and its end, how to mend it.

    >>> len(short("system.pdb: expected one molecule; found " + "HOH " * 3000)), short("a\\n  b")
    (600, 'a b')
    """
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 205]} ... {line[-200:]}"


def nearest(found: str, known: Iterable[str]) -> str:
    """The most similar of the known names, or of dotted ones whose last part is similar; empty where none is.

    >>> keys = ["objective.alpha", "optimizer.lr"]
    >>> nearest("objective.alpa", keys), nearest("lr", keys), nearest("x", ["y"])
    ('objective.alpha', 'optimizer.lr', '')
    """

    def likeness(name: str) -> tuple[float, float]:
        whole = difflib.SequenceMatcher(None, found, name).ratio()
        return max(whole, difflib.SequenceMatcher(None, found.split(".")[-1], name.split(".")[-1]).ratio()), whole

    best = max(known, key=likeness, default="")
    return best if best and likeness(best)[0] > 0.6 else ""


def unknown(key: str, found: str, known: list[str]) -> str:
    """The message for a name that is none of the known ones.

    >>> unknown("prior", "arrd", ["ard", "flat"])
    "prior: expected one of ard, flat; found 'arrd'; the nearest is ard"
    """
    close = nearest(found, known)
    return f"{key}: expected one of {', '.join(known)}; found {found!r}" + (
        f"; the nearest is {close}" if close else ""
    )


def short_of_memory(reason: BaseException) -> str:
    """What to do where a size asks for more memory than there is; empty of any other error."""
    asked = isinstance(reason, MemoryError) or re.search(
        r"can't allocate memory|out of memory|Storage size calculation overflowed|numel: integer multiplication"
        r" overflow|invalid argument size",
        str(reason),
        re.I,
    )
    return "asks for more memory than there is; choose smaller sizes or counts" if asked else ""


def explain(reason: Exception, overrides: Iterable[str] = ()) -> str:
    """One line out of Hydra's and OmegaConf's several; of an argument that they do not know, with the nearest that they
    do.
    """
    cause, text = reason.__cause__, str(reason)
    # It comes from the file system; some of Hydra's errors are OSErrors too, without a number.
    if isinstance(reason, OSError) and reason.errno:
        return f"{text}; mend that, or choose another folder=...; the same command goes on where it was"
    if isinstance(reason, InstantiationException) and cause is not None:
        return short_of_memory(cause) or str(cause)
    experiments = listing(shipped("conf") / "experiment")
    if "must specify 'experiment'" in text:
        return (
            f"experiment: expected one of {', '.join(experiments)}; found none; choose one with experiment=<name>, or"
            " see predcg --help"
        )
    if option := re.search(r"Could not (?:find|load) '(?P<group>(?:hydra/)?[^'/]+)/(?P<name>[^']*)'", text):
        offered = (
            experiments
            if option["group"] == "experiment"
            else re.findall(r"^\t(?!provider=)(\S+)$", text, re.MULTILINE)
        )
        return unknown(option["group"], option["name"], offered or groups().get(option["group"], []))
    if key := re.search(r"Could not override '([^']+)'|Could not delete from config. '([^']+)'", text):
        found = key[1] or key[2]
        if found in groups():
            return f"{found}: expected one of {', '.join(groups()[found])}; found none of them; choose {found}=<name>"
        close = nearest(found, _keys(overrides))
        mend = f"the nearest is {close}" if close else "predcg experiment=... --cfg job shows all of them"
        return f"{found}: expected a key or group of this configuration; {mend}"
    if group := re.search(r"Could not delete '([^']+)'\. No match in the defaults list", text):
        found = group[1]
        mend = f"choose {found}=none" if "none" in groups().get(found, []) else "leave it out"
        return f"~{found}: expected a group with one option, or a key of this configuration; found neither; {mend}"
    if merged := re.search(
        r"Error merging override ([^=\s]+)=(.*?)\s*Cannot merge DictConfig with ListConfig",
        f"{text}\n{cause}",
        re.DOTALL,
    ):
        kind = "a list" if merged[2].startswith("{") else "a mapping"
        return f"{merged[1].lstrip('+')}: expected {kind}; found {merged[2]}; mend it, or leave it out"
    if unsupported := re.search(r"Unsupported interpolation type (\w+)", text):
        return (
            "expected a value, a key of the configuration as in ${z}, or, outside of system, a fact of the"
            f" system as in ${{fact:size}}; found ${{{unsupported[1]}:...}}; mend it"
        )
    if "Ambiguous value" in text:
        found = text.split("'")[1]
        return (
            f"{found}: expected one value; found several; for a run of each: predcg -m ...; for a list put them in"
            " brackets"
        )
    if isinstance(reason, OverrideParseException):
        return (
            f"{reason.override}: expected key=value, with letters, digits and /-+.$%*@?| in the value, or a file that"
            " is there; mend the path,"
            f""" or put the value in quotes within quotes, as in 'folder="a=b"'"""
        )
    lines = [line.strip() for line in f"{text}\n{cause or ''}".splitlines()]
    return " ".join(
        line for line in lines if line and not line.startswith(("full_key", "object_type", "Config search path"))
    )


def _keys(overrides: Iterable[str]) -> list[str]:
    """Dotted names of all keys of what an experiment and its groups make, whatever else was said."""
    chosen = [override for override in overrides if override.split("=")[0] in {"experiment", *groups()}]
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(shipped("conf").resolve()), version_base="1.3"):
            return _dotted(hydra.compose("config", chosen))
    except HydraException:
        return list(groups())


def _dotted(node: DictConfig, prefix: str = "") -> list[str]:
    found = []
    for key, value in node.items_ex(resolve=False):
        found.append(f"{prefix}{key}")
        found += (
            _dotted(value, f"{prefix}{key}.")
            if isinstance(value, DictConfig) and not value._is_none() and not value._is_missing()
            else []
        )
    return found
