"""How a model of a planar system came to be: measures of its snapshots."""

import torch

from predcg.importance import Weighted
from predcg.measures.exact import along, equal, tempered
from predcg.results import Run
from predcg.systems import DoubleWell

KERNEL = 0.15  # A Gaussian of this standard deviation smooths the densities of the valley.


def stages(run: Run, most: int = 7) -> list[int]:
    """Steps of at most five snapshots of the tempering, and of as many after it as make `most`."""
    betas = _betas(run)
    during = thin([step for step, beta in betas.items() if beta < 1], 5)
    return during + thin([step for step, beta in betas.items() if beta == 1], most - len(during))


def _betas(run: Run) -> dict[int, float]:
    return {step: run.snapshot(step).beta for step in run.snapshots}


def modes(run: Run, draws: int) -> dict[str, float]:
    """Of the last snapshot at the first β and of the last of all: mass of the right well, and the valley, the density
    at the barrier over that at the right minimum, beside what is exact at their β.
    """
    betas, numbers = _betas(run), {}
    first = list(betas.values()).count(min(betas.values())) - 1
    for name, step in (("first", list(betas)[first]), ("last", list(betas)[-1])):
        torch.manual_seed(run.seed)
        snapshot = run.snapshot(step)
        for kind, drawn in (
            ("", equal(snapshot.model.generate(draws))),
            ("_exact", tempered(run.system, snapshot.beta)),
        ):
            numbers[f"p_right_{name}{kind}"] = drawn.mean((run.system.label(drawn.x) == 1).double())[0]
            numbers[f"valley_{name}{kind}"] = _valley(drawn, run.system)
    return numbers


def _valley(drawn: Weighted, system: DoubleWell) -> float:
    x1, u = along(system)
    right = x1[x1 > system.barrier][u[x1 > system.barrier].argmin()]
    at_barrier, at_minimum = (
        drawn.mean((-(((drawn.x[:, 0] - at) / KERNEL) ** 2) / 2).exp())[0] for at in (system.barrier, right)
    )
    return at_barrier / max(at_minimum, 1 / len(drawn.x))  # of a lost well as of one draw


def thin(steps: list[int], most: int) -> list[int]:
    """At most so many of them, evenly, the last included.

    >>> thin([10, 20, 30, 40, 50], 3)
    [10, 30, 50]
    """
    if len(steps) <= most:
        return steps
    return [steps[round(index * (len(steps) - 1) / (most - 1))] for index in range(most)]
