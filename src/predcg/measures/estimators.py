"""Ways to make a free energy of the same weights, side by side.

Each is `estimate(z, log_w, batches, latent, counts) -> F`, with z, (N, d), log_w = log of e^-u(x) / q(x|z), (N,), the
number of the batch of each, (N,), a latent density whose box, splines and prior are taken, and is left as it is, and
the bins along each coordinate: F = -log of a bin's mean e^-F, (n,), float64, in kT.
"""

import math
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from predcg.densities import FreeEnergySplines
from predcg.densities.splines import Cells
from predcg.errors import InputError
from predcg.measures.bins import BINS, from_counts
from predcg.objectives import FreeEnergyMatching
from predcg.objectives.free_energy import fit, least_squares
from predcg.results import Run

FINE = 3  # points along each side of a bin


def log_mean_exp(z: Tensor, log_w: Tensor, batches: Tensor, latent: FreeEnergySplines, counts: list[int]) -> Tensor:
    """-log of the mean weight in each bin, alone; infinite where there is none.

    >>> latent = FreeEnergySplines(1, [0.0], [1.0], [4])
    >>> z, log_w = torch.tensor([[0.1], [0.2], [0.6]]), torch.tensor([1.0, 3.0, 2.0]).log()
    >>> log_mean_exp(z, log_w, torch.zeros(3), latent, [2]).neg().exp()
    tensor([2.0000, 2.0000], dtype=torch.float64)
    """
    n, cell, log_w = math.prod(counts), latent.box.cell(z, counts), log_w.double()
    most = torch.full((n,), -torch.inf, dtype=torch.float64).scatter_reduce(0, cell, log_w, "amax")
    shift = most.clamp_min(-torch.finfo(torch.float64).max)  # Without a weight there is nothing to shift.
    total = cell.bincount((log_w - shift[cell]).exp(), n)
    return cell.bincount(minlength=n).double().log().nan_to_num(neginf=0.0) - total.log() - shift


def log_least_squares(
    z: Tensor, log_w: Tensor, batches: Tensor, latent: FreeEnergySplines, counts: list[int]
) -> Tensor:
    """The spline nearest to -log w: the mean of logarithms, which is an upper bound of F."""
    cells = Cells(latent.splines, latent.per)
    theta = least_squares(cells, latent.box.cell(z, latent.counts), log_w.double(), latent.precision)
    return _of_bins(latent, theta, counts)


def gamma(z: Tensor, log_w: Tensor, batches: Tensor, latent: FreeEnergySplines, counts: list[int]) -> Tensor:
    """The spline at the maximum of the gamma likelihood, every draw as certain as those of its age and region: that of
    objectives.FreeEnergyMatching.
    """
    return _of_bins(latent, _fitted(z, log_w, batches, latent, True).theta.mean(0), counts)


def gamma_unweighted(z: Tensor, log_w: Tensor, batches: Tensor, latent: FreeEnergySplines, counts: list[int]) -> Tensor:
    """The same with all draws equally certain."""
    return _of_bins(latent, _fitted(z, log_w, batches, latent, False).theta.mean(0), counts)


ESTIMATORS: dict[str, Callable[..., Tensor]] = {
    "log_mean_exp": log_mean_exp,
    "log_least_squares": log_least_squares,
    "gamma_unweighted": gamma_unweighted,
    "gamma": gamma,
}


def compared(run: Run, bins: int = BINS) -> dict[str, Tensor]:
    """Of all that a run has evaluated, the logarithms of the masses of the bins, (bins^d,), by every estimator; 1e-8
    where an estimate is 0. Raises InputError where the run has kept no weights with their batches.
    """
    histories = [part for part in run.objective.modules() if isinstance(part, FreeEnergyMatching)]
    if not histories:
        raise InputError(
            f"figures: estimators are drawn of the weights that objective=conditional has recorded; {run.name} has"
            " none; leave it out"
        )
    told, latent = histories[0], run.model.latent
    counts = [bins] * latent.box.size
    return {
        name: from_counts((-estimate(told.z, told.log_w, told.batches, latent, counts)).softmax(0))
        for name, estimate in ESTIMATORS.items()
    }


def _fitted(z: Tensor, log_w: Tensor, batches: Tensor, latent: FreeEnergySplines, weighted: bool) -> FreeEnergySplines:
    anew = deepcopy(latent)
    anew.fitted.zero_()
    anew.smoothness.fill_(1.0)
    fit(anew, z, log_w, batches, weighted)
    return anew


def _of_bins(latent: FreeEnergySplines, theta: Tensor, counts: list[int]) -> Tensor:
    d = latent.box.size
    f = latent.splines.at(latent.box.cells([FINE * n for n in counts])[0], theta)
    axes = [length for n in counts for length in (n, FINE)]
    points = f.view(axes).permute(*range(0, 2 * d, 2), *range(1, 2 * d, 2)).reshape(math.prod(counts), -1)
    return math.log(points.shape[1]) - (-points).logsumexp(1)
