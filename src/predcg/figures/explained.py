"""What a latent variable knows of a molecule's torsions, learnt with or without data."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.runs import needs
from predcg.figures.style import new
from predcg.measures.runs import experiment, grouped, mean_over_seeds, states, with_reference
from predcg.observables import Distances
from predcg.results import Run
from predcg.systems import Molecule
from predcg.systems.chirality import census

FRAMES = 4000
NEIGHBOURS = 20
DRAWS = 10_000


@needs(Molecule, "backbone", "training", "variables", "claim", by=lambda run: experiment(run).split()[0])
def explained(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Frames of a reference simulation (the last run, steps=0) in the first two latent variables, coloured by φ and by
    ψ; one row per experiment, its first seed.

    Numbers, means over the seeds of an experiment, whose name ends them: r2_<function>, how much of the variance of sin
    and cos of φ and ψ of reference frames z explains, by the mean over the 20 nearest of other frames; r2_least, the
    least of the four; and of draws of the model: bond_length_error_nm, mean absolute error of the bonds' mean lengths;
    whole_percent, with every bond within 0.02 nm of its mean in the reference; l_percent, with the handedness of the
    first model; p_<basin>_model, mass of every basin, beside the reference's.
    """
    trained, reference = with_reference(runs)
    frames = reference.data.test.x
    frames = frames[torch.randperm(len(frames))[:FRAMES]]
    groups = grouped(trained, experiment)
    figure, panels = new(columns=2, rows=len(groups), width=4.4, height=3.6)
    numbers = {}
    for row, (name, same) in enumerate(groups.items()):
        numbers |= mean_over_seeds([_measure(run, frames) for run in same], f"_{name.split()[0]}")
        with torch.no_grad():
            z = same[0].model.cv(frames)
        angles = reference.system.backbone(frames).rad2deg()
        for axes, angle, text in zip(panels[2 * row :], angles.T, "φψ", strict=False):
            points = axes.scatter(z[:, 0], z[:, 1], c=angle, s=4, cmap="twilight", vmin=-180, vmax=180, linewidths=0)
            axes.set(xlabel="latent variable z1", ylabel="latent variable z2", title=name)
            figure.colorbar(points, ax=axes, label=f"{text} (degrees)", ticks=range(-180, 181, 90))
    return figure, numbers


@torch.no_grad()
def _measure(run: Run, frames: Tensor) -> dict[str, float]:
    z, angles = run.model.cv(frames), run.system.backbone(frames)
    waves = torch.cat([angles.sin(), angles.cos()], -1)
    half = len(z) // 2
    nearest = torch.cdist(z[half:], z[:half]).topk(min(NEIGHBOURS, half), largest=False).indices
    left = (waves[half:] - waves[:half][nearest].mean(1)).square().mean(0) / waves[half:].var(0, correction=0)
    numbers = {
        f"r2_{name}": 1 - value.item() for name, value in zip(("sin_φ", "sin_ψ", "cos_φ", "cos_ψ"), left, strict=True)
    }
    numbers["r2_least"] = min(numbers.values())
    x = run.model.generate(DRAWS)
    length = Distances([[a.index, b.index] for a, b in run.system.topology.bonds])
    apart = length(x) - length(frames).mean(0)
    numbers["bond_length_error_nm"] = apart.mean(0).abs().mean().item()
    numbers["whole_percent"] = 100 * (apart.abs() < 0.02).all(-1).double().mean().item()
    numbers["l_percent"] = 100 * census(run.system, x).all(-1).double().mean().item()
    drawn, true = run.system.label(x), run.system.label(frames)
    for index, name in enumerate(states(run.system)):
        numbers[f"p_{name}_model"] = (drawn == index).double().mean().item()
        numbers[f"p_{name}_model_reference"] = (true == index).double().mean().item()
    return numbers
