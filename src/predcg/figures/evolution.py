"""How a model of a planar system came to be: its draws at snapshots of the training, beside exact answers."""

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from predcg.figures.planar import histogram, line
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.importance import draw
from predcg.measures.evolution import modes, stages, thin
from predcg.measures.exact import judged, observed, rarest, tempered
from predcg.measures.runs import mean_over_seeds
from predcg.results import Run
from predcg.systems import DoubleWell
from predcg.systems.planar import Planar

SNAPSHOTS = 25  # At most so many snapshots are drawn.
LABELS = {
    "mean_x1": "mean of x1",
    "sd_x1": "sd of x1",
    "mean_x2": "mean of x2",
    "sd_x2": "sd of x2",
    "effective_sample_size": "effective sample size",
}


@needs(Planar, "training", "snapshots")
def moments(runs: list[Run], draws: int = 2000, last_draws: int = 20_000) -> tuple[Figure, dict[str, float]]:
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
            judged(draw(each.model, system, last_draws if each is snapshots[-1] else draws, samples=8), system, exact)
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
def histograms(runs: list[Run], draws: int = 20_000) -> tuple[Figure, dict[str, float]]:
    """Histograms of draws at snapshots, most of them from the tempering, beside exact draws of the target; the first
    seed drawn.

    Numbers of the last snapshot at the first β and of the last of all, means over seeds, beside what is exact at their
    β: the mass of the right well, and the valley, the density at the barrier over that at the right minimum (1: one
    wide mode, 0: two).
    """
    system = runs[0].system
    steps = stages(runs[0])
    figure, panels = new(4, -(-(len(steps) + 1) // 4), width=2.9, height=2.5)
    torch.manual_seed(runs[0].seed)
    for axes, step in zip(panels, steps, strict=False):
        snapshot = runs[0].snapshot(step)
        histogram(axes, snapshot.model.generate(draws), system)
        axes.set_title(f"step {step}, β = {snapshot.beta:.2g}")
    shown = histogram(panels[len(steps)], system.sample(draws), system)
    panels[len(steps)].set_title("target, exact draws")
    for axes in panels[len(steps) + 1 :]:
        axes.set_axis_off()
    figure.colorbar(shown, ax=panels, label="share of draws per bin")
    return figure, mean_over_seeds([modes(run, draws) for run in runs])
