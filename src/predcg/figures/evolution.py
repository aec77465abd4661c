"""How a model of a planar system came to be: its draws at snapshots of the training, beside exact answers."""

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from predcg.figures.exact import along, equal, judged, observed, rarest, tempered
from predcg.figures.planar import histogram, line
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.importance import Weighted, draw
from predcg.measures.runs import mean_over_seeds
from predcg.results import Run
from predcg.systems import DoubleWell
from predcg.systems.planar import Planar

DRAWS, LAST = 2_000, 20_000  # of each snapshot, of the last and where they are only counted
SNAPSHOTS, PANELS = 25, 7  # at most
KERNEL = 0.15  # sd of the Gaussian that smooths the densities of the valley
LABELS = {
    "mean_x1": "mean of x1",
    "sd_x1": "sd of x1",
    "mean_x2": "mean of x2",
    "sd_x2": "sd of x2",
    "effective_sample_size": "effective sample size",
}


@needs(Planar, "training", "snapshots")
def moments(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Mean and sd of both coordinates and the mass of the rarest basin against training steps, with standard errors,
    one line for each seed.

    The model's own draws follow the tempered p_β; importance weights make the same draws tell of the target at any
    time. Numbers of the last snapshot, means over seeds: each as the model has it and reweighted, beside the exact
    value; the effective sample size.
    """
    system = runs[0].system
    exact = system.exact()
    rare = rarest(exact, system)
    names = ["mean_x1", "sd_x1", *([f"p_{rare}"] if rare else []), "mean_x2", "sd_x2", "effective_sample_size"]
    figure, panels = new(3, 2, width=3.3, height=2.5)
    last = []
    for run in runs:
        torch.manual_seed(run.seed)
        steps = thin(list(run.snapshots), SNAPSHOTS)
        snapshots = [run.snapshot(step) for step in steps]
        found = [
            judged(draw(each.model, system, LAST if each is snapshots[-1] else DRAWS, samples=8), system, exact)
            for each in snapshots
        ]
        of_beta = [observed(tempered(system, each.beta), system) for each in snapshots] if run is runs[0] else []
        for axes, name in zip(panels, names, strict=False):
            for suffix, colour, text in (("_model", MODEL, "model"), ("", DATA, "reweighted to β = 1")):
                if name + suffix in found[0]:
                    values, errors = (
                        torch.tensor([row.get(f"{name}{suffix}{kind}", 0.0) for row in found])
                        for kind in ("", "_error")
                    )
                    axes.plot(steps, values, color=colour, linewidth=line(runs), label=text if run is runs[0] else None)
                    axes.fill_between(steps, values - errors, values + errors, color=colour, alpha=0.25, linewidth=0)
            if run is runs[0] and name in exact:
                axes.plot(
                    steps,
                    [row[name] for row in of_beta],
                    color=EXACT,
                    linestyle=":",
                    label="exact at the β of the step",
                )
                axes.axhline(exact[name], color=EXACT, linestyle="--", linewidth=0.8, label="exact at β = 1")
        last.append(found[-1])
    for axes, name in zip(panels, names, strict=False):
        axes.set(ylabel=LABELS.get(name, f"mass of the {rare} basin"), xlabel="optimiser step")
        axes.locator_params(axis="x", nbins=5)
        if name.startswith(("sd_", "p_")):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.legend(handles=panels[0].get_legend_handles_labels()[0], loc="outside upper center", ncols=4)
    return figure, mean_over_seeds(last)


@needs(DoubleWell, "training", "snapshots")
def histograms(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Histograms of draws at snapshots, most of them from the tempering, beside exact draws of the target; the first
    seed drawn.

    Numbers of the last snapshot at the first β and of the last of all, means over seeds, beside what is exact at their
    β: the mass of the right well, and the valley, the density at the barrier over that at the right minimum (1: one
    wide mode, 0: two).
    """
    system = runs[0].system
    steps = _panels(runs[0])
    figure, panels = new(4, -(-(len(steps) + 1) // 4), width=2.9, height=2.5)
    torch.manual_seed(runs[0].seed)
    for axes, step in zip(panels, steps, strict=False):
        snapshot = runs[0].snapshot(step)
        histogram(axes, snapshot.model.generate(LAST), system)
        axes.set_title(f"step {step}, β = {snapshot.beta:.2g}")
    shown = histogram(panels[len(steps)], system.sample(LAST), system)
    panels[len(steps)].set_title("target, exact draws")
    for axes in panels[len(steps) + 1 :]:
        axes.set_axis_off()
    figure.colorbar(shown, ax=panels, label="share of draws per bin")
    return figure, mean_over_seeds([_modes(run) for run in runs])


def _panels(run: Run) -> list[int]:
    """Steps of at most five snapshots of the tempering, and of enough after it."""
    betas = _betas(run)
    during = thin([step for step, beta in betas.items() if beta < 1], 5)
    return during + thin([step for step, beta in betas.items() if beta == 1], PANELS - len(during))


def _betas(run: Run) -> dict[int, float]:
    return {step: run.snapshot(step).beta for step in run.snapshots}


def _modes(run: Run) -> dict[str, float]:
    betas, numbers = _betas(run), {}
    first = list(betas.values()).count(min(betas.values())) - 1
    for name, step in (("first", list(betas)[first]), ("last", list(betas)[-1])):
        torch.manual_seed(run.seed)
        snapshot = run.snapshot(step)
        for kind, drawn in (
            ("", equal(snapshot.model.generate(LAST))),
            ("_exact", tempered(run.system, snapshot.beta)),
        ):
            numbers[f"p_right_{name}{kind}"] = drawn.mean((run.system.label(drawn.x) == 1).double())[0]
            numbers[f"valley_{name}{kind}"] = _valley(drawn, run.system)
    return numbers


def _valley(drawn: Weighted, system: DoubleWell) -> float:
    x1, u = along(system)
    right = x1[x1 > system.barrier][u[x1 > system.barrier].argmin()]
    at_barrier, at_minimum = (
        drawn.mean((-(((drawn.x[:, 0] - at) / KERNEL) ** 2) / 2).exp())[0] for at in (system.barrier, right)
    )
    return at_barrier / at_minimum


def thin(steps: list[int], most: int) -> list[int]:
    """At most so many of them, evenly, the last included.

    >>> thin([10, 20, 30, 40, 50], 3)
    [10, 30, 50]
    """
    if len(steps) <= most:
        return steps
    return [steps[round(index * (len(steps) - 1) / (most - 1))] for index in range(most)]
