"""When rounds end: a rule that sees the model and the data, and never the truth."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from predcg.batch import Data
from predcg.densities import FreeEnergy
from predcg.densities.free_energy import check_reachable
from predcg.errors import InputError
from predcg.model import Model
from predcg.ranges import PositiveFloat


class Stop(ABC):
    """`stop(model, past) -> bool`: whether the round that has just been trained was the last."""

    @abstractmethod
    def __call__(self, model: Model, past: Sequence[Data]) -> bool:
        """Whether to stop.

        Args:
            model: as this round has left it.
            past: what was acquired in each round, this one's last.
        """

    @abstractmethod
    def check(self, model: Model, evaluations: int) -> None:
        """Raise InputError where the model lacks what the rule reads, or where it can never hold.

        Args:
            model: untrained.
            evaluations: of energies in all rounds together.
        """


class Resolved(Stop):
    """No doubt is left about a free energy: wherever F is below `below` its members differ by less than `doubt`, and
    the divergence of e^-F from the truth that they predict is less than `divergence`.

    Args:
        doubt: kT.
        below: kT above the lowest F.
        divergence: nat; default any.
    """

    def __init__(self, doubt: PositiveFloat, below: PositiveFloat, divergence: PositiveFloat | None = None):
        self.doubt, self.below, self.divergence = doubt, below, divergence

    def check(self, model: Model, evaluations: int) -> None:
        if not isinstance(model.latent, FreeEnergy):
            raise InputError(
                "stop: resolved reads the doubt of latent=free_energy; found latent"
                f" {type(model.latent).__name__}; choose stop=none"
            )
        model.latent.doubt(model.latent.cells()[0][:1])  # A single member has no doubt: this raises.
        check_reachable("stop.doubt", self.doubt, evaluations)

    def __call__(self, model: Model, past: Sequence[Data]) -> bool:
        z, _ = model.latent.cells()
        with torch.no_grad():
            f = model.latent.potential(z)
            known = bool(model.latent.doubt(z[f - f.min() < self.below]).max() < self.doubt)
        return known and (self.divergence is None or model.latent.divergence() < self.divergence)
