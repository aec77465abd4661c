"""What an objective is: a scalar of model, system and batch."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.model import Model
from predcg.systems import System

# What an objective may learn from, by the field of a batch, and what has it.
FIELDS = {
    "x": "data, and there are none; choose acquisition=simulate, load or exact",
    "z": "collective variables that are asked for, and the data have none; choose acquisition=active",
    "u": "energies of the data, and they have none; choose acquisition=simulate",
    "f": "forces of the data, and they have none; choose acquisition=simulate",
}


class Evaluated(NamedTuple):
    """Draws x ~ q(x|z) whose energy was evaluated.

    z, (N, d); x, (N, D); log_w = -β u(x) - log q(x|z), (N,), float64, -inf without a finite energy.
    """

    z: Tensor
    x: Tensor
    log_w: Tensor


class Terms(NamedTuple):
    """The loss, a scalar to be minimised; what is worth logging beside it; and what was evaluated given z on the way,
    from which other objectives may learn too.
    """

    loss: Tensor
    log: dict[str, Tensor]
    evaluated: Evaluated | None = None


class Objective(nn.Module, ABC):
    """`objective(model, system, batch) -> Terms`.

    The buffer `beta` is the inverse temperature at which the system enters; tempering raises it to 1. In evaluation
    mode (`eval()`: rehearsal and validation) an objective keeps nothing of what it sees and takes no slopes of the
    energy, and one that changes on the way needs what any step of the training may need.

    Attributes:
        needs: fields of a batch that it learns from, see FIELDS; a batch without them is refused.
        evaluates: whether the whole model's draws are to be weighed by their energies once it is trained; one that is
            made of others leaves the answer to `of_energy`.
    """

    needs: frozenset[str] = frozenset()
    evaluates = False

    def __init__(self):
        super().__init__()
        self.register_buffer("beta", torch.ones(()))

    def __call__(self, model: Model, system: System, batch: Batch) -> Terms:
        for field in sorted(self.needs):
            column = getattr(batch, field)
            if column is None or not len(column):
                raise InputError(f"objective: {type(self).__name__} learns from {FIELDS[field]}")
        return super().__call__(model, system, batch)

    @abstractmethod
    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        """The loss on one batch, which has what is needed."""

    def cost(self, batch_size: int) -> float:
        """Energy evaluations of a training step on so many frames, on average."""
        return 0.0

    def observe(self, evaluated: Evaluated) -> None:
        """Be told what another term of the same sum has evaluated; most need not."""

    @property
    def of_energy(self) -> bool:
        """Whether the model is learnt from the energy."""
        return any(part.evaluates for part in self.modules() if isinstance(part, Objective))

    def temper(self, beta: float) -> None:
        """Set the inverse temperature of this objective and of those that it is made of."""
        for objective in self.modules():
            if isinstance(objective, Objective):
                objective.beta.fill_(beta)
