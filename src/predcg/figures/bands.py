"""Credible bands: what the data leave open of the model's predictions."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.molecule import gyration
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.runs import grouped, mean_over_seeds
from predcg.observables import DistanceRMSD, Distances
from predcg.results import Run
from predcg.systems import Molecule

DRAWS = 500  # of the weights; the source has 500 to 3,000
FRAMES = 3000  # for each of them, as in the source
BINS = 22
LEVEL = (0.05, 0.95)


class Band(NamedTuple):
    """Densities of one observable on common bins: of the model, of held-out and of training frames, and for each draw
    of the weights with its mean.
    """

    edges: np.ndarray
    trained: np.ndarray
    reference: np.ndarray
    training: np.ndarray
    draws: np.ndarray
    means: np.ndarray

    @property
    def limits(self) -> np.ndarray:
        """Lower and upper end of the band in each bin, (2, bins)."""
        return np.quantile(self.draws, LEVEL, axis=0)

    @property
    def coverage(self) -> float:
        """Share of the bins whose held-out density is in the band."""
        low, high = self.limits
        return ((self.reference >= low) & (self.reference <= high)).mean().item()


@needs(Molecule, "training", "posterior", by=lambda run: _frames(run))
def rg_bands(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Radius of gyration with its 5 to 95 % credible band, one panel for each number of training frames; the first seed
    of each is drawn.

    Numbers for each N, means over seeds: coverage, the share of the 22 bins whose held-out density is in the band; the
    band's mean width in 1/nm, and its ratio to that of the next smaller N; mean of Rg over the posterior and its
    deviation from the held-out one.
    """
    groups = grouped(runs, _frames)
    figure, panels = new(len(groups), width=3.2 if len(groups) > 1 else 4.4, height=3.0)
    numbers = {}
    for axes, (n, same) in zip(panels, groups.items(), strict=True):
        bands = [credible_bands(run, {"rg": gyration(run)})["rg"] for run in same]
        _draw(axes, bands[0], "radius of gyration (nm)", "density (1/nm)", n)
        values = []
        for run, band in zip(same, bands, strict=True):
            low, high = band.limits
            mean, reference = band.means.mean().item(), gyration(run)(run.data.test.x).mean().item()
            values.append(
                {
                    "rg_coverage": band.coverage,
                    "rg_band_width": (high - low).mean().item(),
                    "rg_mean_nm": mean,
                    "rg_mean_nm_reference": reference,
                    "rg_mean_off_percent": 100 * abs(mean / reference - 1),
                }
            )
        numbers |= mean_over_seeds(values, f"_n{n}" if len(groups) > 1 else "")
    for few, more in itertools.pairwise(groups):
        numbers[f"rg_band_narrowing_n{more}"] = numbers[f"rg_band_width_n{more}"] / numbers[f"rg_band_width_n{few}"]
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4 if len(groups) > 1 else 2)
    return figure, numbers


@needs(Molecule, "backbone", "training", "posterior", each=True)
def observable_bands(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Credible bands of three observables and of the free energies of φ and ψ. Numbers: the share of bins whose
    held-out value is in the band.
    """
    run = runs[0]
    heavy = [atom.index for atom in run.system.topology.atoms if atom.element.symbol != "H"]
    torsions = run.system.backbone
    observables = {
        "rg": gyration(run),
        "end_to_end": Distances([[heavy[0], heavy[-1]]]),
        "distance_rmsd": DistanceRMSD(run.system.models[0].tolist()),
        "phi": lambda x: torsions(x)[..., 0].rad2deg(),
        "psi": lambda x: torsions(x)[..., 1].rad2deg(),
    }
    names = {
        "rg": "radius of gyration (nm)",
        "end_to_end": "end-to-end distance (nm)",
        "distance_rmsd": "distance RMSD to the first structure (nm)",
    }
    figure, panels = new(3, rows=2, width=3.2, height=2.8)
    numbers = {}
    bands = credible_bands(run, observables, torsions=("phi", "psi"))
    for axes, (name, band) in zip(panels, bands.items(), strict=False):
        numbers[f"{name}_coverage"] = band.coverage
        if name in names:
            _draw(axes, band, names[name], "density (1/nm)", _frames(run))
        else:
            _draw(
                axes, band, f"{'φ' if name == 'phi' else 'ψ'} (degrees)", "free energy (kT)", _frames(run), _free_energy
            )
            axes.set(ylim=(-0.3, 8), xlim=(-180, 180), xticks=range(-180, 181, 90))
    panels[5].axis("off")
    panels[5].legend(*panels[0].get_legend_handles_labels(), loc="center left")
    return figure, numbers


def _frames(run: Run) -> int:
    return len(run.data.train.x)


def credible_bands(
    run: Run, observables: dict[str, Callable[[Tensor], Tensor]], torsions: tuple[str, ...] = ()
) -> dict[str, Band]:
    """Histograms of any observables with their bands, from one pass over draws of the weights; bins span the held-out
    values.

    Args:
        run: with a posterior.
        observables: by name, (N, D) to (N,) or (N, 1).
        torsions: names of those in degrees, whose bins go round.
    """
    torch.manual_seed(run.seed)

    def measure(x: Tensor) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {name: observable(x).flatten().numpy() for name, observable in observables.items()}

    held_out, training, trained = (
        measure(x) for x in (run.data.test.x, run.data.train.x, run.model.generate(10 * FRAMES))
    )
    edges = {
        name: np.linspace(*((-180, 180) if name in torsions else (values.min(), values.max())), BINS + 1)
        for name, values in held_out.items()
    }
    draws: dict[str, list[np.ndarray]] = {name: [] for name in observables}
    means: dict[str, list[float]] = {name: [] for name in observables}
    for x in run.weights.predict(run.model, DRAWS, FRAMES):
        for name, values in measure(x).items():
            draws[name].append(_density(values, edges[name]))
            means[name].append(values.mean())
    return {
        name: Band(
            edges[name],
            *(_density(of[name], edges[name]) for of in (trained, held_out, training)),
            np.stack(draws[name]),
            np.array(means[name]),
        )
        for name in observables
    }


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Histogram density; what falls outside the bins counts in the total."""
    return np.histogram(values, edges)[0] / len(values) / np.diff(edges)


def _free_energy(density: np.ndarray) -> np.ndarray:
    """-log density in kT, with minimum 0 along the last axis; infinite where nothing was seen."""
    with np.errstate(divide="ignore"):
        free = -np.log(density)
    return free - free.min(-1, keepdims=True)


def _draw(
    axes: Axes,
    band: Band,
    across: str,
    up: str,
    frames: int,
    seen: Callable[[np.ndarray], np.ndarray] = lambda density: density,
) -> None:
    low, high = np.quantile(seen(band.draws), LEVEL, axis=0, method="nearest")
    ceiling = 100.0  # far above the axis, where a bin was never visited
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
