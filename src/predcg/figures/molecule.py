"""Figures of molecules: what a chemist looks at first."""

import itertools
import re

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.runs import grouped, mean_over_seeds, variables
from predcg.observables import Distances, RadiusOfGyration
from predcg.results import Run
from predcg.systems import Molecule

DRAWS = 10000
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
    train, test = (_degrees(run, x) for x in (run.data.train.x, run.data.test.x))
    with torch.no_grad():
        model = _degrees(run, run.model.generate(max(len(train), len(test))))
    shown = {"held-out frames": test, "draws of the model": model[: len(test)]}
    counts = [np.histogram2d(*angles.T.numpy(), bins=36, range=[[-180, 180]] * 2) for angles in shown.values()]
    most = max(count.max() for count, *_ in counts)
    figure, panels = new(columns=2, width=3.5, height=3.2)
    for axes, text, (count, edges_phi, edges_psi) in zip(panels, shown, counts, strict=True):
        free = np.log(most / np.where(count, count, np.nan)).T
        image = axes.pcolormesh(edges_phi, edges_psi, free, cmap="viridis_r", vmin=0, vmax=max(np.log(most), 1))
        axes.set(
            xlabel="φ (degrees)",
            ylabel="ψ (degrees)",
            title=f"{len(test)} {text}",
            ylim=(-180, 180),
            yticks=range(-180, 181, 90),
            **DEGREES,
        )
    figure.colorbar(image, ax=panels, label="free energy (kT); white: no frame")
    return figure, {
        "ramachandran_distance": _distance(model[: len(train)], test),
        "ramachandran_distance_of_training": _distance(train, test),
    }


@needs(Molecule, "training", "data", each=True)
def bond_lengths(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Mean length of every bond in frames of the model against the data.

    Numbers, all mean absolute errors in nm: bond_length_error_nm, of the bonds' mean lengths in draws x ~ p(x|z) p(z);
    decoded_heavy_bond_error_nm and decoded_bond_error_nm, of every bond in every decoded mean, the former without
    hydrogens. Those of data simulated at 1 fs are right to 1e-5 nm (see samplers.Langevin). The mean over the rotations
    of a methyl group lies on its axis, so that the last is large wherever hydrogens rotate freely.
    """
    run = runs[0]
    pairs = [[a.index, b.index] for a, b in run.system.topology.bonds]
    heavy = torch.tensor([all(run.system.topology.atom(i).element.symbol != "H" for i in pair) for pair in pairs])
    length = Distances(pairs)
    with torch.no_grad():
        data, drawn = length(run.data.train.x), length(run.model.generate(DRAWS))
        decoded = length(run.model.decode(run.model.latent().sample((1000,))))
    error = (decoded - data.mean(0)).abs()
    figure, (axes,) = new(width=3.8, height=3.4)
    span = [0.9 * data.mean(0).min().item(), 1.05 * data.mean(0).max().item()]
    axes.plot(span, span, color=EXACT, linestyle=":", label="equal")
    for these, marker, text in ((heavy, "o", "heavy atoms"), (~heavy, "^", "with hydrogen")):
        axes.errorbar(
            data.mean(0)[these],
            drawn.mean(0)[these],
            drawn.std(0)[these],
            fmt=marker,
            markersize=4,
            color=MODEL,
            ecolor="#e3b3ba",
            label=f"draws, {text}",
        )
        axes.plot(
            data.mean(0)[these],
            decoded.mean(0)[these],
            marker,
            markersize=9,
            markerfacecolor="none",
            color=DATA,
            label=f"decoded means, {text}",
        )
    axes.set(xlabel="mean bond length, data (nm)", ylabel="mean bond length, model (nm)")
    axes.legend(fontsize=7)
    return figure, {
        "bond_length_error_nm": (drawn.mean(0) - data.mean(0)).abs().mean().item(),
        "decoded_heavy_bond_error_nm": error[:, heavy].mean().item(),
        "decoded_bond_error_nm": error.mean().item(),
    }


@needs(Molecule, "training", "data", by=variables)
def rg_histogram(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Radius of gyration of the training frames, the held-out frames and the model; of several runs, one curve for each
    number of variables z.

    Numbers, means over seeds: mean and standard deviation in nm of the model, with those of all frames, training and
    held out, as reference; rg_covered, the share of the 30 bins in which the held-out density lies where those of the
    model do, from 5 to 95 %, when each is of as many draws as there are training frames (of at most 5,000).
    """
    data = runs[0].data
    measure = gyration(runs[0])
    train, test = (measure(x).squeeze(-1) for x in (data.train.x, data.test.x))
    every = torch.cat([train, test])
    figure, (axes,) = new(width=4.2)
    bins = np.linspace(every.min().item(), every.max().item(), 31)

    def show(values: Tensor, text: str, **style: str) -> None:
        share = np.full(len(values), 1 / len(values) / (bins[1] - bins[0]))
        beyond = ((values < bins[0]) | (values > bins[-1])).double().mean().item()
        told = f", {100 * beyond:.1f} % beyond" if beyond >= 0.001 else ""
        axes.hist(values.numpy(), bins=bins, weights=share, histtype="step", linewidth=1.4, label=text + told, **style)

    show(train, f"training, {len(train)} frames", color=DATA)
    show(test, f"held out, {len(test)} frames", color=EXACT)
    numbers = {}
    groups = grouped(runs, variables)
    for (size, same), colour in zip(
        groups.items(), itertools.cycle((MODEL, "#edae49", "#5f9e6e", "#8d1f35")), strict=False
    ):
        with torch.no_grad():
            drawn = [measure(run.model.generate(10 * DRAWS)).squeeze(-1) for run in same]
        show(drawn[0], "model" if len(groups) == 1 else f"model, {size} variables", color=colour)
        values = [
            {
                "rg_mean_nm": x.mean().item(),
                "rg_mean_nm_reference": every.mean().item(),
                "rg_sd_nm": x.std().item(),
                "rg_sd_nm_reference": every.std().item(),
                "rg_covered": _covered(test.numpy(), x.numpy(), bins, min(len(train), DRAWS // 2)),
            }
            for x in drawn
        ]
        numbers |= mean_over_seeds(values, "" if len(groups) == 1 else f"_z{size}")
    means = [numbers[name] for name in numbers if re.fullmatch(r"rg_mean_nm(_z\d+)?", name)]
    if len(means) > 1:
        numbers["rg_mean_largest_difference_nm"] = max(means) - min(means)
    axes.set(xlabel="radius of gyration (nm)", ylabel="density (1/nm)")
    axes.legend(fontsize=8)
    return figure, numbers


def _covered(held_out: np.ndarray, drawn: np.ndarray, bins: np.ndarray, size: int) -> float:
    """Share of bins whose held-out density is within the 5 to 95 % range of those of sets of `size` draws."""
    sets = drawn[: len(drawn) // size * size].reshape(-1, size)
    low, high = np.quantile(
        [np.histogram(values, bins)[0] / size for values in sets], (0.05, 0.95), axis=0, method="nearest"
    )
    share = np.histogram(held_out, bins)[0] / len(held_out)
    return float(((share >= low) & (share <= high)).mean())


def gyration(run: Run) -> RadiusOfGyration:
    """The mass-weighted radius of gyration of the run's molecule."""
    return RadiusOfGyration(run.system.masses[::3].tolist())


@needs(Molecule, "training", "data", each=True)
def energy_histogram(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Energy above the lowest held-out frame, of held-out frames and of draws of the model, on a logarithmic axis."""
    run = runs[0]
    with torch.no_grad():
        data, model = run.system(run.data.test.x), run.system(run.model.generate(1000))
    lowest = data.min()
    figure, (axes,) = new(width=4.2)
    above = [(values - lowest).clamp_min(1.0) for values in (data, model)]
    bins = np.geomspace(1.0, max(values.max().item() for values in above), 61)
    for values, colour, text in zip(above, (DATA, MODEL), ("held-out frames", "model draws"), strict=True):
        axes.hist(
            values.numpy(),
            bins=bins,
            weights=np.full(len(values), 1 / len(values)),
            histtype="step",
            linewidth=1.4,
            color=colour,
            label=text,
        )
    axes.set(xscale="log", xlabel="energy above the lowest frame (kT)", ylabel="share of frames")
    axes.legend()
    return figure, {"median_energy_kt": model.median().item(), "median_energy_kt_reference": data.median().item()}


def _degrees(run: Run, x: Tensor) -> Tensor:
    return run.system.backbone(x).rad2deg()


def _distance(one: Tensor, other: Tensor) -> float:
    counts = [np.histogram2d(*angles.T.numpy(), bins=24, range=[[-180, 180]] * 2)[0] for angles in (one, other)]
    return float(0.5 * np.abs(counts[0] / counts[0].sum() - counts[1] / counts[1].sum()).sum())
