"""In-memory batches without worker processes."""

from collections.abc import Iterator

import torch
from torch.distributed import get_rank, get_world_size, is_available, is_initialized

from predcg.batch import Batch


class Loader:
    """One epoch of `steps` minibatches: shuffled passes over the frames, one after another.

    The order comes from torch's global generator, whose state the checkpoint keeps. Several processes take turns at the
    frames of a pass. Without frames, every step gets the empty batch: objectives of the energy alone need no more.

    Args:
        batch: all frames.
        batch_size: frames per step; the last of a pass may have fewer.
        steps: optimiser steps per epoch.
    """

    def __init__(self, batch: Batch, batch_size: int, steps: int):
        self.batch, self.batch_size, self.steps = batch, batch_size, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        rank, world = (get_rank(), get_world_size()) if is_available() and is_initialized() else (0, 1)
        n, yielded = len(self.batch.x), 0
        while yielded < self.steps:
            order = torch.randperm(n)
            for chunk in order[rank::world].split(self.batch_size) if n else (order,):
                if yielded < self.steps:
                    yield self.batch.frames(chunk)
                    yielded += 1


class Once:
    """The whole of a batch as one step: what validation reads."""

    def __init__(self, batch: Batch):
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch
