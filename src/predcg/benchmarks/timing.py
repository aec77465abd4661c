"""Seconds of a call."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def timed(call: Callable) -> float:
    """Of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def fastest(call: Callable, budget_s: float = 0.0) -> float:
    """Of the fastest of as many calls as the budget allows, at least three, after one to warm up."""
    call()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < budget_s:
        times.append(timed(call))
    return min(times)


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """So many threads of torch, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)
