"""What a latent variable knows of a molecule's torsions, learnt with or without data."""

import torch
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import new
from predcg.measures.explained import knowledge
from predcg.measures.molecule import degrees
from predcg.measures.runs import experiment, grouped, mean_over_seeds, with_reference
from predcg.results import Run
from predcg.systems import Molecule


@needs(Molecule, "backbone", "training", "variables", "claim", by=lambda run: experiment(run).split()[0])
def explained(runs: list[Run], frames: int = 4000, draws: int = 10_000) -> tuple[Figure, dict[str, float]]:
    """Frames of a reference simulation (the last run, steps=0) in the first two latent variables, coloured by φ and by
    ψ; one row per experiment, its first seed.

    Numbers, means over the seeds of an experiment, whose name ends them: r2_<function>, how much of the variance of sin
    and cos of φ and ψ of reference frames z explains, by the weighted mean over the 20 nearest of other frames;
    r2_least, the least of the four; and of draws of the model: bond_length_error_nm, mean absolute error of the bonds'
    mean lengths; whole_percent, with every bond within 0.02 nm of its mean in the reference; l_percent, with the
    handedness of the first model; p_<basin>_model, mass of every basin, beside the reference's.
    """
    trained, reference = with_reference(runs)
    test = reference.data.test
    chosen = test.frames(torch.randperm(len(test))[:frames])
    groups = grouped(trained, experiment)
    figure, panels = new(columns=2, rows=len(groups), width=4.4, height=3.6)
    numbers = {}
    for row, (name, same) in enumerate(groups.items()):
        numbers |= mean_over_seeds([knowledge(run, chosen, draws) for run in same], f"_{name.split()[0]}")
        with torch.no_grad():
            z = same[0].model.cv(chosen.x)
        angles = degrees(reference.system, chosen.x)
        for axes, angle, text in zip(panels[2 * row :], angles.T, reference.system.torsions, strict=False):
            points = axes.scatter(z[:, 0], z[:, 1], c=angle, s=4, cmap="twilight", vmin=-180, vmax=180, linewidths=0)
            axes.set(xlabel="latent variable z1", ylabel="latent variable z2", title=name)
            figure.colorbar(points, ax=axes, label=f"{text} (degrees)", ticks=range(-180, 181, 90))
    return figure, numbers
