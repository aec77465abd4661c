"""What a model learnt from the energy alone knows of its molecule: its own draws, as they are and reweighted."""

from typing import NamedTuple

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.importance import DRAWS, Weighted
from predcg.measures.runs import states
from predcg.measures.weights import block_mean, mean
from predcg.results import Run


class Found(NamedTuple):
    """Draws of the model, simulated frames, none where there are none, with their log-weights, (M,), and the numbers
    of both.
    """

    weighted: Weighted
    simulated: Batch
    above: Tensor
    numbers: dict[str, float]


@torch.no_grad()
def find(run: Run, samples: int = 32) -> Found:
    """What the draws in the run folder and the frames of its simulation say of model and target.

    Args:
        samples: latent draws in log q of simulated frames, where there is a latent variable.
    """
    weighted, frames = Weighted.load(run.folder / DRAWS), _simulated(run)
    numbers = {
        "effective_sample_size": weighted.effective_sample_size,
        "effective_sample_size_error": weighted.effective_sample_size_error,
    }
    for name, (value, error) in {"log_z": weighted.log_z, "log_z_lower": weighted.lower_bound}.items():
        numbers |= {name: value, f"{name}_error": error}
    above = weighted.log_w[:0]
    if frames is not None:
        above = -frames.u - torch.cat([run.model.log_prob(x, samples) for x in frames.x.split(2000)])
        if above.isfinite().all():  # A frame where the model has no density leaves no bound.
            numbers["log_z_upper"], numbers["log_z_upper_error"] = block_mean(frames, above)
    label = run.system.label(weighted.x)
    for index, name in enumerate(states(run.system)):
        there = (label == index).double()
        for key, drawn in {
            f"p_{name}": weighted,
            f"p_{name}_model": Weighted(weighted.x, torch.zeros_like(weighted.log_w)),
        }.items():
            numbers[key], numbers[f"{key}_error"] = drawn.mean(there)
            if frames is not None:
                numbers[f"{key}_reference"] = mean(frames, run.system.label(frames.x) == index).item()
    return Found(weighted, Batch.of(weighted.x[:0]) if frames is None else frames, above, numbers)


def _simulated(run: Run) -> Batch | None:
    """Frames of the run's simulation at β = 1 that were not learnt from, at most as many as there are draws; also where
    those learnt from are of one basin.
    """
    path = run.folder / "simulation/frames.npz"
    if not path.is_file():
        return None
    frames = Batch.load(path)
    own = ~torch.isin(frames.x[:, 0], run.data.train.x[:, 0]) & (True if frames.beta is None else frames.beta == 1)
    frames = frames.frames(own)
    return frames.frames(slice(None, None, max(1, len(frames.x) // 10_000)))
