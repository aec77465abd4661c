"""How noisy estimates of the reverse KL's gradient are."""

import math
from collections.abc import Iterator

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import grad, vmap

from predcg.densities import sample_with_log_prob
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.model import Model
from predcg.objectives.reverse import read
from predcg.results import Run
from predcg.systems import System
from predcg.systems.planar import Planar

BLOCKS, DRAWS = 20, 250  # independent blocks of draws, for errors; each draw has a row of all weights
STAGES = 10  # snapshots of a run that are looked at
COLOURS = {"score": "#7fa8c9", "baseline": DATA, "reparametrised": MODEL, "path": "#edae49"}


@needs(Planar, "training", "variables", each=True)
def gradient_noise(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Noise √(tr Cov) of one draw's gradient of the reverse KL with respect to the decoder's weights, for four unbiased
    estimators.

    With f = β u + log p(x|z) + log p(z) - log r(z|x): `score` is f ∇log p(x|z) (REINFORCE), `baseline` the same with
    the mean of f over the other draws subtracted from f; `reparametrised` is the derivative of f along x(θ, ε); `path`
    is that less ∇log p(x|z) at fixed x. All are of the same draws, at the β of the time, of snapshots of a run that has
    some, else of its end. Numbers, of the last point: the other noises over the reparametrised one, and the norm of the
    mean gradient.
    """
    stages = [(step, *_noise(model, run.system, beta)) for run in runs for step, model, beta in _stages(run)]
    steps, noises, norms = zip(*stages, strict=True)
    figure, (axes,) = new(width=5.0, height=4.0)
    for name, colour in COLOURS.items():
        axes.plot(
            steps,
            [noise[name].mean().sqrt() for noise in noises],
            color=colour,
            marker=".",
            label=f"noise of one draw, {name}",
        )
    axes.errorbar(steps, *zip(*norms, strict=True), color=EXACT, linestyle=":", marker=".", label="norm of the mean")
    axes.set(
        xlabel="optimiser step",
        ylabel="gradient (nat)",
        yscale="log",
        title="Gradient of the reverse KL with respect to the decoder's weights",
    )
    figure.legend(loc="outside lower center", ncols=2)
    numbers = dict(zip(("gradient_norm", "gradient_norm_error"), norms[-1], strict=True))
    for name in ("score", "baseline", "path"):
        key = f"noise_{name}_over_reparametrised"
        numbers[key], numbers[f"{key}_error"] = _ratio(noises[-1][name], noises[-1]["reparametrised"])
    return figure, numbers


def _stages(run: Run) -> Iterator[tuple[int, Model, float]]:
    """Step, model and β of snapshots at equal distances up to the last, or of the end."""
    if kept := list(run.snapshots):
        every = math.ceil(len(kept) / STAGES)
        for step in kept[::-every][::-1]:
            yield run.snapshot(step)[:3]
    else:
        yield run.history[-1]["step"], run.model, run.column("train/beta")[1][-1]


@torch.no_grad()
def _noise(model: Model, system: System, beta: float) -> tuple[dict[str, Tensor], tuple[float, float]]:
    """Per block the trace of the covariance of each estimator, (BLOCKS,); the norm of the mean gradient and the
    standard deviation of that mean.
    """
    weights = {name: value.detach() for name, value in model.decoder.named_parameters()}

    def along(weights: dict[str, Tensor], z: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x, log_q = read(model.decoder, weights, z, sample_with_log_prob)
        f = beta * system.energy(x) + log_q + model.latent().log_prob(z) - model.encoder(x).log_prob(z)
        return f, (f, x)

    def at_fixed(weights: dict[str, Tensor], z: Tensor, x: Tensor) -> Tensor:
        return read(model.decoder, weights, z, lambda distribution: distribution.log_prob(x))

    traces, means = {name: [] for name in COLOURS}, []
    for _ in range(BLOCKS):
        z = model.latent().sample((DRAWS,))
        rows, (f, x) = vmap(grad(along, has_aux=True), (None, 0), randomness="different")(weights, z)
        total, score = _flat(rows), _flat(vmap(grad(at_fixed), (None, 0, 0))(weights, z, x))
        above = f - (f.sum() - f) / (DRAWS - 1)
        path = total - score
        for name, estimate in zip(COLOURS, (f[:, None] * score, above[:, None] * score, total, path), strict=True):
            traces[name].append(estimate.var(0).sum())
        means.append(path.mean(0))
    noise = {name: torch.stack(values).double() for name, values in traces.items()}
    return noise, (torch.stack(means).mean(0).norm().item(), math.sqrt(noise["path"].mean().item() / (BLOCKS * DRAWS)))


def _flat(rows: dict[str, Tensor]) -> Tensor:
    """Gradients of all draws, (DRAWS, weights)."""
    return torch.cat([values.flatten(1) for values in rows.values()], 1)


def _ratio(one: Tensor, other: Tensor) -> tuple[float, float]:
    """√ of the ratio of two means over blocks, and its standard error by the delta method."""
    root = (one.mean() / other.mean()).sqrt().item()
    return root, 0.5 * root * (one / one.mean() - other / other.mean()).std().item() / math.sqrt(len(one))
