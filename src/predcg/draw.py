"""A figure's yaml in; picture, numbers and verdict out."""

import logging
import sys
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from predcg import figures
from predcg.config import compose, listing, shipped
from predcg.errors import InputError
from predcg.figures.style import save
from predcg.files import write_json
from predcg.results import align
from predcg.run import load, run


def draw(name: str, overrides: list[str]) -> bool:
    """Run what is missing, draw outputs/figures/<name>.{png,pdf,json}, print found against expected.

    Args:
        name: <paper>/<figure>, a yaml below experiments/.
        overrides: further overrides of every run.

    Returns:
        Whether every number is within its tolerance.

    Raises:
        InputError: no such figure, or a run that cannot be made.
    """
    path = shipped("experiments") / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"figure: expected one of {listing(shipped('experiments'))}; found {name!r}")
    claim = OmegaConf.to_container(OmegaConf.load(path))
    finished = [load(run(compose([*run_overrides, *overrides]))) for run_overrides in claim["runs"]]
    torch.manual_seed(0)
    picture, numbers = getattr(figures, claim["figure"])(finished)
    target = Path("outputs/figures") / name
    save(picture, target)
    verdicts = {key: judge(numbers[key], expected) for key, expected in claim["expect"].items()}
    write_json(target.with_suffix(".json"), {"numbers": numbers, "expect": claim["expect"], "met": verdicts})
    print(f"\n{target}.png\n{report(numbers, claim['expect'], verdicts)}")
    return all(verdicts.values())


def judge(found: float, expected: dict[str, Any]) -> bool:
    """Whether a number is within `tolerance` of `value`, and not beyond `at_least` or `at_most`.

    >>> judge(0.95, {"at_least": 0.9}), judge(1.2, {"value": 1.0, "tolerance": 0.1})
    (True, False)
    """
    return (
        abs(found - expected.get("value", found)) <= expected.get("tolerance", 0.0)
        and found >= expected.get("at_least", found)
        and found <= expected.get("at_most", found)
    )


def report(numbers: dict[str, float], expect: dict[str, dict], verdicts: dict[str, bool]) -> str:
    """Aligned lines: name, found with its error, expected, verdict, and where the expectation comes from."""
    rows = [("", "found", "expected", "", "source")]
    for key, expected in expect.items():
        error = f" ± {numbers[f'{key}_error']:.2g}" if f"{key}_error" in numbers else ""
        forms = {"value": "{0} ± {1}", "at_least": ">= {0}", "at_most": "<= {0}"}
        wanted = " and ".join(form.format(expected[k], expected.get("tolerance")) for k, form in forms.items() if k in expected)
        rows.append((key, f"{numbers[key]:.5g}{error}", wanted, "met" if verdicts[key] else "NOT MET", expected["source"]))
    return align(rows)


def main() -> None:
    """`predcg-draw <paper>/<figure> [key=value ...]`; exits with 1 when a number is out of tolerance."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    names = [argument for argument in sys.argv[1:] if "=" not in argument]
    overrides = [argument for argument in sys.argv[1:] if "=" in argument]
    try:
        if not names:
            raise InputError(f"figure: expected one of {listing(shipped('experiments'))}; found none")
        met = [draw(name, overrides) for name in names]
    except InputError as reason:
        print(f"predcg-draw: {reason}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("predcg-draw: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
