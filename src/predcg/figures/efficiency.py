"""What energy evaluations buy: importance weights during a training."""

import itertools

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from predcg.figures.runs import needs
from predcg.figures.style import BASINS, EXACT, new
from predcg.measures.efficiency import curve, marks
from predcg.measures.runs import experiment, grouped
from predcg.results import Run
from predcg.systems import Molecule

# Effective sample size of alanine dipeptide, ff96 with OBC1 at 300 K, and energy evaluations, as published (Schopmans,
# Friederich 2025).
PUBLISHED = {"CMT, published": (1e8, 0.9769), "FAB, published": (2.13e8, 0.948)}


@needs(Molecule, "training", "snapshots", by=experiment)
def efficiency(runs: list[Run], draws: int = 20_000) -> tuple[Figure, dict[str, float]]:
    """Effective sample size, and the gap of the reverse bound to log Z, against energy evaluations; one line per seed,
    a colour for each experiment.

    Numbers, with the name of the experiment at the end where there are several: ess_at_1e7, ess_at_3e7, ess_at_1e8,
    means over seeds after so many evaluations or fewer (the nearest snapshot below), and ess_final with evaluations. A
    learning rate that falls to zero at the end makes the end better than what is before it.
    """
    figure, (left, right) = new(columns=2, width=4.2, height=3.3)
    numbers: dict[str, float] = {}
    groups = grouped(runs, experiment)
    for colour, (name, same) in zip(itertools.cycle(BASINS[1:]), groups.items(), strict=False):
        curves = [curve(run, draws) for run in same]
        for index, points in enumerate(curves):
            evaluations, ess, gap = zip(*points, strict=True)
            label = name if index == 0 else None
            left.plot(evaluations, ess, "o-", markersize=3, color=colour, label=label)
            right.plot(evaluations, gap, "o-", markersize=3, color=colour, label=label)
        numbers |= {f"{key}_{name}" if len(groups) > 1 else key: value for key, value in marks(curves).items()}
    for (text, point), below in zip(PUBLISHED.items(), (3, 16), strict=True):
        left.plot(*point, "*", color=EXACT, markersize=9)
        left.annotate(text, point, textcoords="offset points", xytext=(-8, -below), ha="right", fontsize=7)
    left.set(xscale="log", xlabel="energy evaluations", ylabel="effective sample size", ylim=(0, 1.02))
    right.set(xscale="log", yscale="log", xlabel="energy evaluations", ylabel="log Z - bound (nat)")
    right.xaxis.set_minor_formatter(NullFormatter())
    left.legend(fontsize=7)
    return figure, numbers
