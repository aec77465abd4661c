"""The mass of states under the model itself, raw."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from predcg.importance import log_z_bounds
from predcg.measures.exact import rarest
from predcg.results import Run
from predcg.systems import System

CHUNK = 50_000  # So many draws are made at a time.


def masses(system: System, drawn: Iterable[Tensor]) -> dict[str, float]:
    """Share of draws, given in parts, in every basin, by name."""
    states = len(system.basins)
    counts = sum(torch.bincount(system.label(x) + 1, minlength=states + 1) for x in drawn)
    return dict(zip(system.basins, (counts[1:] / counts.sum()).tolist(), strict=True))


@torch.no_grad()
def drawn(run: Run, draws: int) -> Iterator[Tensor]:
    """Draws of the model, in parts, from the seed of the run."""
    torch.manual_seed(run.seed)
    for _ in range(-(-draws // CHUNK)):
        yield run.model.generate(min(CHUNK, draws))


def four_criteria(run: Run, draws: int, bounded: int) -> dict[str, float]:
    """Mass of the rarest basin over the exact one, mean and sd of x1, both bounds of log Z; success, whether the mass
    is within 20 % and all others within 0.05 of the exact values.

    Args:
        draws: of the model, for mass and moments: of a million the mass of a state that holds 0.8 % is known to 1 %.
        bounded: of model and system, for the bounds.
    """
    parts = list(drawn(run, draws))
    exact, share, x1 = run.system.exact(), masses(run.system, parts), torch.cat([x[:, 0] for x in parts])
    rare = rarest(exact, run.system)
    numbers = {
        "minor_mass_ratio": share[rare] / exact[f"p_{rare}"],
        "mean_x1": x1.mean().item(),
        "sd_x1": x1.std().item(),
    }
    bounds = log_z_bounds(run.model, run.system, run.system.sample(bounded), bounded)
    numbers |= {name: bounds[name] for name in ("log_z_lower", "log_z_upper")}
    known = {"mean_x1": exact["mean_x1"], "sd_x1": exact["sd_x1"]} | dict.fromkeys(
        ("log_z_lower", "log_z_upper"), exact["log_z"]
    )
    good = abs(numbers["minor_mass_ratio"] - 1) <= 0.2 and all(
        abs(numbers[name] - value) <= 0.05 for name, value in known.items()
    )
    return numbers | {"success": float(good)}
