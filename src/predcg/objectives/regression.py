"""The free energy from the logarithms of mean weights, by least squares."""

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import FreeEnergyNetworks
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives.objective import Evaluated, Terms
from predcg.objectives.recording import Recording
from predcg.ranges import PositiveInt
from predcg.systems import System


class FreeEnergyRegression(Recording):
    """Σ_k mean_i b_ik (F_k(z_i) - y_i)², members k of latent=free_energy_networks, over random places z_i that were
    asked for.

    y_i = -log of the mean of the latest weights at z_i, of which the largest are set to the smallest of them, so that
    no outlier counts; b_ik is how often a bootstrap sample of the places, one for each member, holds place i, on
    average once (Schopmans and Friederich 2024, whose members are trained after the decoder, not along with it).

    Args:
        batch_size: places in each step.
        latest: weights at a place that count.
        clipped: largest of these that are set to the smallest of them.
        every: steps from one look at the weights to the next.

    Raises:
        InputError: another latent density, or a number below 1.

    >>> FreeEnergyRegression().cost(64)
    0.0
    """

    recorded = ("z", "log_w", "places", "labels", "bags")

    def __init__(
        self,
        batch_size: PositiveInt = 64,
        latest: PositiveInt = 30,
        clipped: PositiveInt = 3,
        every: PositiveInt = 50,
    ):
        super().__init__()
        for name, number in {"batch_size": batch_size, "latest": latest, "clipped": clipped, "every": every}.items():
            if number < 1:
                raise InputError(f"objective.{name}: expected at least 1; found {number}")
        self.batch_size, self.latest, self.clipped, self.every = batch_size, latest, clipped, every
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
        if not self.training or not len(self.z):
            return Terms(torch.zeros(()), {"divergence": self.divergence})
        if self.calls % self.every == 0:
            self._look(latent)
        self.calls += 1
        if not len(self.places):
            return Terms(torch.zeros(()), {"divergence": self.divergence})
        chosen = torch.randint(len(self.places), (self.batch_size,), device=self.z.device)
        apart = latent.members(self.places[chosen]) - self.labels[chosen]
        loss = (self.bags[chosen].T * apart.square()).mean(1).sum()
        return Terms(loss, {"divergence": self.divergence, "label_rms": apart.detach().square().mean().sqrt()})

    @torch.no_grad()
    def _look(self, latent: FreeEnergyNetworks) -> None:
        """Make labels of all weights so far; a place is in the bags it was put in at first."""
        places, labels = _labels(self.z, self.log_w, self.latest, self.clipped)
        bags = torch.ones(len(places), len(latent.weights[0]), device=places.device)
        if bags.shape[1] > 1:
            bags = torch.poisson(bags)
            if len(self.places):
                known = (places.unsqueeze(1) == self.places).all(-1)
                old = known.any(1)
                bags[old] = self.bags[known[old].long().argmax(1)]
            self.divergence.fill_(latent.divergence())
        self.places, self.labels, self.bags = places, labels.to(places), bags
        if len(labels):
            latent.level.fill_(labels.mean())


def _labels(z: Tensor, log_w: Tensor, latest: int, clipped: int) -> tuple[Tensor, Tensor]:
    """The different z, (m, d), in order, and the label of each, (m,); without those that have no weight yet."""
    places, group = z.flip(0).unique(dim=0, return_inverse=True)  # The latest comes first.
    order = group.argsort(stable=True)
    counts = group.bincount()
    rank = torch.arange(len(z), device=z.device) - (counts.cumsum(0) - counts)[group[order]]
    table = log_w.new_full((len(places), latest), -torch.inf)
    kept = rank < latest
    table[group[order][kept], rank[kept]] = log_w.flip(0)[order][kept]
    table, counts = table.sort(1, descending=True).values, counts.clamp_max(latest)
    table[:, :clipped] = torch.where(
        (counts > clipped).unsqueeze(1), table[:, clipped - 1 : clipped], table[:, :clipped]
    )
    labels = counts.to(table).log() - table.logsumexp(1)
    return places[labels.isfinite()], labels[labels.isfinite()]
