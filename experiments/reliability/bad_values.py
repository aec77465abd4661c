"""Wrong values for every key of every shipped experiment: each is refused in one line before anything is made, or rightly accepted."""

from collections.abc import Iterator

from predcg.catalogue import listing, shipped
from predcg.config import build, compose
from predcg.errors import InputError
from predcg.schema import values

WRONG = ["abc", "[abc]", "{a: 1}", "null", "nan", "inf", "-1", "0", "1.5", "1e300"]


def bad_values() -> Iterator[tuple[str, str]]:
    """(experiment, override): every parameter of every constructor once, with every wrong value."""
    seen = set()
    for experiment in listing(shipped("conf") / "experiment"):
        cfg = compose([f"experiment={experiment}"])
        for value in values(cfg):
            path = value["path"]
            key = (path, cfg[path.split(".")[0]].get("_target_") if "." in path else None)
            if "[" not in path and key not in seen:
                seen.add(key)
                yield from ((experiment, f"{path}={wrong}") for wrong in WRONG)


def outcome(experiment: str, override: str, make: bool = True) -> str:
    """`refused` in one line, or `accepted`; any other exception is the caller's. `make`: build what was composed, too."""
    try:
        cfg = compose([f"experiment={experiment}", override])
        if make:
            build(cfg)
    except InputError as reason:
        assert "\n" not in str(reason).strip(), reason
        return "refused"
    return "accepted"
