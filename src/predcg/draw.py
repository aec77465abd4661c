"""A claim in; picture, numbers and verdict out."""

import time
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import torch

from predcg import figures
from predcg.catalogue import listing, shipped
from predcg.config import compose
from predcg.errors import InputError
from predcg.figures.style import save
from predcg.files import atomic, read_json, write_json
from predcg.gallery import claim, keep, kept, page, rows
from predcg.messages import unknown
from predcg.provenance import commit, machine
from predcg.run import load, run
from predcg.text import align


def draw(name: str, overrides: list[str]) -> bool:
    """Run what is missing, draw outputs/figures/<name>.{png,pdf,json}, print found against expected.

    Args:
        name: <paper>/<figure>, a yaml below experiments/.
        overrides: further overrides of every run.

    Returns:
        Whether every number is within its tolerance.

    Raises:
        InputError: no such claim, or one that cannot be drawn.
    """
    picture, result = make(name, overrides)
    target = Path("outputs/figures") / name
    save(picture, target)
    write_json(target.with_suffix(".json"), result)
    print(f"\n{target}.png\n{align(rows(result))}")
    return all(result["met"].values())


def draw_all(names: list[str], overrides: list[str]) -> bool:
    """Draw claims, keep each result beside its claim as soon as it is drawn, and rewrite experiments/README.md.

    Args:
        names: what is drawn, again if need be; when empty, every claim without a kept result.
        overrides: empty, or `force=true`: every claim is drawn again, from its finished runs.

    Returns:
        Whether every number of these claims is within its tolerance.

    Raises:
        InputError: no checkout, other overrides, no such claim, or one that cannot be drawn.
    """
    folder = shipped("experiments")
    if folder.parent == Path(__file__).parent:
        raise InputError(
            "--all: expected a checkout, which keeps the results; found an installed package; clone the repository and"
            " pip install -e ."
        )
    if overrides not in ([], ["force=true"]):
        raise InputError(
            "--all: expected no override but force=true, since a claim says all about its runs; found"
            f" {' '.join(overrides)}"
        )
    chosen, met = names or listing(folder), []
    for name in chosen:
        claim(folder, name)  # A claim that cannot be drawn is refused before any is drawn.
    try:
        for name in chosen:
            result = None if names or overrides else kept(folder, name)
            if result is None:
                picture, result = make(name, [])
                keep(folder, name, picture, result)
                print(f"\n{folder / name}.png\n{align(rows(result))}")
            met += result["met"].values()
    finally:
        with atomic(folder / "README.md") as temporary:
            temporary.write_text(page(folder))
    print(f"\n{folder / 'README.md'}: {sum(met)} numbers met, {len(met) - sum(met)} not")
    return all(met)


def make(name: str, overrides: list[str]) -> tuple[Any, dict[str, Any]]:
    """Run what is missing of a claim and draw it; return the picture and the result.

    The result is the claim itself with its `numbers`, which of them are `met`, and where, when and in what time they
    were made.
    """
    content = claim(shipped("experiments"), name)
    if content["figure"] not in figures.__all__:
        raise InputError(f"{unknown('figure', content['figure'], figures.__all__)}; mend {name}.yaml")
    # What cannot be composed is refused before anything is run.
    configurations = [compose([*entry, *overrides]) for entry in expand(content["runs"])]
    folders = [run(cfg) for cfg in configurations]
    began = time.perf_counter()
    finished = [load(folder, round=content.get("round")) for folder in folders]
    torch.manual_seed(0)
    picture, numbers = getattr(figures, content["figure"])(finished)
    missing = [key for key in content["expect"] if key not in numbers]
    if missing:
        raise InputError(
            f"expect: expected numbers of {content['figure']}: {', '.join(numbers) or 'none'}; found"
            f" {', '.join(missing)}; mend {name}.yaml"
        )
    seconds = time.perf_counter() - began + sum(read_json(folder / "summary.json")["wall_time_s"] for folder in folders)
    return picture, content | {
        "numbers": numbers,
        "met": {key: judge(numbers[key], expected) for key, expected in content["expect"].items()},
        "run_time_s": round(seconds, 1),
        "drawn_on": date.today().isoformat(),
        "machine": machine(),
        "commit": commit(),
    }


def expand(runs: list[list[str]]) -> list[list[str]]:
    """Every combination of the values that overrides list with commas, the last varying fastest; [a,b] and {a,b} are
    one value.

    >>> expand([["experiment=e", "figures=[a,b]", "z=1,2", "seed=0,1"]])[1:3]
    [['experiment=e', 'figures=[a,b]', 'z=1', 'seed=1'], ['experiment=e', 'figures=[a,b]', 'z=2', 'seed=0']]
    """
    return [list(chosen) for overrides in runs for chosen in product(*map(_alternatives, overrides))]


def _alternatives(override: str) -> list[str]:
    key, equals, values = override.partition("=")
    found, depth = [""], 0
    for character in values:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return [f"{key}{equals}{value}" for value in found]


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


if __name__ == "__main__":
    from predcg.cli import draw as main

    main()
