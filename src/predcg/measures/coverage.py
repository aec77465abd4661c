"""What a model of a molecule covers: importance weights, basins and geometry beside a reference simulation."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.importance import Weighted, draw
from predcg.measures.molecule import degrees
from predcg.measures.runs import states
from predcg.measures.weights import block_mean, counts, mean
from predcg.results import Run
from predcg.systems import Molecule
from predcg.systems.chirality import census
from predcg.transforms import InternalCoordinates

BLOCKS = 32  # For errors the reference is cut into so many blocks, in the order of its trajectories.
BINS = 64


class Sample(NamedTuple):
    """Configurations with their φ and ψ in degrees, (N, 2)."""

    batch: Batch
    angles: Tensor

    @classmethod
    def of(cls, system: Molecule, batch: Batch) -> "Sample":
        """Of configurations the angles."""
        return cls(batch, degrees(system, batch.x))

    def first(self, n: int) -> "Sample":
        """The first n of them: maps of unequal numbers of frames end at unequal heights."""
        return Sample(self.batch.frames(slice(n)), self.angles[:n])

    def worth(self, n: float) -> "Sample":
        """The first of them that are worth n equally weighted frames."""
        return self.first(round(n * len(self.batch) / self.batch.effective_size))

    def shares(self) -> np.ndarray:
        """Of the bins of φ and ψ, ψ first."""
        found = counts(self.batch, self.angles.flip(-1), BINS)
        return found / found.sum()


class Simulated(NamedTuple):
    """Both halves of a reference simulation, and the mass of every basin in them with its standard error, from blocks
    of the trajectories.
    """

    train: Sample
    test: Sample
    masses: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, reference: Run) -> "Simulated":
        """Of a run without steps."""
        train, test = (Sample.of(reference.system, batch) for batch in reference.data)
        masses = {}
        for index, name in enumerate(states(reference.system)):
            one = mean(train.batch, reference.system.label(train.batch.x) == index).item()
            other, error = block_mean(test.batch, reference.system.label(test.batch.x) == index, BLOCKS)
            masses[name] = 0.5 * (one + other), error
        return cls(train, test, masses)


class Found(NamedTuple):
    """Weighted draws of the model, the frames of the reference where it has a density with their log-weights, (M,), and
    the numbers.
    """

    weighted: Weighted
    inside: Batch
    above: Tensor
    numbers: dict[str, float]


@torch.no_grad()
def measure(run: Run, simulated: Simulated, draws: int, frames: int, samples: int = 32) -> Found:
    """Weights, basins and geometry of a model beside a simulation: see figures.coverage for the numbers.

    Args:
        draws: of the model.
        frames: of the reference, where log q is computed.
        samples: latent draws in log q, where there is a latent variable.
    """
    train, test, trained_with = simulated.train, simulated.test, int(run.system.evaluations)
    weighted = draw(run.model, run.system, draws, samples)
    model = Sample.of(run.system, Batch.of(weighted.x))
    judged = test.batch.frames(slice(None, None, max(1, len(test.batch) // frames)))
    log_q = torch.cat([run.model.log_prob(x, samples) for x in judged.x.split(2000)])
    inside = log_q.isfinite()
    above, within = (-run.system(judged.x) - log_q)[inside], judged.frames(inside)
    log_z, error = weighted.log_z
    numbers = {
        "effective_sample_size": weighted.effective_sample_size,
        "log_z": log_z,
        "log_z_error": error,
        "elbo_gap": log_z - weighted.log_w[weighted.log_w.isfinite()].double().mean().item(),
        "eubo_gap": mean(within, above).item() - log_z,
        "largest_log_weight": (above[within.w > 0].max() - log_z).item(),
        "outside_percent": 100 * (1 - mean(judged, inside).item()),
    }
    worst, label = 0.0, run.system.label(weighted.x)
    for index, (name, (mass, _)) in enumerate(simulated.masses.items()):
        numbers[f"p_{name}"], numbers[f"p_{name}_error"] = weighted.mean((label == index).double())
        numbers[f"p_{name}_model"] = (label == index).double().mean().item()
        numbers[f"p_{name}_reference"] = numbers[f"p_{name}_model_reference"] = mass
        if mass > 0.001:
            worst = max(worst, 100 * abs(numbers[f"p_{name}"] / mass - 1))
    if simulated.masses:
        numbers["largest_mass_deviation_percent"] = worst
    reweighted = Sample(weighted.batch, model.angles)
    # The fewer the frames, the larger the divergence: all are of as many.
    truth, n = test.shares(), min(train.batch.effective_size, reweighted.batch.effective_size)
    floor = divergence(truth, train.worth(n), n)
    for name, sample in {"ramachandran_kl": reweighted, "ramachandran_kl_model": model}.items():
        numbers[name], numbers[f"{name}_reference"] = divergence(truth, sample.worth(n), n), floor
    numbers["ramachandran_kl_above_floor"] = numbers["ramachandran_kl"] - numbers["ramachandran_kl_reference"]
    numbers["l_percent"] = 100 * census(run.system, weighted.x).all(-1).double().mean().item()
    for name, length_nm, angle in (("tight", 0.01, 10), ("wide", 0.02, 25)):
        numbers[f"{name}_percent"], numbers[f"{name}_percent_reference"] = (
            sane(run.system, batch, length_nm, angle) for batch in (model.batch, test.batch)
        )
        numbers[f"{name}_off_percent"] = abs(numbers[f"{name}_percent"] - numbers[f"{name}_percent_reference"])
    return Found(weighted, within, above, numbers | {"energy_evaluations": trained_with})


def divergence(truth: np.ndarray, sample: Sample, frames: float) -> float:
    """KL of histograms; an empty bin of the sample counts as a tenth of a frame, of so many."""
    least = 0.1 / frames
    other = (sample.shares() + least) / (1 + least * BINS**2)
    filled = truth > 0
    return float((truth[filled] * np.log(truth[filled] / other[filled])).sum())


def sane(system: Molecule, batch: Batch, length_nm: float, angle_degrees: float) -> float:
    """Percentage of configurations with every bond and angle of the Z-matrix this close to the force field's."""
    zmatrix, close = system.zmatrix, []
    internal = InternalCoordinates(system.frame_atoms, zmatrix)
    for observable, centres, tolerance in (
        (internal.distances, zmatrix["bonds"], length_nm),
        (internal.angles, zmatrix["angles"], math.radians(angle_degrees)),
    ):
        close.append(
            ((observable(batch.x) - torch.tensor([centre for centre, _ in centres])).abs() < tolerance).all(-1)
        )
    return 100 * mean(batch, close[0] & close[1]).item()
