"""Credible bands: what the data leave open of the model's predictions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.measures.molecule import gyration
from predcg.measures.weights import density, mean, within
from predcg.observables import DistanceRMSD, Distances
from predcg.results import Run
from predcg.systems import Molecule

LEVEL = (0.05, 0.95)
TORSIONS = ("phi", "psi")


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


def radius_band(run: Run, draws: int, frames: int) -> tuple[Band, dict[str, float]]:
    """The band of the radius of gyration; its coverage, and that of φ and ψ where the system has them; its mean width
    in 1/nm, and the mean of Rg over the posterior beside the held-out one.
    """
    measure, torsions = gyration(run.system), TORSIONS if run.system.backbone else ()
    measured = observables(run.system)
    bands = credible_bands(run, {name: measured[name] for name in ("rg", *torsions)}, draws, frames, torsions=torsions)
    band = bands["rg"]
    low, high = band.limits
    found, reference = band.means.mean().item(), mean(run.data.test, measure(run.data.test.x).flatten()).item()
    return band, {f"{name}_coverage": one.coverage for name, one in bands.items()} | {
        "rg_band_width": (high - low).mean().item(),
        "rg_mean_nm": found,
        "rg_mean_nm_reference": reference,
        "rg_mean_off_percent": 100 * abs(found / reference - 1),
    }


def observables(system: Molecule) -> dict[str, Callable[[Tensor], Tensor]]:
    """Radius of gyration, end-to-end distance and distance RMSD to the first structure in nm, φ and ψ in degrees."""
    heavy = [atom.index for atom in system.topology.atoms if atom.element.symbol != "H"]
    torsions = system.backbone
    return {
        "rg": gyration(system),
        "end_to_end": Distances([[heavy[0], heavy[-1]]]),
        "distance_rmsd": DistanceRMSD(system.models[0].tolist()),
        "phi": lambda x: torsions(x)[..., 0].rad2deg(),
        "psi": lambda x: torsions(x)[..., 1].rad2deg(),
    }


def credible_bands(
    run: Run,
    observables: dict[str, Callable[[Tensor], Tensor]],
    draws: int = 500,
    frames: int = 3000,
    bins: int = 22,
    torsions: tuple[str, ...] = (),
) -> dict[str, Band]:
    """Histograms of any observables with their bands, from one pass over draws of the weights; bins span the held-out
    values.

    Args:
        run: with a posterior.
        observables: by name, (N, D) to (N,) or (N, 1).
        draws: of the decoder's weights; the source has 500 to 3,000.
        frames: configurations for each of them, 3,000 in the source; ten times as many of the trained weights.
        bins: of each observable.
        torsions: names of those in degrees, whose bins go round.
    """
    torch.manual_seed(run.seed)

    def measure(x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return {name: observable(x).flatten() for name, observable in observables.items()}

    batches = {
        "trained": Batch.of(run.model.generate(10 * frames)),
        "reference": run.data.test,
        "training": run.data.train,
    }
    found = {kind: measure(batch.x) for kind, batch in batches.items()}
    edges = {
        name: np.linspace(*((-180, 180) if name in torsions else within(run.data.test, values)), bins + 1)
        for name, values in found["reference"].items()
    }
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in observables}
    means: dict[str, list[float]] = {name: [] for name in observables}
    for x in run.posterior.predict(run.model, draws, frames):
        for name, values in measure(x).items():
            drawn[name].append(density(Batch.of(x), values, edges[name]))
            means[name].append(values.mean().item())
    return {
        name: Band(
            edges[name],
            **{kind: density(batch, found[kind][name], edges[name]) for kind, batch in batches.items()},
            draws=np.stack(drawn[name]),
            means=np.array(means[name]),
        )
        for name in observables
    }


def free_energy(density: np.ndarray) -> np.ndarray:
    """-log density in kT, with minimum 0 along the last axis; infinite where nothing was seen."""
    with np.errstate(divide="ignore"):
        free = -np.log(density)
    return free - free.min(-1, keepdims=True)
