"""What a model of a molecule covers: importance weights, basins and geometry beside a reference simulation."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.batch import Batch
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, PALE, new
from predcg.importance import Weighted
from predcg.measures.coverage import BINS, Sample, Simulated, measure
from predcg.measures.runs import mean_over_seeds, states, with_reference
from predcg.measures.weights import density
from predcg.results import Run
from predcg.systems import Molecule, System

DEEPEST = 9  # The scale ends at so many kT.
FREE_ENERGY = f"free energy (kT)\ndarkest: {DEEPEST} and more, white: no frame"
BEYOND = "bins at the ends hold what is beyond"


@needs(Molecule, "backbone", "training", "claim", by=lambda run: bool(run.history))
@torch.no_grad()
def coverage(runs: list[Run], draws: int = 200_000, frames: int = 20_000) -> tuple[Figure, dict[str, float]]:
    """Trained models beside a reference simulation of the same system: the last run, whose steps are 0. Means over
    seeds; the first is drawn.

    Numbers: effective_sample_size of the weights p̃/q; log_z; in nat, how far the bounds of log Z are from it: elbo_gap
    over draws of the model (the reverse KL), eubo_gap over frames of the reference (the forward KL); the mass of every
    basin, reweighted and of the model as it is, beside the reference's, p_<basin>_simulated, and the largest deviation
    of the former in percent over basins above 0.1 %; the Kullback-Leibler divergence of the histogram of φ and ψ,
    held-out reference frames against the model, beside that against the other half of the reference, its floor;
    l_percent, with the handedness of the first model; tight_percent, with every bond within 0.01 nm and every angle
    within 10 degrees of the force field's, wide_percent, within 0.02 nm and 25 degrees, beside the reference's, whose
    bonds to hydrogen are up to 0.3 % too wide at 1 fs (see samplers.Langevin), uncorrected; outside_percent, reference
    frames where the model has density zero, such as cis peptide bonds; energy_evaluations of training.
    """
    trained, reference = with_reference(runs)
    simulated = Simulated.of(reference)
    found = [measure(run, simulated, draws, frames) for run in trained]
    numbers = mean_over_seeds([one.numbers for one in found]) | {"seeds": len(found)}
    numbers |= {
        f"p_{name}_simulated{kind}": number
        for name, both in simulated.masses.items()
        for kind, number in zip(("", "_error"), both, strict=True)
    }
    weighted, test = found[0].weighted, simulated.test
    model = Sample.of(reference.system, Batch.of(weighted.x))
    reweighted = Sample(weighted.batch, model.angles)
    figure, panels = new(columns=3, rows=2, width=3.5, height=3.1)
    for axes, (text, sample) in zip(
        panels, {"reference": test, "model": model, "model, reweighted": reweighted}.items(), strict=False
    ):
        image = free_energy_map(axes, reference.system, sample.first(len(test.batch)), text)
    figure.colorbar(image, ax=panels[:3], label=FREE_ENERGY)
    _weights(panels[3], weighted, found[0].inside, found[0].above)
    masses(
        panels[4],
        numbers,
        states(reference.system),
        [("_simulated", EXACT, "reference"), ("_model", PALE, "model"), ("", MODEL, "model, reweighted")],
    )
    few = slice(frames)
    _energies(panels[5], reference.system, test.batch.frames(few), model.batch.frames(few))
    return figure, numbers


def free_energy_map(axes: Axes, system: Molecule, sample: Sample, title: str):
    with np.errstate(divide="ignore"):
        free = -np.log(sample.shares())
    free = np.where(np.isfinite(free), free - free.min(), np.nan)
    edges = np.linspace(-180, 180, BINS + 1)
    ticks = range(-180, 181, 90)
    axes.set(
        xlabel=f"{system.torsions[0]} (degrees)",
        ylabel=f"{system.torsions[1]} (degrees)",
        title=f"{title}, {len(sample.batch)} frames",
        xticks=ticks,
        yticks=ticks,
    )
    return axes.pcolormesh(edges, edges, free, cmap="viridis_r", vmin=0, vmax=DEEPEST)


def _weights(axes: Axes, weighted: Weighted, inside: Batch, above: Tensor) -> None:
    bins = np.linspace(-3, 3, 97)
    for batch, log_w, colour, text in (
        (Batch.of(weighted.x), weighted.log_w, MODEL, "draws of the model"),
        (inside, above, DATA, "frames of the reference"),
    ):
        relative = (log_w - weighted.log_z[0]).clamp(-3, 3)
        axes.stairs(density(batch, relative, bins), bins, color=colour, linewidth=1.4, label=text)
    axes.axvline(0, color=EXACT, linestyle=":")
    axes.set(
        xlabel=f"log p(x) - log q(x) (nat)\n{BEYOND}",
        ylabel="density (1/nat)",
        title=f"weights: effective sample size {weighted.effective_sample_size:.3f}",
    )
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])
    axes.legend(fontsize=8)


def masses(axes: Axes, numbers: dict[str, float], names: tuple[str, ...], kinds: list[tuple[str, str, str]]) -> None:
    """Mass of every named basin with two standard errors, for each of `kinds`, (end of the name of the number, colour,
    text), that there is.
    """
    if not names:
        axes.axis("off")
        return
    for offset, (suffix, colour, text) in enumerate(kinds):
        if all(f"p_{name}{suffix}" in numbers for name in names):
            mass = [numbers[f"p_{name}{suffix}"] for name in names]
            error = [2 * numbers.get(f"p_{name}{suffix}_error", 0.0) for name in names]
            axes.errorbar(
                np.arange(len(names)) + 0.2 * (offset - 1), mass, error, fmt="o", markersize=4, color=colour, label=text
            )
    axes.set(yscale="log", xticks=range(len(names)), xticklabels=names, ylabel="mass", title="basins", ylim=(1e-5, 3))
    axes.legend(fontsize=8, loc="lower left")


def _energies(axes: Axes, system: System, reference: Batch, model: Batch) -> None:
    of_both = system(reference.x), system(model.x)
    low, high = of_both[0].min().item() - 1, of_both[0].max().item() + 5
    bins = np.linspace(low, high, 80)
    for batch, u, colour, text in zip((reference, model), of_both, (DATA, MODEL), ("reference", "model"), strict=True):
        axes.stairs(density(batch, u.clamp(low, high), bins), bins, color=colour, linewidth=1.4, label=text)
    axes.set(xlabel=f"energy (kT)\n{BEYOND}", ylabel="density (1/kT)", title="energies")
    axes.legend(fontsize=8)
