"""Weighted averages, deviations and histograms: what they are of frames that come up k times, they are of weights k."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch, Data


def share(batch: Batch) -> Tensor:
    """w / Σ w, (N,), float64."""
    w = batch.w.double()
    return w / w.sum()


def mean(batch: Batch, values: Tensor) -> Tensor:
    """Σ w a / Σ w over configurations: (N, ...) to (...,), float64."""
    w = batch.w.double()
    return torch.tensordot(w, values.double(), 1) / w.sum()


def deviation(batch: Batch, values: Tensor) -> Tensor:
    """√(Σ w (a - mean)² / Σ w · n / (n - 1)), n being the effective size: (N, ...) to (...,), float64."""
    n = batch.effective_size
    return (mean(batch, (values.double() - mean(batch, values)) ** 2) * (n / (n - 1) if n > 1 else math.nan)).sqrt()


def median(batch: Batch, values: Tensor) -> float:
    """The least value that, with all below it, has half of the weight."""
    order = values.argsort()
    upto = batch.w[order].double().cumsum(0)
    return values[order][upto >= 0.5 * upto[-1]][0].item()


def within(batch: Batch, values: Tensor) -> tuple[float, float]:
    """Least and greatest value among configurations that weigh something."""
    there = values[batch.w > 0]
    return there.min().item(), there.max().item()


def histogram(batch: Batch, values: Tensor, edges: np.ndarray) -> np.ndarray:
    """Shares of the bins, of one value per configuration; what falls outside them counts in the total."""
    w = batch.w.double()
    return np.histogram(values.flatten().numpy(), edges, weights=w.numpy())[0] / w.sum().item()


def density(batch: Batch, values: Tensor, edges: np.ndarray) -> np.ndarray:
    """The same as a density."""
    return histogram(batch, values, edges) / np.diff(edges)


def counts(batch: Batch, degrees: Tensor, bins: int) -> np.ndarray:
    """Histogram over the plane of two angles, (N, 2) to (bins, bins), that adds up to the effective size: of equal
    weights the numbers of configurations.
    """
    w = batch.w.double() * (batch.effective_size / batch.w.double().sum())
    return np.histogram2d(*degrees.T.numpy(), bins=bins, range=[[-180, 180]] * 2, weights=w.numpy())[0]


def as_many(batch: Batch) -> int:
    """Draws of a model that are as many as the configurations are worth."""
    return max(round(batch.effective_size), 1)


def nearest(batch: Batch, distance: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Of every row of distances to the configurations, (n, N), the nearest and how much they count, both (n, k): in
    all as much as so many configurations of mean weight, Σ w² / Σ w, of the farthest a part; those infinitely far away
    do not count.
    """
    found = distance.topk(len(batch) if batch.weighted else min(neighbours, len(batch)), largest=False)
    w = torch.where(found.values.isfinite(), batch.w.double()[found.indices], 0.0)
    upto, enough = w.cumsum(-1), neighbours * batch.w.double().sum() / batch.effective_size
    return found.indices, (upto.clamp_max(enough) - (upto - w)).clamp_min(0)


def block_mean(batch: Batch, values: Tensor, blocks: int = 16) -> tuple[float, float]:
    """Mean of a series and its standard error, from the means of as many blocks of it."""
    w, values = batch.w.double(), values.double()
    means = np.array(
        [
            ((weight @ value) / weight.sum()).item()
            for weight, value in zip(w.tensor_split(blocks), values.tensor_split(blocks), strict=True)
            if weight.any()
        ]
    )
    return mean(batch, values).item(), float(means.std(ddof=1) / math.sqrt(len(means)))


def effective_frames(data: Sequence[Data]) -> dict[str, float]:
    """Kish's effective sample sizes of training and of held-out frames, means over runs, where weights are uneven."""
    parts = {"training": [train for train, _ in data], "held_out": [test for _, test in data]}
    return {
        f"effective_frames_{name}": float(np.mean([batch.effective_size for batch in batches]))
        for name, batches in parts.items()
        if any(batch.weighted for batch in batches)
    }
