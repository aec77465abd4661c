"""What an acquisition is: where the next data come from."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.model import Model
from predcg.ranges import PositiveInt
from predcg.samplers import Sampler
from predcg.systems import System


class Acquisition(ABC):
    """`acquisition.acquire(model, system, sampler, past, folder) -> Data`.

    It has no state of its own: what it needs it takes from the model and from the past, so that a run which was killed
    goes on as if it had not been. What must outlive a kill on the way is kept in the folder.

    Attributes:
        of_target: whether its frames, with their weights, are those of the system's distribution.
    """

    of_target = True

    @abstractmethod
    def acquire(
        self, model: Model, system: System, sampler: Sampler, past: Sequence[Data] = (), folder: Path | None = None
    ) -> Data:
        """New frames to learn from and new frames held out.

        Args:
            model: as the last round has left it; in the first round untrained.
            system, sampler: what is simulated, and how; the sampler's seed is that of the round.
            past: what was acquired in each round before, the first round first.
            folder: of what must outlive a kill; None keeps nothing.
        """

    def check(self, model: Model, evaluations: int) -> None:
        """Raise InputError on what can never be, before anything costs; most need not.

        Args:
            model: untrained.
            evaluations: of energies in all rounds together.
        """
        return


class NoData(Acquisition):
    """No data: the energy is all there is."""

    of_target = False

    def acquire(
        self, model: Model, system: System, sampler: Sampler, past: Sequence[Data] = (), folder: Path | None = None
    ) -> Data:
        empty = Batch.of(system.masses.new_empty(0, system.size))
        return Data(empty, empty)


class Exact(Acquisition):
    """Independent exact draws, for systems that can make them.

    Args:
        frames: configurations to learn from.
        test_frames: configurations held out.
        basin: the only one of the system's basins that they come from, as from a simulation that never left it; default
            all.
    """

    def __init__(self, frames: PositiveInt, test_frames: PositiveInt, basin: str | None = None):
        positive(frames=frames, test_frames=test_frames)
        self.frames, self.test_frames, self.basin = frames, test_frames, basin

    def acquire(
        self, model: Model, system: System, sampler: Sampler, past: Sequence[Data] = (), folder: Path | None = None
    ) -> Data:
        fits(system, frames=self.frames, test_frames=self.test_frames)
        return Data(Batch.of(self._sample(system, self.frames)), Batch.of(self._sample(system, self.test_frames)))

    def _sample(self, system: System, n: int) -> Tensor:
        x = system.masses.new_empty(0, system.size)
        while len(x) < n:
            drawn = system.sample(n)
            x = torch.cat([x, drawn[in_basin(system, drawn, self.basin)]])
        return x[:n]


def in_basin(system: System, x: Tensor, basin: str | None) -> Tensor:
    """Which configurations, (N, D), are in the named basin, (N,); all where none is named. Raises InputError on an
    unknown name.
    """
    if basin is None:
        return torch.ones(len(x), dtype=torch.bool)
    if basin not in system.basins:
        raise InputError(f"acquisition.basin: expected one of {', '.join(system.basins) or 'none'}; found {basin!r}")
    return system.label(x) == system.basins.index(basin)


def asked(model: Model, z: Tensor, test_fraction: float) -> Data:
    """The z that are asked for, in random order and with configurations that have them, and those held out."""
    z = z[torch.randperm(len(z))]
    cut = len(z) - round(test_fraction * len(z))
    return Data(*(Batch(model.decode(part), z=part) for part in (z[:cut], z[cut:])))


def fits(system: System, **counts: int) -> None:
    """Raise InputError, before any is made, where so many configurations of a system, with forces and a copy of both,
    need more memory than the machine has: it would be used up long before an error.
    """
    most, name = max((count, name) for name, count in counts.items())
    needed, there = 16 * system.size * sum(counts.values()), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise InputError(
            f"acquisition.{name}: expected configurations that fit into {there / 1e9:.3g} GB of memory; found"
            f" {most}, for {needed / 1e9:.3g} GB; choose fewer"
        )


def positive(**counts: int) -> None:
    """Raise InputError on a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"acquisition.{name}: expected at least 1; found {count}")
