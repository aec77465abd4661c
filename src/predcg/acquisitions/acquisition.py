"""What an acquisition is: where the next data come from."""

from abc import ABC, abstractmethod
from pathlib import Path

from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.model import Model
from predcg.samplers import Sampler
from predcg.systems import System


class Acquisition(ABC):
    """`acquisition.acquire(model, system, sampler, folder) -> Data`; what must outlive a kill is kept in the folder."""

    @abstractmethod
    def acquire(self, model: Model, system: System, sampler: Sampler, folder: Path | None = None) -> Data:
        """Frames to learn from and frames held out."""


class Nothing(Acquisition):
    """No data: the energy is all there is."""

    def acquire(self, model: Model, system: System, sampler: Sampler, folder: Path | None = None) -> Data:
        empty = Batch.of(system.masses.new_empty(0, system.size))
        return Data(empty, empty)


class Exact(Acquisition):
    """Independent exact draws, for systems that can make them.

    Args:
        frames: configurations to learn from.
        test_frames: configurations held out.
    """

    def __init__(self, frames: int, test_frames: int):
        positive(frames=frames, test_frames=test_frames)
        self.frames, self.test_frames = frames, test_frames

    def acquire(self, model: Model, system: System, sampler: Sampler, folder: Path | None = None) -> Data:
        return Data(Batch.of(system.sample(self.frames)), Batch.of(system.sample(self.test_frames)))


def positive(**counts: int) -> None:
    """Raise InputError on a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"acquisition.{name}: expected at least 1; found {count}")
