"""What an acquisition is: where the next data come from."""

from abc import ABC, abstractmethod
from pathlib import Path

import torch

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
        _positive(frames=frames, test_frames=test_frames)
        self.frames, self.test_frames = frames, test_frames

    def acquire(self, model: Model, system: System, sampler: Sampler, folder: Path | None = None) -> Data:
        return Data(Batch.of(system.sample(self.frames)), Batch.of(system.sample(self.test_frames)))


class Simulate(Acquisition):
    """Dynamics from every known basin; each trajectory is cut into blocks, and each block into train and test.

    Both sets so see every part of every trajectory, while only the two frames at each cut are neighbours in time.

    Args:
        frames: configurations to learn from, over all replicas.
        test_frames: configurations held out, over all replicas.
        replicas: trajectories; their starting structures cycle through those of the system.
        blocks: blocks per trajectory.
    """

    def __init__(self, frames: int, test_frames: int, replicas: int, blocks: int = 5):
        _positive(frames=frames, test_frames=test_frames, replicas=replicas, blocks=blocks)
        self.frames, self.test_frames, self.replicas, self.blocks = frames, test_frames, replicas, blocks
        for name, count in {"frames": frames, "test_frames": test_frames}.items():
            if count % (replicas * blocks):
                raise InputError(f"acquisition.{name}: expected a multiple of replicas x blocks = {replicas * blocks}; found {count}")

    def acquire(self, model: Model, system: System, sampler: Sampler, folder: Path | None = None) -> Data:
        cuts = self.replicas * self.blocks
        learnt, per_block = self.frames // cuts, (self.frames + self.test_frames) // cuts
        batch = sampler.run(system, system.start(self.replicas), per_block * self.blocks, folder=folder)
        if batch.beta is not None:  # a ladder of temperatures: the system's own is learnt from
            batch = batch.frames(batch.beta == 1)
        block = torch.arange(len(batch.x)).view(cuts, per_block)
        return Data(batch.frames(block[:, :learnt].flatten()), batch.frames(block[:, learnt:].flatten()))


def _positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"acquisition.{name}: expected at least 1; found {count}")
