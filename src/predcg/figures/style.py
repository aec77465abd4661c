"""One style for every picture, and how pictures are written."""

import math
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predcg.errors import InputError
from predcg.files import atomic
from predcg.results import Run
from predcg.systems import System

STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}

MODEL, DATA, EXACT = "#d1495b", "#30638e", "#222222"
PALE = "#e3a3ab"  # of the model without weights, where both are shown
# α black, β-1 blue, β-2 red as in the source; what is in no basin stays grey.
BASINS, NOWHERE = ("#111111", "#2a6fbb", "#d1495b", "#edae49", "#5f9e6e"), "#c4c4c4"


def new(columns: int = 1, rows: int = 1, width: float = 3.6, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A figure with rows x columns axes, listed row by row; sizes in inch per axes."""
    figure = Figure(figsize=(width * columns, height * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.pdf."""
    for suffix in (".png", ".pdf"):
        with atomic(path.with_suffix(suffix)) as temporary, matplotlib.rc_context(STYLE):
            figure.savefig(temporary)


def styled(draw: Callable) -> Callable:
    """The figure drawn in our style, whatever matplotlib's settings of the caller are, which stay."""
    return matplotlib.rc_context(STYLE)(draw)


def grouped(runs: list[Run], key: Callable) -> dict:
    """Runs that share the value of `key`, by that value in ascending order, each group in the order of the runs."""
    return {value: list(same) for value, same in groupby(sorted(runs, key=key), key)}


def experiment(run: Run) -> str:
    """The run's experiment and overrides, without its seed."""
    return run.name.removesuffix(f" seed-{run.seed}")


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
