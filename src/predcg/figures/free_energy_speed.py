"""What energy evaluations and time buy of a free energy of torsions: learnt, and by molecular dynamics."""

import itertools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from predcg.benchmarks.visits import STRIDE, Visits, seconds_per_evaluation, visits
from predcg.densities import FreeEnergy
from predcg.figures.runs import needs
from predcg.figures.style import BASINS, DATA, EXACT, MODEL, NOWHERE, new
from predcg.measures.bins import budgets, errors, judged, line, log_truth
from predcg.measures.free_energy import ended_by_itself
from predcg.measures.runs import experiment, grouped, mean_over_seeds
from predcg.provenance import machine
from predcg.results import Run
from predcg.systems import Molecule

COLOURS = (MODEL, *BASINS[1:2], *BASINS[3:], "#8d1f35", "#7b5ea7")
RESOLVED = 1e-3  # nat: the source's rule to stop
FOUND = 0.1  # of P(φ > 0): how far off is still found
TARGETS = (1e-3, 1e-4)
EVALUATIONS, KL = "energy evaluations", "forward divergence of F (nat)"


@needs(Molecule, "claim", by=experiment)
def free_energy_budgets(
    runs: list[Run], steps: int = 10_000_000, replicas: int = 512, draws: int = 1_000_000
) -> tuple[Figure, dict[str, float]]:
    """The forward divergence of F against energy evaluations, all counted: a line through means over seeds at each
    budget, the band from the least to the greatest seed, a colour for what differs in more than steps and seed; and
    molecular dynamics whose replicas begin in equilibrium, with the line of a constant n · KL; beside it the root mean
    square errors of F where it is low and where it is high.

    A model without a free energy is judged by the weighted histogram of as many draws as there were evaluations, at
    most `draws`, which are counted too.

    Numbers, with the name of the experiment at the end, of the ends of runs: means over seeds of measures.bins.errors
    and of wall_time_s, that of whole runs with the start of the program and its figures; evaluations_most;
    success_rate, the share of seeds below 1e-3 nat; found_rate, that with P(φ > 0) within 10 %; ended_by_itself, that
    which the rule has ended; md_kl after md_steps of all replicas, and md_constant, their product.
    """
    shown, truths = judged(runs)
    log_p = log_truth(shown[0], truths)
    figure, (left, right) = new(columns=2, width=4.6, height=3.6)
    for colour, (name, same) in zip(itertools.cycle(COLOURS), grouped(shown, line).items(), strict=False):
        points = budgets(same, log_p, draws)
        n = [point.evaluations for point in points]
        left.plot(n, [point.mean for point in points], "o-", markersize=3, color=colour, label=name)
        left.fill_between(n, [min(p.kl) for p in points], [max(p.kl) for p in points], color=colour, alpha=0.25, lw=0)
    measured = visits(truths[0], log_p, steps, replicas)
    _dynamics(left, measured)
    numbers: dict[str, float] = {}
    learnt = [run for run in shown if isinstance(run.model.latent, FreeEnergy)]
    kinds = list(grouped(learnt, line))
    for name, same in grouped(learnt, experiment).items():
        ends = [errors(run, log_p) | {"wall_time_s": run.summary["wall_time_s"]} for run in same]
        told = mean_over_seeds(ends) | _rates(same, ends)
        numbers |= {f"{key}_{name}": value for key, value in told.items()}
        for marker, region in (("v", "low"), ("^", "high")):
            right.plot(
                [end["evaluations"] for end in ends],
                [end[f"rms_{region}_kt"] for end in ends],
                marker,
                markersize=4,
                color=COLOURS[kinds.index(line(same[0])) % len(COLOURS)],
                markerfacecolor="none" if region == "high" else None,
            )
    left.axhline(RESOLVED, color=NOWHERE, linestyle="--", linewidth=0.8)
    left.set(xscale="log", yscale="log", xlabel=f"{EVALUATIONS}, or steps of all replicas", ylabel=KL)
    right.set(xscale="log", yscale="log", xlabel=EVALUATIONS, ylabel="error of F (kT, RMS)")
    right.set_title("▼ F below 5 kT, △ between 5 and 10 kT")
    left.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    md = {"md_steps": float(measured.steps[-1]), "md_kl": measured.forward[-1], "md_constant": measured.constant}
    return figure, numbers | md


def _rates(runs: list[Run], ends: list[dict[str, float]]) -> dict[str, float]:
    rates = {
        "evaluations_most": max(end["evaluations"] for end in ends),
        "success_rate": sum(end["forward_kl"] < RESOLVED for end in ends) / len(ends),
    }
    if "p_phi_positive_off" in ends[0]:
        rates["found_rate"] = sum(abs(end["p_phi_positive_off"]) < FOUND for end in ends) / len(ends)
    if any(run.planned > 1 for run in runs):
        rates["ended_by_itself"] = sum(map(ended_by_itself, runs)) / len(runs)
    return rates


def _dynamics(axes: Axes, measured: Visits) -> None:
    """Divergence of dynamics against steps, of the groups and of all; dashed, what a constant n · KL makes of it."""
    mean, least, most = (getattr(measured.group_forward.numpy(), name)(1) for name in ("mean", "min", "max"))
    axes.fill_between(measured.group_steps, least, most, color=DATA, alpha=0.2, lw=0)
    axes.plot(measured.group_steps, mean, ":", color=DATA)
    axes.plot(measured.steps, measured.forward, "s-", markersize=3, color=DATA, label="molecular dynamics")
    beyond = measured.steps[-1] * np.array([1.0, 100.0])
    axes.plot(beyond, measured.constant / beyond, "--", color=DATA, linewidth=0.8)


@needs(Molecule, "claim", by=experiment)
def free_energy_speed_up(
    runs: list[Run], steps: int = 50_000_000, replicas: int = 512, trials: int = 300
) -> tuple[Figure, dict[str, float]]:
    """Molecular dynamics of so many steps of all replicas together: n times its divergence against n, which is nearly
    constant; and a table of how many steps of it have the same divergence as a learnt F, per evaluation and in time.

    Dynamics begin in equilibrium, which costs them nothing here, and count a frame of each replica every 20 steps.
    Bins that they have not been in count as 1e-8.

    Numbers: md_constant, n · KL of the truth from the histogram at the end, in steps · nat, with its standard error
    from eight groups of replicas; md_constant_reverse, of the histogram from the truth; md_constant_change, the
    constant over that after a quarter of the steps; md_kl; md_us, of a step of one replica, and evaluation_us_<name>,
    of an evaluation in a step of training, both in time of one processor and measured here, one after the other. Of
    every experiment, from means over seeds: speed_up_<name>, steps of dynamics with the divergence of the learnt F, by
    the constant, over evaluations; speed_up_time_<name>, the same in these times, and speed_up_wall_<name>, against the
    wall time of whole runs, with the start of the program, compiling and figures; speed_up_measured, steps that were
    made over the fewest evaluations whose divergence is no larger than theirs: no extrapolation.
    """
    shown, truths = judged(runs)
    log_p = log_truth(shown[0], truths)
    measured = visits(truths[0] if truths else shown[0], log_p, steps, replicas)
    numbers = {
        "md_steps": float(measured.steps[-1]),
        "md_kl": measured.forward[-1],
        "md_constant": measured.constant,
        "md_constant_error": measured.constant_error,
        "md_constant_reverse": measured.steps[-1] * measured.reverse[-1],
        "md_us": 1e6 * measured.seconds_per_step,
    }
    quarter = min(range(len(measured.steps)), key=lambda at: abs(measured.steps[at] - measured.steps[-1] / 4))
    numbers["md_constant_change"] = measured.constant / (measured.steps[quarter] * measured.forward[quarter])
    rows, cheapest = [], math.inf
    for name, same in grouped(shown, experiment).items():
        ends = [errors(run, log_p) | {"wall_time_s": run.summary["wall_time_s"]} for run in same]
        end = mean_over_seeds(ends)
        us = 1e6 * seconds_per_evaluation(same[0], trials)
        equal = measured.constant / end["forward_kl"]
        told = {
            "forward_kl": end["forward_kl"],
            "evaluations": end["evaluations"],
            "md_steps_equal": equal,
            "speed_up": equal / end["evaluations"],
            "evaluation_us": us,
            "speed_up_time": equal * numbers["md_us"] / (end["evaluations"] * us),
            "speed_up_wall": equal * numbers["md_us"] * 1e-6 / end["wall_time_s"],
        }
        numbers |= {f"{key}_{name}": value for key, value in told.items()}
        if end["forward_kl"] <= measured.forward[-1]:
            cheapest = min(cheapest, end["evaluations"])
        rows.append((name, told, end["wall_time_s"]))
    if cheapest < math.inf:
        numbers["speed_up_measured"] = measured.steps[-1] / cheapest
    figure, (left, right) = new(columns=2, width=5.2, height=3.4)
    _constants(left, measured)
    _table(right, sorted(rows, key=lambda row: row[1]["evaluations"]))
    figure.suptitle(machine(), fontsize=8)
    return figure, numbers


def _constants(axes: Axes, measured: Visits) -> None:
    groups = np.array(measured.group_steps)[:, None] * measured.group_forward.numpy()
    axes.errorbar(
        measured.group_steps,
        groups.mean(1),
        groups.std(1, ddof=1) / groups.shape[1] ** 0.5,
        fmt="o:",
        markersize=3,
        color=DATA,
        capsize=2,
        label=f"truth from histogram, {groups.shape[1]} groups of replicas",
    )
    for values, style, text in (
        (measured.forward, "s-", "truth from histogram, all replicas"),
        (measured.reverse, "^--", "histogram from truth, all replicas"),
    ):
        axes.plot(
            measured.steps,
            np.array(measured.steps) * np.array(values),
            style,
            markersize=3,
            color=EXACT if style == "^--" else DATA,
            label=text,
        )
    axes.set(
        xscale="log",
        xlabel=f"steps of 1 fs, frames every {STRIDE}",
        ylabel="steps · divergence (nat)",
        title="molecular dynamics at 300 K",
        ylim=(0, 2 * measured.constant),
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=6.5, loc="upper left")


def _table(axes: Axes, rows: list[tuple[str, dict[str, float], float]]) -> None:
    """One unit of y is a line."""
    columns = {
        "": 0.0,
        "evaluations": 0.56,
        "divergence\n(nat)": 0.69,
        "steps\nof MD": 0.79,
        "times\nevaluations": 0.91,
        "times\nwall time": 1.0,
    }
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(rows) + 2.5, -1.0), title="speed-up at equal divergence")
    lines = [tuple(columns)] + [
        (
            name,
            f"{told['evaluations']:.3g}",
            f"{told['forward_kl']:.2g}",
            f"{told['md_steps_equal']:.2g}",
            f"{told['speed_up']:,.0f}",
            f"{told['speed_up_wall']:,.0f}",
        )
        for name, told, _ in rows
    ]
    lines.append(("published: grid, 2.4e7 evaluations", "", "", "", "216", ""))
    lines.append(("published: active learning", "", "", "", "15.9", ""))
    for at, cells in enumerate(lines):
        for cell, place in zip(cells, columns.values(), strict=True):
            colour = "#666666" if at == 0 else EXACT
            axes.text(place, at, cell, ha="right" if place else "left", va="center", fontsize=6.5, color=colour)


@needs(Molecule, "claim", by=experiment)
def predicted_divergence(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """The forward divergence of F as its doubt predicts it, without a truth, against the true one: a point for each
    run, a colour for what differs in more than steps and seed; the band is a factor of two.

    Numbers: within_factor_2, the share of runs in the band; ratio, the geometric mean of predicted over true,
    ratio_least and ratio_most; budget_ratio_least and budget_ratio_most, of the geometric means over the seeds of each
    experiment, which are ratio_<experiment>.
    """
    shown, truths = judged(runs)
    log_p = log_truth(shown[0], truths)
    figure, (axes,) = new(width=4.4, height=3.8)
    ratios: dict[str, list[float]] = {}
    ends = []
    for colour, (name, same) in zip(itertools.cycle(COLOURS), grouped(shown, line).items(), strict=False):
        told = [(run, errors(run, log_p)) for run in same]
        true, predicted = ([end[key] for _, end in told] for key in ("forward_kl", "predicted_kl"))
        axes.plot(true, predicted, "o", markersize=3.5, color=colour, alpha=0.7, label=name)
        ends += true
        for run, end in told:
            ratios.setdefault(experiment(run), []).append(end["predicted_kl"] / end["forward_kl"])
    span = np.array([min(ends) / 3, max(ends) * 3])
    axes.plot(span, span, color=EXACT, linewidth=0.8)
    axes.fill_between(span, span / 2, 2 * span, color=NOWHERE, alpha=0.4, lw=0, label="within a factor of 2")
    axes.set(xscale="log", yscale="log", xlim=span, xlabel=KL, ylabel="predicted from the doubt (nat)")
    axes.legend(fontsize=7)
    every, budget = sum(ratios.values(), []), {name: _geometric(some) for name, some in ratios.items()}
    return figure, {
        "within_factor_2": sum(0.5 <= ratio <= 2 for ratio in every) / len(every),
        "ratio": _geometric(every),
        "ratio_least": min(every),
        "ratio_most": max(every),
        "budget_ratio_least": min(budget.values()),
        "budget_ratio_most": max(budget.values()),
        **{f"ratio_{name}": ratio for name, ratio in budget.items()},
    }


def _geometric(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
