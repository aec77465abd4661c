"""What is common to measures of several runs."""

import math
import re
from collections.abc import Callable
from itertools import groupby

import numpy as np

from predcg.errors import InputError
from predcg.results import Run
from predcg.systems import System


def grouped(runs: list[Run], key: Callable) -> dict:
    """Runs that share the value of `key`, by that value in ascending order, each group in the order of the runs."""
    return {value: list(same) for value, same in groupby(sorted(runs, key=key), key)}


def experiment(run: Run) -> str:
    """The run's experiment and overrides, without its seed; of a round the seed is another than the run's."""
    return re.sub(r" seed-\d+( round \d+)?$", r"\1", run.name)


def variant(run: Run, besides: str = "seed-") -> str:
    """The overrides of a run, without its seed and those that hold `besides`; `default` where there are none."""
    overrides = experiment(run).partition(" ")[2].split("+")
    return "+".join(override for override in overrides if besides not in override) or "default"


def with_reference(runs: list[Run]) -> tuple[list[Run], Run]:
    """Trained runs, and the reference simulation that stands last. Raises InputError on any other order."""
    *trained, reference = runs
    if reference.history or not trained or not len(reference.data.test.x):
        raise InputError(
            "figure: expected trained runs and, last, a reference simulation (steps=0); mend the runs of the claim"
        )
    return trained, reference


def states(system: System) -> tuple[str, ...]:
    """Names of the basins where there are several: of one, or none, nothing can be told apart."""
    return system.basins if len(system.basins) > 1 else ()


def variables(run: Run) -> int:
    """Number of collective variables."""
    return run.model.latent().event_shape[0]


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Difference of two means, each given with its standard error, in standard errors; nan where neither has one."""
    return (one[0] - other[0]) / (math.hypot(one[1], other[1]) or math.nan)


def mean_over_seeds(runs: list[dict[str, float]], suffix: str = "") -> dict[str, float]:
    """The mean of each number over runs, with its standard error as `<name>_error` where there are several; names get
    the suffix.

    >>> mean_over_seeds([{"a": 1.0}, {"a": 3.0}], "_b")
    {'a_b': 2.0, 'a_b_error': 1.0}
    """
    numbers = {}
    for name in runs[0]:
        # What stands beside a number keeps its place at the end of the name; the error of one run says nothing of
        # several.
        kind = next((kind for kind in ("_error", "_exact", "_reference") if name.endswith(kind)), "")
        if kind == "_error" and len(runs) > 1:
            continue
        values = [run[name] for run in runs]
        key = name.removesuffix(kind) + suffix + kind
        numbers[key] = float(np.mean(values))
        if len(values) > 1 and not kind:
            numbers[f"{key}_error"] = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return numbers
