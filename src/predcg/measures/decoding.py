"""What the decoder makes of the collective variables."""

import torch
from torch import Tensor

from predcg.measures.runs import states, variables
from predcg.measures.weights import mean
from predcg.results import Run


@torch.no_grad()
def torsions(run: Run, z: Tensor) -> Tensor:
    """φ and ψ of decoded means in rad, (..., d) to (..., 2)."""
    return run.system.backbone(run.model.decode(z))


@torch.no_grad()
def walk(run: Run, path: Tensor) -> tuple[Tensor, dict[str, int]]:
    """φ and ψ in degrees along each collective variable, the others at 0, (n,) to (n, d, 2); how many basins the path
    along z1 visits, and how many those along any variable, none where the system has no two.
    """
    x = run.model.decode(path[:, None, None] * torch.eye(variables(run)))
    label = run.system.label(x)
    visited = {"basins_on_z1_path": label[:, 0], "basins_on_all_paths": label}
    return run.system.backbone(x).rad2deg(), {
        name: len(set(labels.flatten().tolist()) - {-1}) for name, labels in visited.items() if states(run.system)
    }


@torch.no_grad()
def agreement(run: Run) -> tuple[Tensor, dict[str, float]]:
    """Collective variables of held-out frames, (N, d); the mean of cos(decoded - true) of φ and ψ over these frames."""
    frames = run.data.test
    z = run.model.cv(frames.x)
    found = mean(frames, (torsions(run, z) - run.system.backbone(frames.x)).cos())
    return z, {f"{name}_agreement": value.item() for name, value in zip(("phi", "psi"), found, strict=True)}
