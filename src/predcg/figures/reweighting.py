"""What a model learnt from the energy alone knows of its molecule: its own draws, as they are and reweighted."""

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.batch import Batch
from predcg.figures.coverage import BEYOND, FREE_ENERGY, SAMPLES, Sample, free_energy_map, masses
from predcg.figures.runs import needs
from predcg.figures.sampling import block_mean
from predcg.figures.style import DATA, EXACT, MODEL, PALE, new
from predcg.importance import DRAWS, Weighted
from predcg.measures.runs import mean_over_seeds, states
from predcg.results import Run
from predcg.systems import Molecule

SPREAD = 10.0  # nat on either side of log Z that are drawn of the weights


class Found(NamedTuple):
    """Draws of the model, log-weights of simulated frames, (M,), where there are any, and the numbers of both."""

    weighted: Weighted
    above: Tensor
    numbers: dict[str, float]


@needs(Molecule, "training", "draws")
def reweighting(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Draws of the model with weights w = p̃/q towards the target: the weights, free energies of φ and ψ, masses of
    basins. Means over seeds; the first is drawn.

    Numbers: effective_sample_size, the share of the draws that the weights leave; log_z, that of the mean weight;
    log_z_lower, the reverse bound E_q log w; log_z_upper, the forward bound E_p log w, only where there is a simulation
    of the target, from its frames that were not learnt from; the mass of every basin, reweighted, p_<basin>, and as the
    model has it, p_<basin>_model, beside that of the simulation. The draws are those in the run folder.
    """
    found = [_find(run) for run in runs]
    numbers = mean_over_seeds([one.numbers for one in found])
    run, (weighted, above, _) = runs[0], found[0]
    maps = (
        {}
        if run.system.backbone is None
        else {"model": torch.zeros_like(weighted.log_w), "model, reweighted": weighted.log_w}
    )
    figure, panels = new(columns=2, rows=2, width=3.8, height=3.2) if maps else new(width=4.4)
    for axes, (text, log_w) in zip(panels, maps.items(), strict=False):
        image = free_energy_map(axes, Sample.of(run, weighted.x, log_w), text)
    if maps:
        figure.colorbar(image, ax=panels[: len(maps)], label=FREE_ENERGY)
    _weights(panels[len(maps)], weighted, above, found[0].numbers)
    if maps:
        masses(
            panels[3],
            numbers,
            states(run.system),
            [("_model", PALE, "model"), ("", MODEL, "model, reweighted"), ("_reference", EXACT, "simulation")],
        )
    return figure, numbers


@torch.no_grad()
def _find(run: Run) -> Found:
    weighted, frames = Weighted.load(run.folder / DRAWS), _simulated(run)
    numbers = {
        "effective_sample_size": weighted.effective_sample_size,
        "effective_sample_size_error": weighted.effective_sample_size_error,
    }
    for name, (value, error) in {"log_z": weighted.log_z, "log_z_lower": weighted.lower_bound}.items():
        numbers |= {name: value, f"{name}_error": error}
    above = weighted.log_w[:0]
    if frames is not None:
        above = -frames.u - torch.cat([run.model.log_prob(x, SAMPLES) for x in frames.x.split(2000)])
        if above.isfinite().all():  # a frame where the model has no density leaves no bound
            numbers["log_z_upper"], numbers["log_z_upper_error"] = block_mean(above.double().numpy())
    label = run.system.label(weighted.x)
    for index, name in enumerate(states(run.system)):
        there = (label == index).double()
        for key, drawn in {
            f"p_{name}": weighted,
            f"p_{name}_model": Weighted(weighted.x, torch.zeros_like(weighted.log_w)),
        }.items():
            numbers[key], numbers[f"{key}_error"] = drawn.mean(there)
            if frames is not None:
                numbers[f"{key}_reference"] = (run.system.label(frames.x) == index).double().mean().item()
    return Found(weighted, above, numbers)


def _simulated(run: Run) -> Batch | None:
    """Frames of the run's simulation at β = 1 that were not learnt from, at most as many as there are draws; also where
    those learnt from are of one basin.
    """
    path = run.folder / "simulation/frames.npz"
    if not path.is_file():
        return None
    frames = Batch.load(path)
    own = ~torch.isin(frames.x[:, 0], run.data.train.x[:, 0]) & (True if frames.beta is None else frames.beta == 1)
    frames = frames.frames(own)
    return frames.frames(slice(None, None, max(1, len(frames.x) // 10_000)))


def _weights(axes: Axes, weighted: Weighted, above: Tensor, numbers: dict[str, float]) -> None:
    middle = weighted.log_z[0]
    bins = np.linspace(-SPREAD, SPREAD, 81)
    for log_w, colour, text in ((weighted.log_w, MODEL, "draws of the model"), (above, DATA, "simulated frames")):
        if len(log_w):
            axes.hist(
                (log_w - middle).clamp(-SPREAD, SPREAD).numpy(),
                bins=bins,
                density=True,
                histtype="step",
                linewidth=1.4,
                color=colour,
                label=text,
            )
    axes.axvline(0, color=EXACT, linestyle=":", linewidth=1)
    upper = (
        f"upper bound {numbers['log_z_upper']:.5g}"
        if "log_z_upper" in numbers
        else "no upper bound without a simulation"
    )
    share = (
        f"effective sample size {numbers['effective_sample_size']:.3g} ± {numbers['effective_sample_size_error']:.1g}"
    )
    axes.set_title(f"{share}\nlog Z: lower bound {numbers['log_z_lower']:.5g}\n{upper}")
    axes.set(xlabel=f"log p(x) - log q(x) (nat)\n{BEYOND}", ylabel="density (1/nat)")
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])
    axes.legend(fontsize=8, loc="upper left")
