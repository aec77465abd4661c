"""A free energy times p(x|z) as a generator of configurations: weights, bounds, and what it might have missed."""

import itertools
import re

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from predcg.figures.efficiency import PUBLISHED
from predcg.figures.free_energy_speed import COLOURS
from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, NOWHERE, new
from predcg.measures.bins import BINS, judged, line, log_truth
from predcg.measures.free_energy import evaluations
from predcg.measures.generator import full_space as of_all
from predcg.measures.generator import two_sided as of_frames
from predcg.measures.runs import experiment, grouped, mean_over_seeds, with_reference
from predcg.measures.simulated import beside
from predcg.measures.weights import density
from predcg.results import Run
from predcg.systems import Molecule

PUBLISHED_TV = {"CMT, published": (1e8, 9.43e-3), "FAB, published": (2.13e8, 1.03e-2)}
COARSE_BINS = 64  # of FAB; the source has 100
SPREAD = 6.0  # Log-weights are drawn up to so many nat on either side.


@needs(Molecule, "claim", by=lambda run: bool(run.history))
def two_sided(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Whether a model of p(x|z) and its F have missed anything: E[w|z] / w at the frames of a simulation of the same
    system, the last run, whose steps are 0. Its mean is 1 if nothing that the simulation has seen is missed.

    Numbers: see measures.generator.two_sided, means over seeds; errors are those of one, from blocks of the frames,
    which all have in common; evaluations_reference, of the simulation.
    """
    models, reference = with_reference(runs)
    made = [of_frames(run, reference) for run in models]
    numbers = mean_over_seeds([told for *_, told in made])
    # Seeds are judged by the same frames, whose noise and number do not become less by that.
    numbers = {name: value for name, value in numbers.items() if not re.fullmatch(r"frames.*_error", name)}
    numbers |= {name: value for name, value in made[0][2].items() if name.endswith("_error")}
    names = [name.removeprefix("two_sided") for name in made[0][2] if name.startswith("two_sided")]
    names = [name for name in names if not name.endswith("_error")]
    figure, (left, right) = new(columns=2, width=4.2, height=3.2)
    frames, log_ratio, _ = made[0]
    bins = np.linspace(-SPREAD, SPREAD, 97)
    possible = log_ratio.isfinite()
    values = (-log_ratio[possible]).clamp(-SPREAD, SPREAD)
    left.stairs(density(frames.frames(possible), values, bins), bins, color=MODEL, label="frames of the simulation")
    left.set(
        xlabel="log w + F(z) (nat)\nbins at the ends hold what is beyond",
        ylabel="density (1/nat)",
        yscale="log",
        title=f"largest {numbers['largest_log_weight']:.2g}; {numbers['outside_percent']:.2g} % of frames outside",
    )
    for at, name in enumerate(names):
        mean, error = numbers[f"two_sided{name}"], numbers[f"two_sided{name}_error"]
        right.errorbar(at, mean, 2 * error, fmt="o", color=MODEL, capsize=3)
    right.axhline(1, color=EXACT, linewidth=0.8)
    texts = ["all frames" if not name else name[1:].replace("phi_positive", "φ > 0") for name in names]
    texts = [f"{text}\n{numbers[f'frames{name}']:.0f}" for text, name in zip(texts, names, strict=True)]
    right.set(
        xticks=range(len(names)),
        xticklabels=texts,
        xlim=(-0.5, len(names) - 0.5),
        ylabel="mean of E[w|z] / w ± 2 errors",
        title="1 where nothing is missed; below: number of frames",
    )
    return figure, numbers | {"evaluations_reference": float(reference.summary["energy_evaluations"])}


@needs(Molecule, "claim", by=lambda run: bool(run.history))
def free_energy_simulated(runs: list[Run], bins: int = 24) -> tuple[Figure, dict[str, float]]:
    """F of collective variables beside that of a simulation of the same system, the last run, whose steps are 0, on
    coarse bins, with the simulation's standard errors; frames of a ladder of temperatures are all reweighted.

    Numbers: see measures.simulated.beside, means over seeds; evaluations and evaluations_reference.
    """
    models, reference = with_reference(runs)
    made = [beside(run, reference, bins) for run in models]
    numbers = mean_over_seeds(
        [one.numbers | {"evaluations": float(evaluations(run))} for one, run in zip(made, models, strict=True)]
    )
    first = made[0]
    # The simulation's own error does not become less by the number of seeds.
    numbers |= {name: value for name, value in first.numbers.items() if name.endswith("_error")}
    figure, (axes,) = new(width=4.6, height=3.8)
    seen = first.simulated > -torch.inf
    heights = [(-log_p[seen] + first.learnt.max()).numpy() for log_p in (first.simulated, first.learnt)]
    axes.errorbar(*heights, xerr=first.error[seen].numpy(), fmt=".", color=MODEL, ecolor=NOWHERE, markersize=4)
    most = min(15.0, max(heights[0]))
    axes.plot([0, most], [0, most], color=EXACT, linewidth=0.8)
    axes.set(
        xlabel="free energy, simulation (kT) ± error",
        ylabel="free energy, learnt (kT)",
        xlim=(-0.5, most),
        ylim=(-0.5, most),
        title=f"below 5 kT: {numbers['rms_low_kt']:.2g} kT apart, noise {numbers['rms_low_kt_noise']:.2g}",
    )
    return figure, numbers | {"evaluations_reference": float(reference.summary["energy_evaluations"])}


@needs(Molecule, "claim", by=experiment)
def full_space(runs: list[Run], draws: int = 100_000) -> tuple[Figure, dict[str, float]]:
    """The whole model as a generator against energy evaluations of its training, all counted: effective sample size of
    its weights, gaps of both bounds to log Z, and the total variation distance of φ and ψ from the truth; at snapshots
    and ends, a line for each seed, a colour for what differs in more than steps and seed.

    Numbers, with the name of the experiment at the end where there are several, of the ends of runs: see
    measures.generator.full_space, means over seeds; evaluations of training. The draws of this figure are not counted.
    """
    shown, truths = judged(runs)
    truth = {bins: log_truth(shown[0], truths, bins) for bins in (COARSE_BINS, BINS)}
    figure, (left, middle, right) = new(columns=3, width=3.6, height=3.4)
    ends: dict[str, list[dict[str, float]]] = {}
    for colour, (name, same) in zip(itertools.cycle(COLOURS), grouped(shown, line).items(), strict=False):
        points = []
        for run in same:
            torch.manual_seed(run.seed)
            stages = [run.snapshot(step) for step in run.snapshots if step < run.step]
            made = [(stage.evaluations, stage.model) for stage in stages] + [(evaluations(run), run.model)]
            for n, model in made:
                _, told = of_all(model, run.system, truth, draws)
                points.append(told | {"evaluations": float(n)})
            ends.setdefault(experiment(run), []).append(points[-1])
        points.sort(key=lambda point: point["evaluations"])
        n = [point["evaluations"] for point in points]
        for axes, key, style in (
            (left, "ess", "o-"),
            (middle, "elbo_gap", "o-"),
            (middle, "eubo_gap", "^:"),
            (right, f"tv_{BINS}_of_f", "s-"),
            (right, f"tv_{BINS}_model", "o--"),
            (right, f"tv_{BINS}", "^:"),
        ):
            if key in points[0]:
                axes.plot(n, [point[key] for point in points], style, markersize=3, color=colour)
        left.plot([], [], "o-", color=colour, label=name)
    floor = np.mean([end[f"tv_{BINS}_floor"] for same in ends.values() for end in same])
    right.axhline(floor, color=NOWHERE, linewidth=1, label=f"{draws:,} draws of the truth")
    for axes, published in ((left, PUBLISHED), (right, PUBLISHED_TV)):
        for (text, point), below in zip(published.items(), (-2, 10), strict=True):
            axes.plot(*point, "*", color=EXACT, markersize=8)
            place = (-8, below if axes is right else -6 - below)
            axes.annotate(text, point, textcoords="offset points", xytext=place, ha="right", fontsize=7)
    left.set(ylabel="effective sample size", ylim=(0, 1.02))
    middle.set(yscale="log", ylabel="gap to log Z (nat)", title="● lower, ▲ upper bound")
    middle.set_ylim(0.5 * middle.get_ylim()[0], 2 * middle.get_ylim()[1])
    right.set(yscale="log", ylabel="total variation of φ and ψ", title=f"■ e^-F, ● draws, ▲ weighted, {BINS}² bins")
    for axes in (left, middle, right):
        axes.set(xscale="log", xlabel="energy evaluations")
        axes.xaxis.set_minor_formatter(NullFormatter())
    left.legend(fontsize=7, loc="lower right")
    right.legend(fontsize=7)
    numbers: dict[str, float] = {}
    for name, same in ends.items():
        told = mean_over_seeds(same)
        numbers |= {f"{key}_{name}" if len(ends) > 1 else key: value for key, value in told.items()}
    return figure, numbers
