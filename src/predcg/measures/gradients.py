"""How noisy estimates of the reverse KL's gradient are: see figures.gradients for the estimators."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.func import grad, vmap

from predcg.densities import sample_with_log_prob, with_weights
from predcg.model import Model
from predcg.results import Run
from predcg.systems import System

ESTIMATORS = ("score", "baseline", "reparametrised", "path")


def during(run: Run, stages: int) -> Iterator[tuple[int, Model, float]]:
    """Step, model and β of so many snapshots at equal distances up to the last, or of the end."""
    if kept := list(run.snapshots):
        every = math.ceil(len(kept) / stages)
        for step in kept[::-every][::-1]:
            yield run.snapshot(step)[:3]
    else:
        yield run.history[-1]["step"], run.model, run.column("train/beta")[1][-1]


@torch.no_grad()
def noise(
    model: Model, system: System, beta: float, blocks: int, draws: int
) -> tuple[dict[str, Tensor], tuple[float, float]]:
    """Per independent block of draws the trace of the covariance of each estimator, (blocks,); the norm of the mean
    gradient and the standard deviation of that mean. Each draw has a row of all weights in memory.
    """
    weights = {name: value.detach() for name, value in model.decoder.named_parameters()}

    def along(weights: dict[str, Tensor], z: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x, log_q = with_weights(model.decoder, weights, z, sample_with_log_prob)
        f = beta * system.energy(x) + log_q + model.latent().log_prob(z) - model.encoder(x).log_prob(z)
        return f, (f, x)

    def at_fixed(weights: dict[str, Tensor], z: Tensor, x: Tensor) -> Tensor:
        return with_weights(model.decoder, weights, z, lambda distribution: distribution.log_prob(x))

    traces, means = {name: [] for name in ESTIMATORS}, []
    for _ in range(blocks):
        z = model.latent().sample((draws,))
        rows, (f, x) = vmap(grad(along, has_aux=True), (None, 0), randomness="different")(weights, z)
        total, score = _flat(rows), _flat(vmap(grad(at_fixed), (None, 0, 0))(weights, z, x))
        above = f - (f.sum() - f) / (draws - 1)
        path = total - score
        for name, estimate in zip(ESTIMATORS, (f[:, None] * score, above[:, None] * score, total, path), strict=True):
            traces[name].append(estimate.var(0).sum())
        means.append(path.mean(0))
    found = {name: torch.stack(values).double() for name, values in traces.items()}
    return found, (torch.stack(means).mean(0).norm().item(), math.sqrt(found["path"].mean().item() / (blocks * draws)))


def _flat(rows: dict[str, Tensor]) -> Tensor:
    """Gradients of all draws, (draws, weights)."""
    return torch.cat([values.flatten(1) for values in rows.values()], 1)


def root_ratio(one: Tensor, other: Tensor) -> tuple[float, float]:
    """√ of the ratio of two means over blocks, and its standard error by the delta method."""
    root = (one.mean() / other.mean()).sqrt().item()
    return root, 0.5 * root * (one / one.mean() - other / other.mean()).std().item() / math.sqrt(len(one))
