"""The free energy from weights: what E[w|z] = e^-F(z) says of F."""

import math

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import FreeEnergySplines
from predcg.densities.free_energy import CERTAIN
from predcg.densities.splines import Cells
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Evaluated, Terms
from predcg.objectives.recording import Recording
from predcg.ranges import NonNegativeInt, PositiveInt
from predcg.systems import System

REGIONS = {1: [9], 2: [6, 6]}  # of a box of one or two coordinates; and ages, of so many batches at least and so many
SPAN, AGES = 8, 10  # at most: evaluations of the same region and age are equally certain; our choice
SHRINK = 16  # evaluations that all regions together count for in the certainty of one
SPREAD = (CERTAIN, 1e4)  # between which the relative variance of weights is believed
LARGEST = 30.0  # kT, of log w + F, on either side
TRUNCATED = 4.0  # what w e^F may always be
PASSES = 20  # over all evaluations, at most,
SETTLED = 2e-3  # until F changes by less, in kT, root mean square over the evaluations;
ITERATIONS = 30  # of Newton's method in each, at most,
STEP = 3.0  # in kT: where there are data F changes at most by this in one of them.
BELIEF = 16.0  # coefficients that the prior's own precision counts for, where data tell how smooth F is
WIDEST = 1e3  # factor by which they may tell that it is not
SMALL = 1e-9  # of the prior's largest precision: to begin with nothing is known of the level


class FreeEnergyMatching(Recording):
    """Fits latent=free_energy to the weights of all evaluations so far: E[w|z] = e^-F(z), whatever q a draw came from;
    see `fit`.

    The fit is made by Newton's method when there is something new, not by the optimiser, to which the loss is 0. (To
    learn F from weights of a conditional flow: Schopmans and Friederich 2024; the regression is our own.)

    Args:
        every: fresh batches from one fit to the next.
        steps: of a round, whose last one always fits what is new; 0 where every batch is fitted.

    Raises:
        InputError: another latent density, or `every` below 1.

    >>> FreeEnergyMatching().cost(64)
    0.0
    """

    recorded = ("z", "log_w", "batches")

    def __init__(self, every: PositiveInt = 1, steps: NonNegativeInt = 0):
        super().__init__()
        if every < 1:
            raise InputError(f"objective.every: expected at least 1; found {every}")
        self.every, self.steps = every, steps
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("divergence", torch.zeros((), dtype=torch.float64))

    def observe(self, evaluated: Evaluated) -> None:
        z, log_w = evaluated.z.float(), evaluated.log_w.float()
        number = self.batches[-1:] + 1 if len(self.batches) else torch.zeros_like(z[:1, 0], dtype=torch.int32)
        self.record(z=z, log_w=log_w, batches=number.expand(len(z)))

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        latent = model.latent
        if not isinstance(latent, FreeEnergySplines):
            raise InputError(
                "objective: FreeEnergyMatching fits splines; found latent"
                f" {type(latent).__name__}; choose latent=free_energy"
            )
        if self.training:
            self.calls += 1
            if self._due(int(latent.fitted)):
                fit(latent, self.z, self.log_w, self.batches)
                if len(latent.theta) > 1:
                    self.divergence.fill_(latent.divergence())
        return Terms(torch.zeros(()), {"divergence": self.divergence})

    def _due(self, fitted: int) -> bool:
        if fitted == len(self.z):
            return False
        last = self.steps > 0 and int(self.calls) % self.steps == 0
        return last or not fitted or int(self.batches[-1] - self.batches[fitted - 1]) >= self.every


@torch.no_grad()
def fit(latent: FreeEnergySplines, z: Tensor, log_w: Tensor, batches: Tensor, weighted: bool = True) -> None:
    """Fit splines F(z) = Σ_j θ_j b_j(z) to weights whose mean given z is e^-F(z), and give their members the doubt
    about it.

    Given z, a weight is taken to be gamma distributed with mean e^-F and relative variance 1/a (log link), so that no
    logarithm of a weight is averaged, which would give a bound of F. θ maximises, with the precision λ P of the latent
    density's prior,

        Σ_i a_i (-w_i e^F(z_i) + F(z_i)) - ½ λ θᵀ P θ.

    a_i = 1 / (e^(2 D) - 1), with D = -mean(log w + F) over evaluations of the same age in the same region, the
    Kullback-Leibler divergence of their q: one over the relative variance of log-normal weights. The variance of the
    weights themselves is too small just where q misses tails. w e^F is truncated at ½ √n, n the number of evaluations
    like this one that all of its region are worth, so that what is drawn once in a while does not move F (Ionides 2008,
    with √n). How smooth F is, λ, maximises the evidence (MacKay 1992, equation 4.8).

    Members are θ and draws of N(0, H⁻¹ (G + λ P) H⁻¹), H the curvature and G the squared slopes of the single
    evaluations: what draws of the data and of the prior would do to θ (the infinitesimal bootstrap, Efron 1982).
    """
    grid, cell = Cells(latent.splines, latent.per), latent.box.cell(z, latent.counts)
    log_w, theta = log_w.double(), latent.theta.mean(0)
    prior = latent.smoothness * latent.precision
    if not latent.fitted:
        theta = least_squares(grid, cell, log_w, prior)
    group, regions = _alike(latent, z, batches)
    share = cell.bincount(minlength=grid.n).double() / len(z)
    for _ in range(PASSES):
        log_ratio = log_w + latent.splines.at(z, theta)
        certainty, most = _certainty(log_ratio, group, regions)
        if not weighted:
            certainty = torch.full_like(certainty, certainty.mean())
        ratio = torch.minimum(log_ratio, most).exp()
        before, (weight, pull) = theta, (grid.total(cell, of) for of in (certainty, certainty * ratio))
        for _ in range(ITERATIONS):
            # Between Fisher's information, where w e^F is 1, and the second derivative, where it is itself: from far on
            # either side a step is 2 kT at most.
            there = pull * grid(theta - before).exp()
            root = torch.linalg.cholesky(_precision(grid, 0.5 * (there + weight), prior))
            slope = grid.slope(there - weight) + prior @ theta
            step = torch.cholesky_solve(slope.unsqueeze(1), root).squeeze(1)
            change = grid(step)[share > 0].abs().max()
            theta = theta - step * (STEP / change).clamp_max(1)
            if change < SETTLED:
                break
        told = len(theta) - 1 - (torch.cholesky_inverse(root) * prior).sum()
        smoothness = (told + BELIEF) / (theta @ latent.precision @ theta + BELIEF)
        latent.smoothness.copy_(smoothness.clamp(1 / WIDEST, WIDEST))
        prior = latent.smoothness * latent.precision
        if (share @ grid(theta - before).square()).sqrt() < SETTLED:
            break
    scores = torch.linalg.cholesky(_precision(grid, grid.total(cell, (certainty * (ratio - 1)).square()), prior))
    latent.theta.copy_(theta + torch.cholesky_solve(scores @ latent.noise.T, root).T)
    latent.fitted.fill_(len(z))


def least_squares(grid: Cells, cell: Tensor, log_w: Tensor, prior: Tensor) -> Tensor:
    """θ, (M,), at the maximum of -½ Σ_i (log w_i + F(z_i))² - ½ θᵀ P θ: of logarithms, so F is an upper bound.

    What is more than 30 kT below the mean weight is taken to be there.
    """
    known = log_w.isfinite()
    lowest = log_w.logsumexp(0) - math.log(len(log_w)) - LARGEST
    pull = grid.total(cell[known], -log_w[known].clamp_min(lowest))
    return torch.linalg.solve(
        _precision(grid, cell[known].bincount(minlength=grid.n).to(pull), prior), grid.slope(pull)
    )


def _precision(grid: Cells, weight: Tensor, prior: Tensor) -> Tensor:
    return grid.gram(weight) + prior + SMALL * prior.diagonal().max() * torch.eye(len(prior)).to(prior)


def _alike(latent: FreeEnergySplines, z: Tensor, batches: Tensor) -> tuple[Tensor, int]:
    """Which evaluations are of the same age and region, (n,), in the order of age; and how many regions there are."""
    counts = REGIONS[latent.box.size]
    span, regions = max(SPAN, math.ceil((int(batches[-1]) + 1) / AGES)), math.prod(counts)
    return batches.div(span, rounding_mode="floor").long() * regions + latent.box.cell(z, counts), regions


def _certainty(log_ratio: Tensor, group: Tensor, regions: int) -> tuple[Tensor, Tensor]:
    """a_i, (n,), and the largest log(w e^F), (n,), given log(w e^F) of every evaluation."""
    n = (int(group.max()) // regions + 1) * regions
    there, total = group.bincount(minlength=n), group.bincount(-log_ratio.clamp(-LARGEST, LARGEST), n)
    there, total = there.to(total).view(-1, regions), total.view(-1, regions)
    mean = total.sum(1, keepdim=True) / there.sum(1, keepdim=True)
    certainty = 1 / (2 * (total + SHRINK * mean) / (there + SHRINK)).expm1().clamp(*SPREAD)
    worth = (certainty * there).sum(0) / certainty
    most = 0.5 * (worth / 4).clamp_min(TRUNCATED**2).log()
    return certainty.flatten()[group], most.flatten()[group]
