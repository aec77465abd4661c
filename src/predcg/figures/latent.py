"""What the collective variables tell apart."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.style import BASINS, NOWHERE, new
from predcg.results import Run


def latent_map(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Held-out frames in the plane of the first two collective variables, coloured by basin.

    Numbers: accuracy of the basin label of held-out frames by their nearest training frame in z, with its binomial
    error, over the frames that are in a basin; how many of those each basin has.
    """
    run = runs[0]
    with torch.no_grad():
        z_train, z_test = run.model.cv(run.data.train.x), run.model.cv(run.data.test.x)
    label_train, label_test = run.system.label(run.data.train.x), run.system.label(run.data.test.x)
    numbers = {f"test_frames_{name}": int((label_test == index).sum()) for index, name in enumerate(run.system.basins)}
    right = _nearest_label(z_train[label_train >= 0], label_train[label_train >= 0], z_test[label_test >= 0]) == label_test[label_test >= 0]
    if len(right):
        accuracy = right.double().mean().item()
        numbers["latent_knn_accuracy"] = accuracy
        numbers["latent_knn_accuracy_error"] = (accuracy * (1 - accuracy) / len(right)) ** 0.5
    figure, (axes,) = new(width=4.4, height=3.8)
    for index, name in [(-1, "no basin"), *enumerate(run.system.basins)]:
        here = z_test[label_test == index]
        colour = NOWHERE if index < 0 else BASINS[index % len(BASINS)]
        second = here[:, 1] if here.shape[-1] > 1 else torch.randn(len(here)) * 0.05
        axes.scatter(here[:, 0], second, s=7, color=colour, label=f"{name} ({len(here)})", linewidths=0, alpha=0.8)
    second_label = "collective variable z2" if z_test.shape[-1] > 1 else "(spread for sight)"
    axes.set(xlabel="collective variable z1", ylabel=second_label, title=f"{len(z_test)} held-out frames")
    axes.legend(markerscale=2, fontsize=8)
    return figure, numbers


def _nearest_label(z: Tensor, label: Tensor, queries: Tensor) -> Tensor:
    """The label of the nearest z to each query; -1 everywhere when there is none."""
    if not len(z):
        return torch.full((len(queries),), -1)
    return label[torch.cdist(queries, z).argmin(1)]
