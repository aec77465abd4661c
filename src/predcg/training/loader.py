"""In-memory batches without worker processes."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributed import get_rank, get_world_size, is_available, is_initialized

from predcg.batch import Batch


class Loader:
    """One epoch of `steps` minibatches: shuffled passes over the frames, one after another.

    The order follows from torch's seed; its state is in Lightning's checkpoint. Several processes draw the same order
    and take turns at its frames. Without frames, every step gets the empty batch: objectives of the energy alone need
    no more.

    Where weights are unequal and a step takes fewer frames than there are, a pass is N draws in proportion to the
    weights, and these draws weigh the same (systematic resampling: a frame of k times the mean weight comes up k times,
    give or take one). So the mean of a loss over minibatches is its weighted mean over all frames, which it is not
    where every minibatch normalises its weights for itself.

    Args:
        batch: all frames.
        batch_size: frames per step; the last of a pass may have fewer.
        steps: optimiser steps per epoch.
    """

    def __init__(self, batch: Batch, batch_size: int, steps: int):
        self.batch, self.batch_size, self.steps = batch, batch_size, steps
        self._state = torch.Generator().manual_seed(torch.initial_seed()).get_state()

    def state_dict(self) -> dict[str, Tensor]:
        return {"generator": self._state}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._state = state["generator"]

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        rank, world = (get_rank(), get_world_size()) if is_available() and is_initialized() else (0, 1)
        generator = torch.Generator()
        generator.set_state(self._state)
        n, yielded, w = len(self.batch), 0, self.batch.w.double().cpu()
        resampled = (self.batch_size < n or world > 1) and self.batch.weighted
        upto = w.cumsum(0)
        while yielded < self.steps:
            order = torch.randperm(n, generator=generator)
            if resampled:
                order = torch.searchsorted(
                    upto, (order + torch.rand((), generator=generator, dtype=upto.dtype)) / n * upto[-1]
                ).clamp_max(n - 1)
            for chunk in order[rank::world].split(self.batch_size) if n else (order,):
                if yielded < self.steps:
                    yielded += 1
                    if yielded == self.steps:  # This is said before the last step, since nothing runs after it.
                        self._state = generator.get_state()
                    minibatch = self.batch.frames(chunk)
                    yield replace(minibatch, w=torch.ones_like(minibatch.w)) if resampled else minibatch


class WholeBatch:
    """The whole of a batch as one step: what validation reads."""

    def __init__(self, batch: Batch):
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch
