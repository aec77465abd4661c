"""Speed of energies and of dynamics, every form beside its peers in one process on one machine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import new
from predcg.progress import progress
from predcg.provenance import machine
from predcg.results import Run
from predcg.samplers import Langevin, OpenMMLangevin
from predcg.systems import Molecule, System
from predcg.systems.bridge import Bridge
from predcg.systems.forcefield import ForceField
from predcg.systems.worker import evaluate, new_context
from predcg.text import align

BATCHES = [1, 16, 64, 256, 1024, 4096, 16384, 65536]
REPLICAS = [1, 16, 64, 256, 1024, 4096]
SOLVENTS = {"OBC1": ["amber96.xml", "implicit/obc1.xml"], "OBC2": ["amber96.xml", "amber96_obc.xml"]}
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
BUDGET_S = 0.6


@needs(System, "claim")
def energy_speed(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Energy and forces of alanine dipeptide, µs per configuration against the batch size; times are the best of
    several.
    """
    figure, axes = new(len(SOLVENTS), width=4.4, height=3.6)
    numbers, table = {}, [("", "", "µs per configuration", "times OpenMM Reference")]
    for (solvent, files), axis in zip(SOLVENTS.items(), axes, strict=True):
        costs = _energy_costs(files, solvent)
        _draw(axis, costs, "configurations at a time", "µs per energy + forces", f"22 atoms, {solvent}")
        best = {form: min(cost.values()) for form, cost in costs.items()}
        for form, cost in best.items():
            table.append((solvent, form, f"{cost:.2f}", f"{best['OpenMM Reference'] / cost:.0f}"))
            numbers[f"{solvent}_{_key(form)}_us"] = cost
        numbers[f"{solvent}_ratio_to_reference"] = best["OpenMM Reference"] / best["batched, 1 thread"]
        numbers[f"{solvent}_float64_to_float32"] = best["batched, float64"] / best["batched, 1 thread"]
    figure.suptitle(machine(), fontsize=8)
    numbers["kilobytes_per_configuration"] = _kilobytes(SOLVENTS["OBC1"])
    print(f"\n{machine()}\n{align(table)}")
    return figure, numbers


@needs(System, "claim")
def sampling_speed(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Langevin dynamics of alanine dipeptide (OBC2), steps per second of all replicas together."""
    figure, (axis,) = new(width=5.0, height=3.6)
    molecule = Molecule("ala2.pdb", SOLVENTS["OBC2"], 300.0)
    costs = {"batched, 1 thread": {}, "batched, 2 threads": {}, "OpenMM Reference": {}, "OpenMM CPU": {}}
    if torch.cuda.is_available():
        costs["batched, GPU"] = {}
    for form in costs:
        if form.startswith("OpenMM"):
            molecule._platform = new_context(molecule.openmm_system, form.split()[1]).getPlatform()
            steps = {"OpenMM Reference": 20000, "OpenMM CPU": 2000}[form]
            cost = (
                min(
                    _timed(lambda n=steps: OpenMMLangevin(0.001, 1.0, n, 0, 0).run(molecule, molecule.start(1), 1))
                    for _ in range(3)
                )
                / steps
                * 1e6
            )
            costs[form] = dict.fromkeys(REPLICAS, cost)
            continue
        device = "cuda" if form.endswith("GPU") else "cpu"
        with threads_set(2 if "2" in form else 1):
            fresh = Molecule("ala2.pdb", SOLVENTS["OBC2"], 300.0)
            fresh.expect(10**9)
            for replicas in REPLICAS:
                start = fresh.start(replicas).to(device)
                _langevin(fresh, start, 5)
                steps = max(20, min(1000, 100_000 // replicas))
                # Two lengths, so that what happens once per simulation drops out.
                cost = min(
                    _timed(lambda: _langevin(fresh, start, 2 * steps)) - _timed(lambda: _langevin(fresh, start, steps))
                    for _ in range(3)
                )
                costs[form][replicas] = cost / steps / replicas * 1e6
    rates = {form: {replicas: 1e6 / value for replicas, value in cost.items()} for form, cost in costs.items()}
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


def _energy_costs(files: list[str], solvent: str) -> dict[str, dict[int, float]]:
    """µs per configuration by form and batch size."""
    molecule = Molecule("ala2.pdb", files, 300.0)
    x = molecule.start(BATCHES[-1]) + 0.005 * torch.randn(
        BATCHES[-1], molecule.size, generator=torch.Generator().manual_seed(0)
    )
    forms: dict[str, tuple[int, Callable]] = {}

    def batched(x: torch.Tensor, expected: int) -> Callable:
        own = Molecule("ala2.pdb", files, 300.0)
        own.expect(expected)
        return lambda n: own.evaluate(x[:n])

    forms["batched, eager"] = 1, batched(x, 0)
    forms["batched, 1 thread"] = 1, batched(x, 10**9)
    forms["batched, 2 threads"] = 2, batched(x, 10**9)
    forms["batched, float64"] = 1, batched(x.double(), 10**9)
    if torch.cuda.is_available():
        forms["batched, GPU"] = 1, batched(x.cuda(), 10**9)
    bridge = Bridge(molecule.openmm_system, 2)
    frames = x.double().numpy()
    costs: dict[str, dict[int, float]] = {form: {} for form in forms}
    with progress(len(BATCHES) * len(forms) + 3, f"timing, {solvent}") as bar:
        for form, (threads, call) in forms.items():
            with threads_set(threads):
                for n in BATCHES:
                    if form != "batched, float64" or n == 1024:
                        costs[form][n] = (
                            _best(lambda: (call(n), torch.cuda.synchronize() if "GPU" in form else None)) / n * 1e6
                        )
                    bar.update()
        for name in ("Reference", "CPU"):
            one = new_context(molecule.openmm_system, name)
            row = np.empty(1 + molecule.size)
            cost = _best(lambda: evaluate(one, frames[0].reshape(-1, 3), row)) * 1e6
            costs[f"OpenMM {name}"] = dict.fromkeys(BATCHES, cost)
            bar.update()
        few = [n for n in BATCHES if n * min(costs["OpenMM Reference"][1], costs["OpenMM CPU"][1]) < 2e6]
        costs["bridge, 2 workers"] = {n: _best(lambda n=n: bridge.evaluate(frames[:n])) / n * 1e6 for n in few}
        bar.update()
    bridge.close()
    return costs


def _langevin(molecule: Molecule, start: torch.Tensor, steps: int) -> None:
    Langevin(0.001, 1.0, steps, 0).run(molecule, start, 1)


def _timed(call: Callable) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _best(call: Callable) -> float:
    """Seconds of the fastest of as many calls as the budget allows, at least three, after one to warm up."""
    call()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < BUDGET_S:
        times.append(_timed(call))
    return min(times)


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def _kilobytes(files: list[str]) -> float:
    """Of the arrays that live at once, per configuration, float32."""
    molecule = Molecule("ala2.pdb", files, 300.0)
    blocks = molecule.start(32).view(1, 32, -1, 3).permute(0, 3, 2, 1)
    terms, gradient, stored = ForceField(molecule.openmm_system).float()(blocks)
    return sum(array.nbytes for array in (*terms, gradient, *stored)) / 32 / 1024


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
    # Beside the lines there is no room.
    axis.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _key(form: str) -> str:
    return form.replace(", ", "_").replace(" ", "_").lower()
