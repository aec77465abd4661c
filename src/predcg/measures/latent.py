"""What the collective variables tell apart."""

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.measures.runs import states
from predcg.measures.weights import mean, nearest
from predcg.results import Run


@torch.no_grad()
def separation(run: Run, labelled: int = 1500, neighbours: int = 5) -> dict[str, float]:
    """How well z tells the basins of held-out frames apart, and how much of it is used: see figures.latent_map.

    Args:
        labelled: held-out frames in a basin that are judged, evenly taken from all of them.
        neighbours: others in z whose basins judge that of a frame.
    """
    frames = run.data.test
    z, label = run.model.cv(frames.x), run.system.label(frames.x)
    n = frames.effective_size
    apart = z.double() - mean(frames, z)
    covariance = mean(frames, apart.unsqueeze(-1) * apart.unsqueeze(-2)) * (n / (n - 1) if n > 1 else torch.nan)
    least = torch.linalg.eigvalsh(covariance)[0].clamp_min(0).sqrt().item()
    numbers = {"latent_least_sd": least, "latent_unused": float(least < 0.2)}
    if not states(run.system):
        return numbers
    numbers["frames_in_no_basin_percent"] = 100 * mean(frames, label < 0).item()
    inside = (label >= 0).nonzero().flatten()
    inside = inside[:: max(1, len(inside) // labelled)]
    frames, z, label = frames.frames(inside), z[inside], label[inside]
    if len(label) <= neighbours or not frames.w.any():
        return numbers
    found = nearest_label(frames, z, label, neighbours)
    basins = [basin for basin in label.unique() if frames.w[label == basin].any()]
    of_basin = [frames.frames(label == basin) for basin in basins]
    recall = torch.stack(
        [mean(part, found[label == basin] == basin) for part, basin in zip(of_basin, basins, strict=True)]
    )
    centres = torch.stack([mean(part, z[label == basin]) for part, basin in zip(of_basin, basins, strict=True)])
    masses, middle = torch.stack([part.w.double().sum() for part in of_basin]), mean(frames, z)
    between = masses @ (centres - middle).square().sum(-1) / (frames.w.double() @ (z - middle).square().sum(-1))
    recall = recall.mean().item()
    return numbers | {
        "latent_knn_accuracy": mean(frames, found == label).item(),
        "latent_recall": recall,
        "latent_between": between.item(),
        "latent_separate": float(recall >= 0.9 and least >= 0.5),
    }


def nearest_label(frames: Batch, z: Tensor, label: Tensor, neighbours: int) -> Tensor:
    """The label that has most weight among the nearest others of each frame in z, (N,); copies of a frame are no
    others.
    """
    distance = torch.cdist(z, z)
    same = torch.unique(frames.x, dim=0, return_inverse=True)[1]
    distance[same.unsqueeze(-1) == same] = torch.inf
    index, weight = nearest(frames, distance, neighbours)
    votes = weight.new_zeros(len(z), int(label.max()) + 1)
    return votes.scatter_add_(1, label[index], weight).argmax(1)


def frames_in_basins(run: Run) -> dict[str, int]:
    """How many held-out frames are in each basin; of uneven weights, how many their share of the effective size is."""
    frames = run.data.test
    label, n = run.system.label(frames.x), frames.effective_size
    return {
        f"test_frames_{name}": round(n * mean(frames, label == index).item())
        for index, name in enumerate(states(run.system))
    }
