"""Credible bands: what the data leave open of the model's predictions."""

import itertools
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.bands import LEVEL, TORSIONS, Band, credible_bands, free_energy, observables, radius_band
from predcg.measures.runs import grouped, mean_over_seeds
from predcg.measures.weights import as_many
from predcg.results import Run
from predcg.systems import Molecule


@needs(Molecule, "training", "posterior", by=lambda run: _frames(run))
def rg_bands(runs: list[Run], draws: int = 500, frames: int = 3000) -> tuple[Figure, dict[str, float]]:
    """Radius of gyration with its 5 to 95 % credible band, one panel for each number of training frames; the first seed
    of each is drawn.

    Numbers for each N, means over seeds: coverage, the share of the 22 bins whose held-out density is in the band, also
    of φ and ψ, whose free energies are -log of these, where the system has a backbone; of Rg the band's mean width in
    1/nm, and its ratio to that of the next smaller N; mean of Rg over the posterior and its deviation from the held-out
    one. Bands hold the noise of `frames` frames, whatever that of the held-out ones is.
    """
    groups = grouped(runs, _frames)
    figure, panels = new(len(groups), width=3.2 if len(groups) > 1 else 4.4, height=3.0)
    numbers = {}
    for axes, (n, same) in zip(panels, groups.items(), strict=True):
        bands, values = zip(*(radius_band(run, draws, frames) for run in same), strict=True)
        _draw(axes, bands[0], "radius of gyration (nm)", "density (1/nm)", n)
        numbers |= mean_over_seeds(list(values), f"_n{n}" if len(groups) > 1 else "")
    for few, more in itertools.pairwise(groups):
        numbers[f"rg_band_narrowing_n{more}"] = numbers[f"rg_band_width_n{more}"] / numbers[f"rg_band_width_n{few}"]
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4 if len(groups) > 1 else 2)
    return figure, numbers


@needs(Molecule, "backbone", "training", "posterior", each=True)
def observable_bands(runs: list[Run], draws: int = 500, frames: int = 3000) -> tuple[Figure, dict[str, float]]:
    """Credible bands of three observables and of the free energies of φ and ψ. Numbers: the share of bins whose
    held-out value is in the band.
    """
    run = runs[0]
    names = {
        "rg": "radius of gyration (nm)",
        "end_to_end": "end-to-end distance (nm)",
        "distance_rmsd": "distance RMSD to the first structure (nm)",
    }
    figure, panels = new(3, rows=2, width=3.2, height=2.8)
    numbers = {}
    bands = credible_bands(run, observables(run.system), draws, frames, torsions=TORSIONS)
    for axes, (name, band) in zip(panels, bands.items(), strict=False):
        numbers[f"{name}_coverage"] = band.coverage
        if name in names:
            _draw(axes, band, names[name], "density (1/nm)", _frames(run))
        else:
            angle = run.system.torsions[name == "psi"]
            _draw(axes, band, f"{angle} (degrees)", "free energy (kT)", _frames(run), free_energy)
            axes.set(ylim=(-0.3, 8), xlim=(-180, 180), xticks=range(-180, 181, 90))
    panels[5].axis("off")
    panels[5].legend(*panels[0].get_legend_handles_labels(), loc="center left")
    return figure, numbers


def _frames(run: Run) -> int:
    return as_many(run.data.train)


def _draw(
    axes: Axes,
    band: Band,
    across: str,
    up: str,
    frames: int,
    seen: Callable[[np.ndarray], np.ndarray] = lambda density: density,
) -> None:
    low, high = np.quantile(seen(band.draws), LEVEL, axis=0, method="nearest")
    ceiling = 100.0  # It is far above the axis, for bins that were never visited.
    axes.stairs(
        np.minimum(high, ceiling),
        band.edges,
        baseline=np.minimum(low, ceiling),
        fill=True,
        color=MODEL,
        alpha=0.25,
        label="model, 5 to 95 %",
    )
    axes.stairs(
        seen(band.trained), band.edges, baseline=None, color=MODEL, linewidth=1.4, label="model, trained weights"
    )
    axes.stairs(seen(band.training), band.edges, baseline=None, color=DATA, linestyle=":", label="training frames")
    axes.stairs(seen(band.reference), band.edges, baseline=None, color=EXACT, linewidth=1.2, label="held-out frames")
    axes.set(xlabel=across, ylabel=up, title=f"{frames} training frames")
