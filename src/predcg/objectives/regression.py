"""The free energy from the logarithms of mean weights, by least squares."""

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import FreeEnergyNetworks
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Evaluated, Terms
from predcg.objectives.recording import Recording
from predcg.ranges import PositiveInt, Share
from predcg.systems import System

TOLD = 20  # The divergence, for which networks see the whole box, is told at every so many looks.


class FreeEnergyRegression(Recording):
    """Σ_k mean_i b_ik (F_k(z_i) - y_i)², members k of latent=free_energy_networks, over random places z_i that were
    asked for.

    y_i = -log of the mean of the latest weights at z_i, of which the largest are set to the smallest of them, so that
    no outlier counts; b_ik is how often a sample of the places, one for each member, holds place i, over its mean
    (Schopmans and Friederich 2024, whose members are trained after the decoder, not along with it). Of a place no more
    is kept than its latest weights.

    Args:
        batch_size: places in each step.
        latest: weights at a place that count.
        clipped: largest of these that are set to the smallest of them.
        every: steps from one look at the weights to the next.
        share: of the places that each member sees, all of them as often; default a bootstrap sample, in which place i
            is so often as a Poisson distribution of mean 1 says.

    Raises:
        InputError: another latent density, or a number out of its range.

    >>> FreeEnergyRegression().cost(64)
    0.0
    """

    recorded = ("z", "log_w", "places", "latest_log_w", "counts", "bags", "labels")

    def __init__(
        self,
        batch_size: PositiveInt = 64,
        latest: PositiveInt = 30,
        clipped: PositiveInt = 3,
        every: PositiveInt = 50,
        share: Share | None = None,
    ):
        super().__init__()
        for name, number in {"batch_size": batch_size, "latest": latest, "clipped": clipped, "every": every}.items():
            if number < 1:
                raise InputError(f"objective.{name}: expected at least 1; found {number}")
        if share is not None and not 0 < share <= 1:
            raise InputError(f"objective.share: expected a number above 0 and at most 1, or none; found {share}")
        self.batch_size, self.latest, self.clipped, self.every = batch_size, latest, clipped, every
        self.share = share
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("divergence", torch.zeros((), dtype=torch.float64))

    def observe(self, evaluated: Evaluated) -> None:
        self.record(z=evaluated.z, log_w=evaluated.log_w)

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        latent = model.latent
        if not isinstance(latent, FreeEnergyNetworks):
            raise InputError(
                "objective: FreeEnergyRegression trains networks; found latent"
                f" {type(latent).__name__}; choose latent=free_energy_networks"
            )
        if not self.training:
            return Terms(torch.zeros(()), {"divergence": self.divergence})
        if self.calls % self.every == 0 and len(self.z):
            self._look(latent)
            if self.calls % (TOLD * self.every) == 0 and len(latent.weights[0]) > 1:
                self.divergence.fill_(latent.divergence())
        self.calls += 1
        known = self.labels.isfinite().nonzero().squeeze(1)
        if not len(known):
            return Terms(torch.zeros(()), {"divergence": self.divergence})
        chosen = known[torch.randint(len(known), (self.batch_size,), device=known.device)]
        apart = latent.members(self.places[chosen]) - self.labels[chosen]
        loss = (self.bags[chosen].T * apart.square()).mean(1).sum()
        return Terms(loss, {"divergence": self.divergence, "label_rms": apart.detach().square().mean().sqrt()})

    @torch.no_grad()
    def _look(self, latent: FreeEnergyNetworks) -> None:
        """Sort what is new into places, and make labels; a place stays in the bags that it was put in at first."""
        before, members = len(self.places), len(latent.weights[0])
        together = torch.cat([self.places, self.z]) if before else self.z
        places, group = together.unique(dim=0, return_inverse=True)
        bags = self._bags(len(places), members).to(places)
        table = self.log_w.new_full((len(places), self.latest), -torch.inf)
        counts = group.new_zeros(len(places))
        if before:
            bags[group[:before]] = self.bags
            table[group[:before]], counts[group[:before]] = self.latest_log_w, self.counts
        self.latest_log_w, self.counts = _latest(table, counts, group[before:], self.log_w)
        self.places, self.bags = places, bags
        self.labels = _labels(self.latest_log_w, self.counts, self.clipped).to(places)
        self.z, self.log_w = self.z[:0], self.log_w[:0]
        if self.labels.isfinite().any():
            latent.level.fill_(self.labels[self.labels.isfinite()].mean())

    def _bags(self, places: int, members: int) -> Tensor:
        if members == 1:
            return torch.ones(places, 1)
        if self.share is None:
            return torch.poisson(torch.ones(places, members))
        return (torch.rand(places, members) < self.share) / self.share


def _latest(table: Tensor, counts: Tensor, group: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
    """The latest weights of each place, (m, latest), the last one first, -inf beyond; and how many they are, (m,).

    Args:
        table, counts: those before.
        group, log_w: places and weights of what has come since, (n,), in order of time.
    """
    latest, group, log_w = table.shape[1], group.flip(0), log_w.flip(0)  # The latest comes first.
    order = group.argsort(stable=True)
    more = group.bincount(minlength=len(table))
    rank = torch.arange(len(group), device=group.device) - (more.cumsum(0) - more)[group[order]]
    # Those before move back by as many as have come, and off the end.
    back = torch.arange(latest, device=group.device) - more.unsqueeze(1)
    table = torch.where(back >= 0, table.gather(1, back.clamp_min(0)), -torch.inf)
    kept = rank < latest
    table[group[order][kept], rank[kept]] = log_w[order][kept]
    return table, (counts + more).clamp_max(latest)


def _labels(table: Tensor, counts: Tensor, clipped: int) -> Tensor:
    """-log of mean weights, the largest of them clipped, (m, latest) to (m,); infinite where all are zero."""
    table = table.sort(1, descending=True).values
    table[:, :clipped] = torch.where(
        (counts > clipped).unsqueeze(1), table[:, clipped - 1 : clipped], table[:, :clipped]
    )
    return counts.to(table).log() - table.logsumexp(1)
