"""What an objective is: a scalar of model, system and batch."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.model import Model
from predcg.systems import System


class Terms(NamedTuple):
    """The loss, a scalar to be minimised, and what is worth logging beside it."""

    loss: Tensor
    log: dict[str, Tensor]


class Objective(nn.Module, ABC):
    """`objective(model, system, batch) -> Terms`.

    The buffer `beta` is the inverse temperature at which the system enters; tempering raises it to 1.

    Attributes:
        evaluates: whether it evaluates energies of the model's own draws; one that is made of others leaves the answer
            to `of_energy`.
    """

    evaluates = False

    def __init__(self):
        super().__init__()
        self.register_buffer("beta", torch.ones(()))

    @abstractmethod
    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        """The loss on one batch."""

    @property
    def of_energy(self) -> bool:
        """Whether something is learnt from the energy."""
        return any(part.evaluates for part in self.modules() if isinstance(part, Objective))

    def temper(self, beta: float) -> None:
        """Set the inverse temperature of this objective and of those that it is made of."""
        for objective in self.modules():
            if isinstance(objective, Objective):
                objective.beta.fill_(beta)


def needs_data(batch: Batch, what: str) -> None:
    """Raise InputError, which says what learns from data, where there are none."""
    if not len(batch):
        raise InputError(
            f"objective: {what} learns from data, and there are none; choose acquisition=simulate, load or exact"
        )
