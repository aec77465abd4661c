"""What a model of a molecule covers: importance weights, basins and geometry beside a reference simulation."""

import math
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, PALE, new
from predcg.importance import Weighted, draw
from predcg.measures.runs import mean_over_seeds, states, with_reference
from predcg.results import Run
from predcg.systems import Molecule
from predcg.systems.chirality import census
from predcg.transforms import InternalCoordinates

DRAWS = 200_000
FRAMES = 20_000  # of the reference, where log q is computed
SAMPLES = 32  # latent draws in log q, where there is a latent variable
BLOCKS = 32  # of the reference, in the order of its trajectories, for errors
BINS = 64
DEEPEST = 9  # kT of the scale
FREE_ENERGY = f"free energy (kT)\ndarkest: {DEEPEST} and more, white: no frame"
BEYOND = "bins at the ends hold what is beyond"


class Sample(NamedTuple):
    """Configurations with normalised weights, (N,), and their φ and ψ in degrees, (N, 2)."""

    x: Tensor
    share: Tensor
    angles: Tensor

    @classmethod
    def of(cls, run: Run, x: Tensor, log_w: Tensor) -> "Sample":
        """Of configurations, (N, D), with log-weights, (N,), on any scale."""
        return cls(x, log_w.double().softmax(0), run.system.backbone(x).rad2deg())

    def first(self, n: int) -> "Sample":
        """The first n of them: maps of unequal numbers of frames end at unequal heights."""
        return Sample(*(values[:n] for values in self))

    def histogram(self) -> np.ndarray:
        """Shares of the bins of φ and ψ, ψ first."""
        return np.histogram2d(
            *self.angles.flip(-1).T.numpy(), bins=BINS, range=[[-180, 180]] * 2, weights=self.share.numpy()
        )[0]


@needs(Molecule, "backbone", "training", "claim", by=lambda run: bool(run.history))
@torch.no_grad()
def coverage(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
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
    train, test = (Sample.of(reference, batch.x, torch.zeros(len(batch.x))) for batch in reference.data)
    simulated = {name: _simulated(reference, index, train, test) for index, name in enumerate(states(reference.system))}
    found = [_measure(run, train, test, simulated) for run in trained]
    numbers = mean_over_seeds([values for values, *_ in found]) | {"seeds": len(found)}
    numbers |= {
        f"p_{name}_simulated{kind}": number
        for name, both in simulated.items()
        for kind, number in zip(("", "_error"), both, strict=True)
    }
    _, weighted, model, reweighted, above = found[0]
    figure, panels = new(columns=3, rows=2, width=3.5, height=3.1)
    for axes, (text, sample) in zip(
        panels, {"reference": test, "model": model, "model, reweighted": reweighted}.items(), strict=False
    ):
        image = free_energy_map(axes, sample.first(len(test.x)), text)
    figure.colorbar(image, ax=panels[:3], label=FREE_ENERGY)
    _weights(panels[3], weighted, above)
    masses(
        panels[4],
        numbers,
        states(reference.system),
        [("_simulated", EXACT, "reference"), ("_model", PALE, "model"), ("", MODEL, "model, reweighted")],
    )
    _energies(panels[5], reference.system(test.x[:FRAMES]), reference.system(model.x[:FRAMES]))
    return figure, numbers


def _measure(
    run: Run, train: Sample, test: Sample, simulated: dict[str, tuple[float, float]]
) -> tuple[dict[str, float], Weighted, Sample, Sample, Tensor]:
    weighted = draw(run.model, run.system, DRAWS, SAMPLES)
    model = Sample.of(run, weighted.x, torch.zeros(len(weighted.x)))
    frames = test.x[:: max(1, len(test.x) // FRAMES)]
    log_q = torch.cat([run.model.log_prob(x, SAMPLES) for x in frames.split(2000)])
    above, inside = -run.system(frames) - log_q, log_q.isfinite()
    log_z, error = weighted.log_z
    numbers = {
        "effective_sample_size": weighted.effective_sample_size,
        "log_z": log_z,
        "log_z_error": error,
        "elbo_gap": log_z - weighted.log_w[weighted.log_w.isfinite()].double().mean().item(),
        "eubo_gap": above[inside].double().mean().item() - log_z,
        "largest_log_weight": (above[inside].max() - log_z).item(),
        "outside_percent": 100 * (1 - inside.double().mean().item()),
    }
    worst, label = 0.0, run.system.label(model.x)
    for index, (name, (mass, _)) in enumerate(simulated.items()):
        numbers[f"p_{name}"], numbers[f"p_{name}_error"] = weighted.mean((label == index).double())
        numbers[f"p_{name}_model"] = (label == index).double().mean().item()
        numbers[f"p_{name}_reference"] = numbers[f"p_{name}_model_reference"] = mass
        if mass > 0.001:
            worst = max(worst, 100 * abs(numbers[f"p_{name}"] / mass - 1))
    if simulated:
        numbers["largest_mass_deviation_percent"] = worst
    reweighted = Sample(model.x, weighted.log_w.double().softmax(0), model.angles)
    truth = test.histogram()
    floor = _divergence(truth, train)
    for name, sample in {"ramachandran_kl": reweighted, "ramachandran_kl_model": model}.items():
        numbers[name], numbers[f"{name}_reference"] = _divergence(truth, sample), floor
    numbers["ramachandran_kl_above_floor"] = numbers["ramachandran_kl"] - numbers["ramachandran_kl_reference"]
    numbers["l_percent"] = 100 * census(run.system, model.x).all(-1).double().mean().item()
    for name, lengths, degrees in (("tight", 0.01, 10), ("wide", 0.02, 25)):
        numbers[f"{name}_percent"], numbers[f"{name}_percent_reference"] = (
            _sane(run, x, lengths, degrees) for x in (model.x, test.x)
        )
        numbers[f"{name}_off_percent"] = abs(numbers[f"{name}_percent"] - numbers[f"{name}_percent_reference"])
    return numbers | {"energy_evaluations": int(run.system.evaluations)}, weighted, model, reweighted, above[inside]


def _simulated(reference: Run, basin: int, train: Sample, test: Sample) -> tuple[float, float]:
    """Mass of a basin in all frames of the reference, and its standard error from blocks of trajectories."""
    one, other = ((reference.system.label(sample.x) == basin).double() for sample in (train, test))
    blocks = torch.stack([block.mean() for block in other.tensor_split(BLOCKS)])
    return 0.5 * (one.mean() + other.mean()).item(), (blocks.std() / BLOCKS**0.5).item()


def _divergence(truth: np.ndarray, sample: Sample) -> float:
    """KL of histograms; an empty bin of the sample counts as a tenth of a frame."""
    least = 0.1 / len(sample.x)
    other = (sample.histogram() + least) / (1 + least * BINS**2)
    filled = truth > 0
    return float((truth[filled] * np.log(truth[filled] / other[filled])).sum())


def _sane(run: Run, x: Tensor, length_nm: float, degrees: float) -> float:
    """Percentage of configurations with every bond and angle of the Z-matrix this close to the force field's."""
    zmatrix, close = run.system.zmatrix, []
    internal = InternalCoordinates(run.system.frame_atoms, zmatrix)
    for observable, centres, tolerance in (
        (internal.distances, zmatrix["bonds"], length_nm),
        (internal.angles, zmatrix["angles"], math.radians(degrees)),
    ):
        close.append(((observable(x) - torch.tensor([centre for centre, _ in centres])).abs() < tolerance).all(-1))
    return 100 * (close[0] & close[1]).double().mean().item()


def free_energy_map(axes: Axes, sample: Sample, title: str):
    with np.errstate(divide="ignore"):
        free = -np.log(sample.histogram())
    free = np.where(np.isfinite(free), free - free.min(), np.nan)
    edges = np.linspace(-180, 180, BINS + 1)
    ticks = range(-180, 181, 90)
    axes.set(
        xlabel="φ (degrees)", ylabel="ψ (degrees)", title=f"{title}, {len(sample.x)} frames", xticks=ticks, yticks=ticks
    )
    return axes.pcolormesh(edges, edges, free, cmap="viridis_r", vmin=0, vmax=DEEPEST)


def _weights(axes: Axes, weighted: Weighted, above: Tensor) -> None:
    for log_w, colour, text in (
        (weighted.log_w, MODEL, "draws of the model"),
        (above, DATA, "frames of the reference"),
    ):
        relative = (log_w - weighted.log_z[0]).clamp(-3, 3).numpy()
        axes.hist(
            relative,
            bins=np.linspace(-3, 3, 97),
            density=True,
            histtype="step",
            color=colour,
            linewidth=1.4,
            label=text,
        )
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


def _energies(axes: Axes, reference: Tensor, model: Tensor) -> None:
    low, high = reference.min().item() - 1, reference.max().item() + 5
    for u, colour, text in ((reference, DATA, "reference"), (model, MODEL, "model")):
        axes.hist(
            u.clamp(low, high).numpy(),
            bins=np.linspace(low, high, 80),
            density=True,
            histtype="step",
            color=colour,
            linewidth=1.4,
            label=text,
        )
    axes.set(xlabel=f"energy (kT)\n{BEYOND}", ylabel="density (1/kT)", title="energies")
    axes.legend(fontsize=8)
