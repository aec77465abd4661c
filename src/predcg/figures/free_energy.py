"""Free energies that were learnt actively: round by round, against evaluations, and what their doubt is worth."""

import itertools

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import BASINS, DATA, EXACT, MODEL, NOWHERE, PALE, new
from predcg.measures.free_energy import (
    backmapped,
    calibration,
    coarse_dynamics,
    ended_by_itself,
    errors,
    evaluations,
    landscape,
    met,
    profile,
)
from predcg.measures.runs import experiment, grouped, mean_over_seeds
from predcg.results import Run
from predcg.systems import MuellerBrown

S, F = "collective variable s = x1 - x2", "free energy (kT)"


@needs(MuellerBrown, "free_energy", each=True)
def free_energy_rounds(runs: list[Run], draws: int = 2000) -> tuple[Figure, dict[str, float]]:
    """The third round and the last: F with twice its doubt, the exact one, where was asked before and where now; and
    configurations that the decoder makes of the collective variables asked for, over the potential.

    Numbers: see measures.free_energy.errors, of the last round; rounds, evaluations.
    """
    rounds = runs[-1].rounds
    shown = rounds[2:3] + rounds[-1:] if len(rounds) > 3 else rounds[-1:]
    figure, axes = new(columns=len(shown), rows=2, width=3.8, height=2.9)
    for one, above, below in zip(shown, axes, axes[len(shown) :], strict=False):
        found = profile(one)
        s = found.z.squeeze(-1)
        above.fill_between(
            s, found.learnt - 2 * found.doubt, found.learnt + 2 * found.doubt, color=PALE, label="± 2 doubts"
        )
        above.plot(s, found.learnt, color=MODEL, label="learnt")
        above.plot(s, found.exact, "--", color=EXACT, label="exact")
        old = [z for before in rounds[: one.number - 1] for z in before.acquired.train.z.flatten().tolist()]
        above.plot(old, np.full(len(old), -1.3), "|", color=NOWHERE, markersize=5, label="asked before")
        new_z = one.acquired.train.z.flatten().tolist()
        above.plot(new_z, np.full(len(new_z), -2.6), "|", color=DATA, markersize=5, label="asked now")
        above.set(
            xlabel=S,
            ylabel=F,
            ylim=(-3.5, 20),
            title=f"round {one.number}: {evaluations(one)} evaluations",
        )
        _potential(below, one.system)
        x = backmapped(one, draws)
        below.plot(*x.T, ".", color=MODEL, markersize=1.5, alpha=0.4)
    axes[len(shown) - 1].legend(fontsize=7, loc="upper center", ncols=2)
    numbers = errors(runs[-1])
    return figure, numbers | {"rounds": float(len(rounds)), "evaluations": float(evaluations(runs[-1]))}


@needs(MuellerBrown)
def coarse_axis(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """The potential with lines of equal s = x1 - x2, and the exact free energy along s.

    Numbers: position and height over the lowest of wells and barriers of F, at the centres of the source's 100 bins.
    """
    system = runs[-1].system
    figure, (left, right) = new(columns=2, width=3.8, height=3.2)
    _potential(left, system)
    for s in (-2, -1, 0, 1):
        left.axline((s, 0.0), slope=1, color=NOWHERE, linewidth=0.8)
        left.annotate(f"s = {s}", (max(s, -1.4) + 0.0, max(s, -1.4) - s), fontsize=7, color=EXACT)
    s, f, numbers = landscape(system)
    right.plot(s, f, color=EXACT)
    right.set(xlabel=S, ylabel=F)
    return figure, numbers


@needs(MuellerBrown, "free_energy", by=experiment)
def free_energy_learning(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Against energy evaluations, all counted: the forward divergence of F and its root mean square error where F is
    below 12 kT, a line for each seed, a colour for each experiment; and the doubt about F beside its error.

    Numbers, with the name of the experiment at the end where there are several: means over seeds of those of
    measures.free_energy.errors and of evaluations; evaluations_most; success_rate, the share of seeds with wells within
    0.1 kT, the barrier within 0.2 kT, and a divergence below 1e-3 nat; ended_by_itself, the share that the rule has
    ended before the last round; calibration, the root mean square of error over doubt where F is below 12 kT.
    """
    figure, (left, middle, right) = new(columns=3, width=3.5, height=3.1)
    numbers: dict[str, float] = {}
    groups = grouped(runs, experiment)
    for colour, (name, same) in zip(itertools.cycle(BASINS[1:]), groups.items(), strict=False):
        ends, ratios = [], []
        for index, run in enumerate(same):
            rounds = run.rounds
            path = [errors(one) for one in rounds]
            counts, label = [evaluations(one) for one in rounds], name if index == 0 else None
            left.plot(counts, [one["forward_kl"] for one in path], ".-", color=colour, linewidth=0.8, label=label)
            middle.plot(counts, [one["rms_kt"] for one in path], ".-", color=colour, linewidth=0.8)
            ended = {"ended_by_itself": float(ended_by_itself(run))}
            ends.append(path[-1] | {"evaluations": float(counts[-1]), "rounds": float(len(rounds))} | ended)
            doubt, off, ratio = calibration(run)
            right.plot(doubt, off.clamp_min(1e-4), ".", color=colour, markersize=3, alpha=0.5)
            ratios.append(ratio)
        told = mean_over_seeds(ends) | {
            "evaluations_most": max(end["evaluations"] for end in ends),
            "success_rate": sum(map(met, ends)) / len(ends),
            "calibration": sum(ratios) / len(ratios),
        }
        numbers |= {f"{key}_{name}" if len(groups) > 1 else key: value for key, value in told.items()}
    left.axhline(1e-3, color=NOWHERE, linestyle="--", linewidth=0.8)
    left.set(xscale="log", yscale="log", xlabel="energy evaluations", ylabel="forward divergence of F (nat)")
    middle.set(xscale="log", yscale="log", xlabel="energy evaluations", ylabel="error of F below 12 kT (kT, RMS)")
    ends = np.array([1e-3, 1.0])
    right.plot(ends, ends, color=EXACT, linewidth=0.8, label="error = doubt")
    right.plot(ends, 2 * ends, "--", color=EXACT, linewidth=0.8, label="error = 2 doubts")
    right.set(xscale="log", yscale="log", xlabel="doubt (kT)", ylabel="error of F at the end (kT)")
    left.legend(fontsize=7, loc="lower right")
    right.legend(fontsize=7)
    return figure, numbers


@needs(MuellerBrown, "free_energy", each=True)
def coarse_histogram(runs: list[Run], replicas: int = 4000, frames: int = 2500) -> tuple[Figure, dict[str, float]]:
    """What dynamics on the learnt F visit, beside F.

    Numbers: coarse_rms_kt, of -log of the histogram less F, where F is below 8 kT.
    """
    found, f, off = coarse_dynamics(runs[-1], replicas, frames)
    figure, (axes,) = new(width=4.2, height=3.0)
    s = found.z.squeeze(-1)
    axes.plot(s, found.learnt, color=MODEL, label="learnt F")
    axes.plot(s, f - f.min(), "o", markersize=2.5, color=DATA, label="dynamics on it")
    axes.plot(s, found.exact, "--", color=EXACT, label="exact")
    axes.set(xlabel=S, ylabel=F, ylim=(-0.5, 14))
    axes.legend(fontsize=7)
    return figure, {"coarse_rms_kt": off}


def _potential(axes: Axes, system: MuellerBrown) -> None:
    """Contours of u above its lowest, with a bar in kT."""
    x1, x2 = torch.linspace(-1.6, 1.3, 150), torch.linspace(-0.6, 2.1, 150)
    u = system.energy(torch.cartesian_prod(x1, x2)).view(150, 150).T
    u = u - u.min()
    drawn = axes.contourf(x1, x2, u.clamp_max(20), levels=np.linspace(0, 20, 11), cmap="Blues_r", alpha=0.7)
    axes.figure.colorbar(drawn, ax=axes, label="potential (kT)")
    axes.set(xlabel="x1", ylabel="x2", xlim=(-1.6, 1.3), ylim=(-0.6, 2.1))
