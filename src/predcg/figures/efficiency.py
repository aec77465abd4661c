"""What energy evaluations buy: importance weights during a training."""

import itertools

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from predcg.figures.runs import needs
from predcg.figures.style import BASINS, EXACT, new
from predcg.importance import draw
from predcg.measures.runs import experiment, grouped
from predcg.results import Run
from predcg.systems import Molecule

DRAWS = 20_000
LATENT = 15  # further latent draws in log q, where there is a latent variable
MARKS = (1e7, 3e7, 1e8)
# Effective sample size of alanine dipeptide, ff96 with OBC1 at 300 K, and energy evaluations, as published (Schopmans,
# Friederich 2025).
PUBLISHED = {"CMT, published": (1e8, 0.9769), "FAB, published": (2.13e8, 0.948)}


@needs(Molecule, "training", "snapshots", by=experiment)
def efficiency(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
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
        curves = [_curve(run) for run in same]
        for index, curve in enumerate(curves):
            evaluations, ess, gap = zip(*curve, strict=True)
            label = name if index == 0 else None
            left.plot(evaluations, ess, "o-", markersize=3, color=colour, label=label)
            right.plot(evaluations, gap, "o-", markersize=3, color=colour, label=label)
        numbers |= {f"{key}_{name}" if len(groups) > 1 else key: value for key, value in _marks(curves).items()}
    for (text, point), below in zip(PUBLISHED.items(), (3, 16), strict=True):
        left.plot(*point, "*", color=EXACT, markersize=9)
        left.annotate(text, point, textcoords="offset points", xytext=(-8, -below), ha="right", fontsize=7)
    left.set(xscale="log", xlabel="energy evaluations", ylabel="effective sample size", ylim=(0, 1.02))
    right.set(xscale="log", yscale="log", xlabel="energy evaluations", ylabel="log Z - bound (nat)")
    right.xaxis.set_minor_formatter(NullFormatter())
    left.legend(fontsize=7)
    return figure, numbers


@torch.no_grad()
def _curve(run: Run) -> list[tuple[int, float, float]]:
    torch.manual_seed(run.seed)
    points = []
    for step in run.snapshots:
        snapshot = run.snapshot(step)
        weighted = draw(snapshot.model, run.system, DRAWS, LATENT)
        finite = weighted.log_w[weighted.log_w.isfinite()].double()
        points.append((snapshot.evaluations, weighted.effective_sample_size, weighted.log_z[0] - finite.mean().item()))
    return points


def _marks(curves: list[list[tuple[int, float, float]]]) -> dict[str, float]:
    numbers = {
        "evaluations": max(curve[-1][0] for curve in curves),
        "ess_final": sum(curve[-1][1] for curve in curves) / len(curves),
    }
    for mark in MARKS:
        reached = [[ess for evaluations, ess, _ in curve if evaluations <= 1.02 * mark] for curve in curves]
        if all(reached) and all(curve[-1][0] > 0.9 * mark for curve in curves):
            numbers[f"ess_at_{mark:.0e}".replace("e+0", "e")] = sum(ess[-1] for ess in reached) / len(reached)
    return numbers
