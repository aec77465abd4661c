"""Speed of energies and of dynamics, every form beside its peers in one process on one machine."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predcg.benchmarks.dynamics import REPLICAS, langevin_rates
from predcg.benchmarks.energies import BATCHES, SOLVENTS, energy_costs, kilobytes
from predcg.figures.runs import needs
from predcg.figures.style import new
from predcg.provenance import machine
from predcg.results import Run
from predcg.systems import System
from predcg.text import align

COLOURS = {
    "batched, 1 thread": "#d1495b",
    "batched, 2 threads": "#8d1f35",
    "batched, eager": "#edae49",
    "batched, float64": "#e39aa4",
    "batched, GPU": "#5f9e6e",
    "OpenMM Reference": "#30638e",
    "OpenMM CPU": "#7fa8c9",
    "bridge, 2 workers": "#222222",
}


@needs(System, "claim")
def energy_speed(runs: list[Run], batches: Sequence[int] = BATCHES) -> tuple[Figure, dict[str, float]]:
    """Energy and forces of alanine dipeptide, µs per configuration against the batch size; times are the best of
    several.
    """
    figure, axes = new(len(SOLVENTS), width=4.4, height=3.6)
    numbers, table = {}, [("", "", "µs per configuration", "times OpenMM Reference")]
    for (solvent, files), axis in zip(SOLVENTS.items(), axes, strict=True):
        costs = energy_costs(files, solvent, batches)
        _draw(axis, costs, "configurations at a time", "µs per energy + forces", f"22 atoms, {solvent}")
        best = {form: min(cost.values()) for form, cost in costs.items()}
        for form, cost in best.items():
            table.append((solvent, form, f"{cost:.2f}", f"{best['OpenMM Reference'] / cost:.0f}"))
            numbers[f"{solvent}_{_key(form)}_us"] = cost
        numbers[f"{solvent}_ratio_to_reference"] = best["OpenMM Reference"] / best["batched, 1 thread"]
        numbers[f"{solvent}_float64_to_float32"] = best["batched, float64"] / best["batched, 1 thread"]
    figure.suptitle(machine(), fontsize=8)
    numbers["kilobytes_per_configuration"] = kilobytes(SOLVENTS["OBC1"])
    print(f"\n{machine()}\n{align(table)}")
    return figure, numbers


@needs(System, "claim")
def sampling_speed(runs: list[Run], replicas: Sequence[int] = REPLICAS) -> tuple[Figure, dict[str, float]]:
    """Langevin dynamics of alanine dipeptide (OBC2), steps per second of all replicas together."""
    figure, (axis,) = new(width=5.0, height=3.6)
    rates = langevin_rates(SOLVENTS["OBC2"], replicas)
    _draw(axis, rates, "replicas", "steps per second, all replicas", "22 atoms, OBC2, Langevin dynamics")
    figure.suptitle(machine(), fontsize=8)
    best = {form: max(rate.values()) for form, rate in rates.items()}
    peer = max(best["OpenMM Reference"], best["OpenMM CPU"])
    print(
        f"\n{machine()}\n"
        + align(
            [
                ("", "steps per second", "times the best of OpenMM"),
                *((f, f"{r:.4g}", f"{r / peer:.1f}") for f, r in best.items()),
            ]
        )
    )
    return figure, {f"{_key(form)}_steps_per_s": rate for form, rate in best.items()} | {
        "ratio_thread_for_thread": best["batched, 1 thread"] / peer
    }


def _draw(axis: Axes, lines: dict[str, dict[int, float]], across: str, up: str, title: str) -> None:
    for form, values in lines.items():
        axis.loglog(
            list(values),
            list(values.values()),
            "o-" if len(values) > 1 else "o",
            markersize=3,
            color=COLOURS[form],
            label=form,
        )
    axis.set(xlabel=across, ylabel=up, title=title)
    # There is no room beside the lines.
    axis.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _key(form: str) -> str:
    return form.replace(", ", "_").replace(" ", "_").lower()
