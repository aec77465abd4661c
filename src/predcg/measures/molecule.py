"""Measures of models of molecules beside frames: torsions, bonds, radius of gyration, energies."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch, Data
from predcg.measures.weights import as_many, counts, deviation, histogram, mean, median
from predcg.observables import Distances, RadiusOfGyration
from predcg.results import Run
from predcg.systems import Molecule


def degrees(system: Molecule, x: Tensor) -> Tensor:
    """φ and ψ of configurations, (N, D) to (N, 2)."""
    return system.backbone(x).rad2deg()


def gyration(system: Molecule) -> RadiusOfGyration:
    """The mass-weighted radius of gyration of a molecule."""
    return RadiusOfGyration(system.masses[::3].tolist())


@torch.no_grad()
def torsion_distances(run: Run) -> tuple[Batch, dict[str, float]]:
    """As many draws of the model as the held-out frames are worth; total variation distances of histograms of φ and ψ
    from that of held-out frames, of as many draws as the training frames are worth, and of the training frames.
    """
    train, test = run.data
    drawn = run.model.generate(max(as_many(train), as_many(test)))
    return Batch.of(drawn[: as_many(test)]), {
        "ramachandran_distance": distance(run.system, Batch.of(drawn[: as_many(train)]), test),
        "ramachandran_distance_of_training": distance(run.system, train, test),
    }


def distance(system: Molecule, one: Batch, other: Batch, bins: int = 24) -> float:
    """Total variation distance, between 0 and 1, of two histograms of φ and ψ."""
    found = [counts(batch, degrees(system, batch.x), bins) for batch in (one, other)]
    return float(0.5 * np.abs(found[0] / found[0].sum() - found[1] / found[1].sum()).sum())


@torch.no_grad()
def bonds(run: Run, draws: int, decoded: int = 1000) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, float]]:
    """Of every bond whether it is between heavy atoms, (bonds,), its mean length in the training frames, (bonds,), and
    its lengths in draws of the model, (draws, bonds), and in decoded means, (decoded, bonds), nm; mean absolute errors.
    """
    pairs = [[a.index, b.index] for a, b in run.system.topology.bonds]
    heavy = torch.tensor([all(run.system.topology.atom(i).element.symbol != "H" for i in pair) for pair in pairs])
    length = Distances(pairs)
    data, drawn = mean(run.data.train, length(run.data.train.x)).float(), length(run.model.generate(draws))
    means = length(run.model.decode(run.model.latent().sample((decoded,))))
    error = (means - data).abs()
    return (
        heavy,
        data,
        drawn,
        means,
        {
            "bond_length_error_nm": (drawn.mean(0) - data).abs().mean().item(),
            "decoded_heavy_bond_error_nm": error[:, heavy].mean().item(),
            "decoded_bond_error_nm": error.mean().item(),
        },
    )


def radius(
    data: Data, measure: Callable[[Tensor], Tensor], drawn: Batch, bins: np.ndarray, at_most: int
) -> dict[str, float]:
    """Mean and standard deviation of the radius of gyration in draws of the model, beside those of all frames; the
    share of bins that `covered` tells, of as many draws as the training frames are worth.
    """
    every, x = Batch.join(data), measure(drawn.x).flatten()
    rg = measure(every.x).flatten()
    held_out = histogram(data.test, measure(data.test.x), bins)
    return {
        "rg_mean_nm": x.mean().item(),
        "rg_mean_nm_reference": mean(every, rg).item(),
        "rg_sd_nm": x.std().item(),
        "rg_sd_nm_reference": deviation(every, rg).item(),
        "rg_covered": covered(held_out, x.numpy(), bins, min(as_many(data.train), at_most)),
    }


def covered(shares: np.ndarray, drawn: np.ndarray, bins: np.ndarray, size: int) -> float:
    """Share of bins whose own share is within the 5 to 95 % range of those of sets of `size` draws."""
    sets = drawn[: len(drawn) // size * size].reshape(-1, size)
    low, high = np.quantile(
        [np.histogram(values, bins)[0] / size for values in sets], (0.05, 0.95), axis=0, method="nearest"
    )
    return float(((shares >= low) & (shares <= high)).mean())


@torch.no_grad()
def energies(run: Run, draws: int) -> tuple[Batch, Tensor, Tensor, dict[str, float]]:
    """Held-out frames with their energies, (N,), and those of draws of the model, (draws,), kT; their medians."""
    data = run.data.test
    u, model = run.system(data.x), run.system(run.model.generate(draws))
    return data, u, model, {"median_energy_kt": model.median().item(), "median_energy_kt_reference": median(data, u)}
