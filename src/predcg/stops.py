"""When rounds end: a rule that sees the model and the data, and never the truth."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from predcg.batch import Data
from predcg.model import Model


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
    def check(self, model: Model) -> None:
        """Raise InputError where the model lacks what the rule reads."""
