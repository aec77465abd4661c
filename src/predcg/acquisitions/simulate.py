"""Configurations from a simulation, which every run with the same system and sampler shares."""

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from predcg.acquisitions.acquisition import Acquisition, fits, in_basin, positive
from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.files import locked
from predcg.model import Model
from predcg.ranges import PositiveInt
from predcg.samplers import Sampler
from predcg.systems import System

log = logging.getLogger(__name__)


class Simulate(Acquisition):
    """Dynamics from every known basin; each trajectory is cut into blocks, and each block into train and test.

    Both sets so see every part of every trajectory, while only the two frames at each cut are neighbours in time.
    Training frames are ordered by time within their blocks, over all blocks and trajectories, so that a smaller set
    taken from the front is as diverse as it can be.

    Args:
        frames: configurations to learn from, over all replicas.
        test_frames: configurations held out, over all replicas.
        replicas: trajectories; their starting structures cycle through those of the system.
        blocks: blocks per trajectory.
        first: learn from the first so many of `frames` only: nested sets of one simulation; default all.
        basin: the only one of the system's basins that frames are kept of, as from a simulation that never left it;
            default all.
        kept: folder of finished simulations, each under the hash of all it depends on; they are read, never made twice.
    """

    def __init__(
        self,
        frames: PositiveInt,
        test_frames: PositiveInt,
        replicas: PositiveInt,
        blocks: PositiveInt = 5,
        first: PositiveInt | None = None,
        kept: str = "outputs/simulations",
        basin: str | None = None,
    ):
        positive(frames=frames, test_frames=test_frames, replicas=replicas, blocks=blocks)
        self.frames, self.test_frames, self.replicas, self.blocks = frames, test_frames, replicas, blocks
        for name, count in {"frames": frames, "test_frames": test_frames}.items():
            if count % (replicas * blocks):
                raise InputError(
                    f"acquisition.{name}: expected a multiple of replicas x blocks = {replicas * blocks}; found {count}"
                )
        self.first = frames if first is None else first
        if not 1 <= self.first <= frames:
            raise InputError(f"acquisition.first: expected between 1 and frames = {frames}; found {first}")
        self.kept, self.basin = Path(kept), basin

    def acquire(
        self, model: Model, system: System, sampler: Sampler, past: Sequence[Data] = (), folder: Path | None = None
    ) -> Data:
        fits(system, frames=self.frames, test_frames=self.test_frames)
        in_basin(system, system.start(1), self.basin)  # An unknown basin is told before the simulation.
        per_block = (self.frames + self.test_frames) // (self.replicas * self.blocks)
        batch = self._simulate(system, sampler, per_block * self.blocks, folder)
        if batch.beta is not None:  # Of a ladder of temperatures the system's own is learnt from.
            batch = batch.frames(batch.beta == 1)
        # Those earliest in their block come first, over all replicas and blocks.
        order = torch.arange(len(batch)).view(self.replicas, self.blocks, per_block).permute(2, 1, 0).flatten()
        train, test = batch.frames(order[: self.first]), batch.frames(order[self.frames :].sort().values)
        return Data(*(part.frames(in_basin(system, part.x, self.basin)) for part in (train, test)))

    def _simulate(self, system: System, sampler: Sampler, frames: int, folder: Path | None) -> Batch:
        start = system.start(self.replicas)
        if folder is None:
            return sampler.run(system, start, frames)
        settings = f"{system.fingerprint()} {type(sampler).__name__} {sorted(vars(sampler).items())} {frames}"
        kept = self.kept / hashlib.sha256(settings.encode() + start.numpy().tobytes()).hexdigest()[:16]
        with locked(kept.with_suffix(".lock")):  # Of several runs that want it, one makes it.
            if (kept / "frames.npz").exists():
                log.info("simulation: %s", kept)
            batch = sampler.run(system, start, frames, folder=kept)
        if not folder.exists():
            folder.symlink_to(os.path.relpath(kept, folder.parent), target_is_directory=True)
        return batch
