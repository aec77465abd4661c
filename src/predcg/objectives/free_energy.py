"""The free energy from weights: what E[w|z] = e^-F(z) says of F."""

import math

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import FreeEnergySplines
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Evaluated, Terms
from predcg.objectives.recording import Recording
from predcg.systems import System

REGIONS = {1: [9], 2: [6, 6]}  # of a box of one or two coordinates; and batches that follow each other: evaluations in
SPAN = 8  # the same of both are equally certain; our choice
SHRINK = 16  # evaluations that all regions together count for in the certainty of one
SPREAD = (0.25, 50.0)  # between which the relative variance of weights is believed
ITERATIONS = 3  # So many iterations of Newton's method follow each new batch, from where the fit was,
FIRST = 30  # and so many where there was none.
STEP = 3.0  # In kT: a coefficient changes at most by this in one iteration.
LARGEST = 30.0  # kT, of log w + F, on either side
TRUNCATED = 4.0  # what w e^F may always be


class FreeEnergyMatching(Recording):
    """Fits the members of latent=free_energy to the weights of all evaluations so far: E[w|z] = e^-F(z), whatever q a
    draw came from.

    Given z, a weight is taken to be gamma distributed with mean e^-F (log link), so that no logarithm of a weight is
    averaged, which would give a bound of F. Member k maximises

        Σ_i a_i g_ik (-w_i e^F(z_i) + F(z_i)) - ½ (θ - θ_k)ᵀ P (θ - θ_k),

    with g_ik ~ Exp(1) (Bayesian bootstrap, Rubin 1981) and θ_k ~ N(0, P⁻¹) a draw of the latent density's prior: where
    there are data the members tell of their noise, where there are none of the prior. a_i = 1 / (e^(2 D) - 1), with D =
    -mean(log w + F) over evaluations of the same time in the same region, the Kullback-Leibler divergence of their q:
    one over the relative variance of log-normal weights. The variance of the weights themselves is too small just where
    q misses tails. w e^F is truncated at ½ √n, n the number of evaluations like this one that all of its region are
    worth, so that what is drawn once in a while does not move F (Ionides 2008, with √n).

    The maximum is found by Newton's method when there is something new, not by the optimiser, to which the loss is 0.
    (The regression is our own; to learn F from weights of a conditional flow: Schopmans and Friederich 2024.)

    Raises:
        InputError: another latent density.

    >>> FreeEnergyMatching().cost(64)
    0.0
    """

    recorded = ("z", "log_w", "batches", "bootstrap")

    def __init__(self):
        super().__init__()
        self.register_buffer("divergence", torch.zeros((), dtype=torch.float64))

    def observe(self, evaluated: Evaluated) -> None:
        n = len(evaluated.z)
        batch = self.batches[-1:] + 1 if len(self.batches) else evaluated.z.new_zeros(1, dtype=torch.long)
        self.record(z=evaluated.z.double(), log_w=evaluated.log_w, batches=batch.repeat(n))

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        latent = model.latent
        if not isinstance(latent, FreeEnergySplines):
            raise InputError(
                "objective: FreeEnergyMatching fits splines; found latent"
                f" {type(latent).__name__}; choose latent=free_energy"
            )
        if self.training and latent.fitted < len(self.z):
            self._fit(latent)
        return Terms(torch.zeros(()), {"divergence": self.divergence})

    @torch.no_grad()
    def _fit(self, latent: FreeEnergySplines) -> None:
        members, anew = len(latent.theta), not latent.fitted
        g = self.z.new_empty(len(self.z) - len(self.bootstrap), members).exponential_()
        self.record(bootstrap=g if members > 1 else torch.ones_like(g))
        if anew:  # The prior leaves the level open.
            latent.theta += math.log(len(self.log_w)) - self.log_w.logsumexp(0) - latent.theta.mean(1, keepdim=True)
        cell = latent.box.cell(self.z, latent.counts)
        for _ in range(FIRST if anew else ITERATIONS):
            f = latent.members(self.z)
            certainty, most = self._certainty(latent, f.mean(0))
            ratio = torch.minimum(self.log_w + f, most).exp()
            latent.theta.copy_(_newton(latent, cell, ratio, certainty * self.bootstrap.T))
        latent.fitted.fill_(len(self.z))
        if members > 1:
            self.divergence.fill_(latent.divergence())

    def _certainty(self, latent: FreeEnergySplines, f: Tensor) -> tuple[Tensor, Tensor]:
        """a_i, (n,), and the largest log(w e^F), (n,), given F at every z."""
        gap = -(self.log_w + f).clamp(-LARGEST, LARGEST)
        counts = REGIONS[latent.box.size]
        time = self.batches.div(SPAN, rounding_mode="floor")
        group = time * math.prod(counts) + latent.box.cell(self.z, counts)
        everywhere, there = (of.bincount().to(gap) for of in (time, group))
        mean = torch.zeros_like(everywhere).index_add(0, time, gap) / everywhere
        total = torch.zeros_like(there).index_add(0, group, gap)
        divergence = (total[group] + SHRINK * mean[time]) / (there[group] + SHRINK)
        certainty = 1 / (2 * divergence).expm1().clamp(*SPREAD)
        region = group % math.prod(counts)
        worth = torch.zeros(math.prod(counts)).to(gap).index_add(0, region, certainty)[region] / certainty
        return certainty, 0.5 * (worth / 4).clamp_min(TRUNCATED**2).log()


def _newton(latent: FreeEnergySplines, cell: Tensor, ratio: Tensor, weight: Tensor) -> Tensor:
    """θ of all members, (K, M), after one iteration, given the cells of evaluations, (n,), and their w e^F and weights,
    (K, n) each. Their slopes are summed cell by cell, and taken to be at its centre.
    """
    theta, (members, size) = latent.theta, latent.theta.shape
    index, value = latent.splines(latent.cells()[0])
    # Between Fisher's information, where w e^F is 1, and the second derivative, where it is itself: from far on either
    # side a step is 2 kT at most.
    pull, curve = (
        theta.new_zeros(members, len(index)).index_add_(1, cell, weight * of) for of in (ratio - 1, 0.5 * (ratio + 1))
    )
    slope = (theta - latent.prior_draws) @ latent.precision
    slope.index_add_(1, index.flatten(), (pull.unsqueeze(-1) * value).flatten(1))
    pairs = (index.unsqueeze(-1) * size + index.unsqueeze(-2)).flatten()
    products = (curve.unsqueeze(-1).unsqueeze(-1) * (value.unsqueeze(-1) * value.unsqueeze(-2))).flatten(1)
    curvature = theta.new_zeros(members, size * size).index_add_(1, pairs, products).view(members, size, size)
    curvature += latent.precision + 1e-8 * torch.eye(size, dtype=theta.dtype, device=theta.device)
    return theta - torch.linalg.solve(curvature, slope.unsqueeze(-1)).squeeze(-1).clamp(-STEP, STEP)
