"""One style for every picture, and how pictures are written."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predcg.files import atomic

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
PALE = "#e3a3ab"  # The colour of the model without weights, where both are shown.
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
