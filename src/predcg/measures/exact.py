"""What draws of a planar system say, beside what quadrature says: the same averages of weighted points."""

import math

from torch import Tensor, stack, zeros, zeros_like

from predcg.importance import Weighted
from predcg.systems.planar import Planar


def along(system: Planar) -> tuple[Tensor, Tensor]:
    """x1 and u(x1, 0) where there is mass, (n,), float64."""
    x1 = system.grid[:, 0].unique()
    p = system.probabilities().view(len(x1), -1).sum(1)
    x1 = x1[p > p.max() * 1e-9]
    return x1, system.energy(stack([x1, zeros_like(x1)], -1))


def equal(x: Tensor) -> Weighted:
    """Draws of equal weight."""
    return Weighted(x, zeros(len(x)))


def tempered(system: Planar, beta: float) -> Weighted:
    """p_β as weighted points of a grid, for exact answers at any β; finer in x1, which labels basins."""
    found = system.quadrature(beta, points=(3200, 200))
    return Weighted(found.grid, found.log_weights)


def observed(drawn: Weighted, system: Planar, suffix: str = "") -> dict[str, float]:
    """Mean and sd of x1 and x2 and the mass of every basin, each with its standard error."""
    found = {}
    for axis, values in enumerate(drawn.x.double().unbind(-1), 1):
        found[f"mean_x{axis}"] = mean, _ = drawn.mean(values)
        variance, error = drawn.mean((values - mean) ** 2)
        sd = math.sqrt(variance)
        found[f"sd_x{axis}"] = sd, sd and error / (2 * sd)
    label = system.label(drawn.x)
    found |= {f"p_{name}": drawn.mean((label == index).double()) for index, name in enumerate(system.basins)}
    return {
        f"{name}{suffix}{kind}": number
        for name, both in found.items()
        for kind, number in zip(("", "_error"), both, strict=True)
    }


def judged(drawn: Weighted, system: Planar, exact: dict[str, float]) -> dict[str, float]:
    """What is observed with the weights, and without them as <name>_model, beside the exact values; the effective
    sample size.
    """
    numbers = (
        observed(drawn, system)
        | observed(equal(drawn.x), system, "_model")
        | {"effective_sample_size": drawn.effective_sample_size}
    )
    return numbers | {
        f"{name}{kind}_exact": round(value, 12)
        for name, value in exact.items()
        for kind in ("", "_model")
        if f"{name}{kind}" in numbers
    }


def rarest(exact: dict[str, float], system: Planar) -> str | None:
    """Name of the basin of least mass, where there are basins."""
    return min(system.basins, key=lambda name: exact[f"p_{name}"], default=None)
