"""Figures of molecules: what a chemist looks at first."""

import itertools
import re

import numpy as np
import torch
from matplotlib.figure import Figure

from predcg.batch import Batch
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.molecule import bonds, degrees, energies, gyration, radius, torsion_distances
from predcg.measures.runs import grouped, mean_over_seeds, variables
from predcg.measures.weights import counts, mean, share, within
from predcg.results import Run
from predcg.systems import Molecule

DEGREES = {"xlim": (-180, 180), "xticks": range(-180, 181, 90)}


@needs(Molecule, "backbone", "training", "data", each=True)
def ramachandran(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Free energy of φ and ψ in kT, of held-out frames and of as many draws of the model, above the deepest bin of
    both: a single frame is at the top of the scale.

    Numbers: total variation distance from the histogram of held-out frames on 24 x 24 bins, between 0 and 1, of as many
    draws of the model as there are training frames, ramachandran_distance, and of the training frames themselves,
    ramachandran_distance_of_training: what real frames have by chance.
    """
    run = runs[0]
    drawn, numbers = torsion_distances(run)
    shown = {"held-out frames": run.data.test, "draws of the model": drawn}
    found = [counts(batch, degrees(run.system, batch.x), 36) for batch in shown.values()]
    most, edges = max(count.max() for count in found), np.linspace(-180, 180, 37)
    figure, panels = new(columns=2, width=3.5, height=3.2)
    for axes, (text, batch), count in zip(panels, shown.items(), found, strict=True):
        free = np.log(most / np.where(count, count, np.nan)).T
        image = axes.pcolormesh(edges, edges, free, cmap="viridis_r", vmin=0, vmax=max(np.log(most), 1))
        axes.set(
            xlabel=f"{run.system.torsions[0]} (degrees)",
            ylabel=f"{run.system.torsions[1]} (degrees)",
            title=f"{len(batch)} {text}",
            ylim=(-180, 180),
            yticks=range(-180, 181, 90),
            **DEGREES,
        )
    figure.colorbar(image, ax=panels, label="free energy (kT); white: no frame")
    return figure, numbers


@needs(Molecule, "training", "data", each=True)
def bond_lengths(runs: list[Run], draws: int = 10_000) -> tuple[Figure, dict[str, float]]:
    """Mean length of every bond in frames of the model against the data.

    Numbers, all mean absolute errors in nm: bond_length_error_nm, of the bonds' mean lengths in draws x ~ p(x|z) p(z);
    decoded_heavy_bond_error_nm and decoded_bond_error_nm, of every bond in every decoded mean, the former without
    hydrogens. Those of data simulated at 1 fs are right to 1e-5 nm (see samplers.Langevin). The mean over the rotations
    of a methyl group lies on its axis, so that the last is large wherever hydrogens rotate freely.
    """
    heavy, data, drawn, decoded, numbers = bonds(runs[0], draws)
    figure, (axes,) = new(width=3.8, height=3.4)
    span = [0.9 * data.min().item(), 1.05 * data.max().item()]
    axes.plot(span, span, color=EXACT, linestyle=":", label="equal")
    for these, marker, text in ((heavy, "o", "heavy atoms"), (~heavy, "^", "with hydrogen")):
        axes.errorbar(
            data[these],
            drawn.mean(0)[these],
            drawn.std(0)[these],
            fmt=marker,
            markersize=4,
            color=MODEL,
            ecolor="#e3b3ba",
            label=f"draws, {text}",
        )
        axes.plot(
            data[these],
            decoded.mean(0)[these],
            marker,
            markersize=9,
            markerfacecolor="none",
            color=DATA,
            label=f"decoded means, {text}",
        )
    axes.set(xlabel="mean bond length, data (nm)", ylabel="mean bond length, model (nm)")
    axes.legend(fontsize=7)
    return figure, numbers


@needs(Molecule, "training", "data", by=variables)
def rg_histogram(runs: list[Run], draws: int = 100_000, at_most: int = 5000) -> tuple[Figure, dict[str, float]]:
    """Radius of gyration of the training frames, the held-out frames and the model; of several runs, one curve for each
    number of variables z.

    Numbers, means over seeds: mean and standard deviation in nm of the model, with those of all frames, training and
    held out, as reference; rg_covered, the share of the 30 bins in which the held-out density lies where those of the
    model do, from 5 to 95 %, when each is of as many draws as there are training frames, at most `at_most`.
    """
    data, measure = runs[0].data, gyration(runs[0].system)
    bins = np.linspace(*within(every := Batch.join(data), measure(every.x)), 31)
    figure, (axes,) = new(width=4.2)

    def show(batch: Batch, text: str, **style: str) -> None:
        values = measure(batch.x).flatten()
        beyond = mean(batch, (values < bins[0]) | (values > bins[-1])).item()
        told = f", {100 * beyond:.1f} % beyond" if beyond >= 0.001 else ""
        axes.hist(
            values.numpy(),
            bins=bins,
            weights=share(batch).numpy() / (bins[1] - bins[0]),
            histtype="step",
            linewidth=1.4,
            label=text + told,
            **style,
        )

    show(data.train, f"training, {len(data.train)} frames", color=DATA)
    show(data.test, f"held out, {len(data.test)} frames", color=EXACT)
    numbers = {}
    groups = grouped(runs, variables)
    for (size, same), colour in zip(
        groups.items(), itertools.cycle((MODEL, "#edae49", "#5f9e6e", "#8d1f35")), strict=False
    ):
        with torch.no_grad():
            drawn = [Batch.of(run.model.generate(draws)) for run in same]
        show(drawn[0], "model" if len(groups) == 1 else f"model, {size} variables", color=colour)
        values = [radius(data, measure, batch, bins, at_most) for batch in drawn]
        numbers |= mean_over_seeds(values, "" if len(groups) == 1 else f"_z{size}")
    means = [numbers[name] for name in numbers if re.fullmatch(r"rg_mean_nm(_z\d+)?", name)]
    if len(means) > 1:
        numbers["rg_mean_largest_difference_nm"] = max(means) - min(means)
    axes.set(xlabel="radius of gyration (nm)", ylabel="density (1/nm)")
    axes.legend(fontsize=8)
    return figure, numbers


@needs(Molecule, "training", "data", each=True)
def energy_histogram(runs: list[Run], draws: int = 1000) -> tuple[Figure, dict[str, float]]:
    """Energy above the lowest held-out frame, of held-out frames and of draws of the model, on a logarithmic axis."""
    data, u, model, numbers = energies(runs[0], draws)
    lowest, _ = within(data, u)
    figure, (axes,) = new(width=4.2)
    bins = np.geomspace(1.0, max(within(data, u)[1], model.max().item()) - lowest, 61)
    for values, w, colour, text in (
        (u, share(data), DATA, "held-out frames"),
        (model, share(Batch.of(model)), MODEL, "model draws"),
    ):
        axes.hist(
            (values - lowest).clamp_min(1.0).numpy(),
            bins=bins,
            weights=w.numpy(),
            histtype="step",
            linewidth=1.4,
            color=colour,
            label=text,
        )
    axes.set(xscale="log", xlabel="energy above the lowest frame (kT)", ylabel="share of frames")
    axes.legend()
    return figure, numbers
