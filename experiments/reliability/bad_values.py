"""Wrong values for every key of every shipped experiment: each is refused in one line before anything is made, or
rightly accepted.

    python experiments/reliability/bad_values.py [every]

tries all of them, or every so many; prints the row of the kept table and, above it, what ended otherwise; exits with 1
where something did.
"""

import inspect
import logging
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from hydra.utils import get_object
from omegaconf import OmegaConf

from predcg.catalogue import listing, shipped
from predcg.config import compose
from predcg.errors import InputError
from predcg.parts import build
from predcg.schema import values

WRONG = ["abc", "[abc]", "{a: 1}", "null", "nan", "inf", "-1", "0", "1.5", "1e300", "2147483647", "99999999999", "true"]
INSIDE = ["abc", "null", "nan", "-1", "1e300", "{a: 1}"]  # as the first of a list, or one of a mapping
SIGNED = {"init", "coupling", "decay", "field", "c", "max_epochs"}  # parameters that are right below 0
SIGNED_INSIDE = {"low", "high", "start"}  # lists whose numbers are
NEEDED = {"molecule/forward_kl": ["system.pdb=ala2.pdb"], "molecule/reverse_kl": ["system.pdb=ala2.pdb"]}
MEMORY = 8 << 30  # bytes that a value may ask for


class Wrong(NamedTuple):
    """One override: its value as text, what the experiment itself has there, and whether null is the default."""

    experiment: str
    path: str
    text: str
    shipped: Any
    optional: bool

    def overrides(self) -> list[str]:
        return [f"experiment={self.experiment}", *NEEDED.get(self.experiment, []), f"{self.path}={self.text}"]


def bad_values() -> Iterator[Wrong]:
    """Every parameter of every constructor once, with every wrong value."""
    seen = set()
    for experiment in listing(shipped("conf") / "experiment"):
        cfg = compose([f"experiment={experiment}", *NEEDED.get(experiment, [])])
        for value in values(cfg):
            path, found = value["path"], value["found"]
            parent, _, name = path.rpartition(".")
            target = OmegaConf.select(cfg, parent).get("_target_") if parent else None
            if "[" in path or (target or parent, name) in seen:
                continue
            seen.add((target or parent, name))
            texts = list(WRONG)
            if isinstance(found, list):
                texts += [f"[{','.join([one, *map(str, found[1:])])}]" for one in INSIDE]
            if isinstance(found, dict):
                texts += [f"{{a: {one}}}" for one in INSIDE]
            default = inspect.signature(get_object(target)).parameters.get(name) if target else None
            optional = (
                default.default is None
                if default
                else not isinstance(found, bool | int | float) and path not in ("checkpoint", "figures")
            )
            yield from (Wrong(experiment, path, text, found, optional) for text in texts)


def outcome(wrong: Wrong) -> str:
    """`refused` in one line, or `accepted`, when composed and built; any other exception is the caller's."""
    try:
        build(compose(wrong.overrides()))
    except InputError as reason:
        assert "\n" not in str(reason).strip(), reason
        return "refused"
    return "accepted"


def may_be_accepted(wrong: Wrong) -> bool:
    """Whether a value is right, by what ships and the defaults of constructors, not by their annotations.

    null where it is the default; a number where there is one, whole where that is, below 0 where it has a sign, in a
    list too; true where there is true or false; text where there is text; a list of text where there is one.
    """
    ships, name = wrong.shipped, wrong.path.rpartition(".")[2]
    number = ships is None or (isinstance(ships, int | float) and not isinstance(ships, bool))
    match wrong.text:
        case "null":
            return wrong.optional
        case "true":
            return isinstance(ships, bool)
        case "0" | "2147483647":
            return number
        case "1.5":
            return number and not isinstance(ships, int)
        case "-1":
            return number and name in SIGNED
        case "abc":
            return ships is None or isinstance(ships, str)
    inside = {type(one) for one in ships} if isinstance(ships, list) else set()
    if wrong.text.startswith("[-1"):
        return inside == {float} and name in SIGNED_INSIDE
    return wrong.text.startswith("[abc") and inside <= {str} and isinstance(ships, list)


def main(every: int = 1) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    began, told = time.perf_counter(), Counter()
    for wrong in list(bad_values())[::every]:
        try:
            end = outcome(wrong)
            kind = end if end == "refused" or may_be_accepted(wrong) else "wrongly accepted"
        except Exception as reason:
            kind = f"{type(reason).__name__}: {' '.join(str(reason).split())[:200]}"
        told[kind] += 1
        if kind not in ("refused", "accepted"):
            print(kind, *wrong.overrides(), sep=" | ", flush=True)
    others = told.total() - told["refused"] - told["accepted"]
    print(
        f"| wrong values of every key | {told.total()} | refused in one line {told['refused']}, rightly accepted"
        f" {told['accepted']}, others {others} | {time.perf_counter() - began:.0f} |"
    )
    return int(others > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
