"""What a latent variable knows of a molecule's torsions, learnt with or without data."""

import torch

from predcg.batch import Batch
from predcg.measures.runs import states
from predcg.measures.weights import mean, nearest
from predcg.observables import Distances
from predcg.results import Run
from predcg.systems.chirality import census


@torch.no_grad()
def knowledge(run: Run, frames: Batch, draws: int, neighbours: int = 20) -> dict[str, float]:
    """How much of φ and ψ of the second half of the frames z explains, by its nearest of the first half; how good the
    molecules are that the model draws: see figures.explained.
    """
    z, angles = run.model.cv(frames.x), run.system.backbone(frames.x)
    waves = torch.cat([angles.sin(), angles.cos()], -1)
    half = len(z) // 2
    known, judged, truth = frames.frames(slice(half)), frames.frames(slice(half, None)), waves[half:].double()
    index, weight = nearest(known, torch.cdist(z[half:], z[:half]), neighbours)
    told = (weight.unsqueeze(-1) * waves[:half][index]).sum(1) / weight.sum(1, keepdim=True)
    left = mean(judged, (truth - told).square()) / mean(judged, (truth - mean(judged, truth)).square())
    numbers = {
        f"r2_{name}": 1 - value.item() for name, value in zip(("sin_φ", "sin_ψ", "cos_φ", "cos_ψ"), left, strict=True)
    }
    numbers["r2_least"] = min(numbers.values())
    x = run.model.generate(draws)
    length = Distances([[a.index, b.index] for a, b in run.system.topology.bonds])
    off = length(x) - mean(frames, length(frames.x)).float()
    numbers["bond_length_error_nm"] = off.mean(0).abs().mean().item()
    numbers["whole_percent"] = 100 * (off.abs() < 0.02).all(-1).double().mean().item()
    numbers["l_percent"] = 100 * census(run.system, x).all(-1).double().mean().item()
    drawn, true = run.system.label(x), run.system.label(frames.x)
    for index, name in enumerate(states(run.system)):
        numbers[f"p_{name}_model"] = (drawn == index).double().mean().item()
        numbers[f"p_{name}_model_reference"] = mean(frames, true == index).item()
    return numbers
