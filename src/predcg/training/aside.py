"""Random numbers for what happens beside the training."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def aside(name: str, step: int) -> Iterator[None]:
    """Inside, torch draws from a stream of its own, which follows from the training's seed, the name of what draws, and
    the step.

    So what is looked at along the way, and how often, changes nothing of the training.

    >>> drawn = []
    >>> for looks in (0, 3):
    ...     _ = torch.manual_seed(1)
    ...     for step in range(looks):
    ...         with aside("look", step):
    ...             _ = torch.rand(5)
    ...     drawn.append(torch.rand(()).item())
    >>> drawn[0] == drawn[1]
    True
    """
    seed = hashlib.sha256(f"{torch.initial_seed()} {name} {step}".encode()).digest()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int.from_bytes(seed[:7], "big"))
        yield
