"""Measures of models of two-dimensional systems, whose exact answers are known."""

import torch
from torch import Tensor

from predcg.importance import Weighted, draw, log_z_bounds
from predcg.measures.exact import along, equal, judged, observed
from predcg.results import Run
from predcg.systems import DoubleWell
from predcg.systems.planar import Planar


def answers(system: DoubleWell, draws: int) -> tuple[Tensor, dict[str, float]]:
    """Exact draws, (draws, 2), and what they, importance sampling from the uniform density over the system's box, and
    quadrature say of the system.
    """
    x = system.sample(draws)
    low, high = torch.tensor(system.box).T
    uniform = low + (high - low) * torch.rand(draws, 2)
    weighted = Weighted(uniform, (high - low).log().sum() - system.energy(uniform))
    numbers = observed(equal(x), system)
    numbers["log_z"], numbers["log_z_error"] = weighted.log_z
    numbers |= {f"{name}_exact": round(value, 12) for name, value in system.exact().items()}

    x1, u = along(system)
    for index, name in enumerate(system.basins):
        inside = system.label(torch.stack([x1, x1], -1)) == index
        numbers[f"minimum_{name}_x1"] = x1[inside][u[inside].argmin()].item()
        numbers[f"minimum_{name}_kt"] = u[inside].min().item()
    at_barrier = (x1 - system.barrier).abs().argmin()
    numbers |= {"barrier_x1": system.barrier, "barrier_kt": (u[at_barrier] - u.min()).item()}
    return x, numbers


def evidence(run: Run, draws: int, weighted: int, samples: int = 16) -> dict[str, float]:
    """Both bounds of log Z, of so many draws of model and system; of more, weighted ones what the model and they say of
    the system, beside its exact answers.

    Args:
        samples: latent draws in log q of the bounds; half of them for the weights.
    """
    exact = run.system.exact()
    torch.manual_seed(run.seed)
    numbers = log_z_bounds(run.model, run.system, run.system.sample(draws), draws, samples)
    numbers["log_z_gap"] = numbers["log_z_upper"] - numbers["log_z_lower"]
    drawn = draw(run.model, run.system, weighted, samples // 2)
    numbers["log_z"], numbers["log_z_error"] = drawn.log_z
    numbers |= {f"{name}_exact": exact["log_z"] for name in ("log_z", "log_z_lower", "log_z_upper")}
    return numbers | judged(drawn, run.system, exact)


def heights(x1: Tensor, f: Tensor) -> dict[str, float]:
    """Of a profile with a minimum on either side of 0 the depth of the right one over the left one, and the height of
    what lies between them over the left one.
    """
    left, right = f[x1 <= 0].argmin(), (x1 <= 0).sum() + f[x1 > 0].argmin()
    return {"depth_gap_kt": (f[right] - f[left]).item(), "barrier_kt": (f[left : right + 1].max() - f[left]).item()}


def window(system: Planar) -> list[tuple[float, float]]:
    """Limits of x1 and x2 that hold all but a millionth of the density's peak."""
    p = system.probabilities()
    inside = system.grid[p > p.max() * 1e-6]
    return list(zip(inside.min(0).values.tolist(), inside.max(0).values.tolist(), strict=True))
