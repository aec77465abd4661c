"""What the collective variables tell apart."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.style import BASINS, NOWHERE, grouped, mean_over_seeds, new
from predcg.results import Run

LABELLED = 1500  # held-out frames in a basin that are judged, evenly taken from all of them
NEIGHBOURS = 5


def latent_map(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Held-out frames in the plane of the first two collective variables, coloured by basin; one panel for each prior, the first seed drawn.

    Numbers, means over seeds. Of the frames in a basin: latent_knn_accuracy, how often the basin of a frame is that of most of its five
    nearest others in z; latent_recall, the same averaged over basins, so that rare ones count as much; latent_between, the share of the
    variance of z that lies between basins. Of all held-out frames: latent_least_sd, the standard deviation of z along its narrowest axis
    (1: the variable carries as much as p(z) allows, 0: it is not used). Success rates: latent_separate, recall of at least 0.9 and a
    narrowest axis of at least 0.5; latent_unused, a narrowest axis below 0.2.
    """
    groups = grouped(runs, lambda run: type(run.prior).__name__)
    figure, panels = new(len(groups), width=4.2, height=3.8)
    numbers = {}
    for axes, (prior, same) in zip(panels, groups.items(), strict=True):
        _map(axes, same[0], f"prior: {prior}" if len(groups) > 1 else "")
        numbers |= mean_over_seeds([_separation(run) for run in same], f"_{prior}" if len(groups) > 1 else "")
    label = runs[0].system.label(runs[0].data.test.x)
    return figure, numbers | {f"test_frames_{name}": int((label == index).sum()) for index, name in enumerate(runs[0].system.basins)}


@torch.no_grad()
def _separation(run: Run) -> dict[str, float]:
    z, label = run.model.cv(run.data.test.x), run.system.label(run.data.test.x)
    least = torch.linalg.eigvalsh(torch.atleast_2d(z.T.cov()))[0].clamp_min(0).sqrt().item()
    numbers = {"latent_least_sd": least, "latent_unused": float(least < 0.2)}
    z, label = z[label >= 0], label[label >= 0]
    z, label = (values[:: max(1, len(label) // LABELLED)] for values in (z, label))
    if len(label) <= NEIGHBOURS:
        return numbers
    distance = torch.cdist(z, z).fill_diagonal_(torch.inf)
    found = label[distance.topk(NEIGHBOURS, largest=False).indices].mode(1).values
    basins = label.unique()
    recall = torch.stack([(found[label == basin] == basin).double().mean() for basin in basins]).mean().item()
    centres = torch.stack([z[label == basin].mean(0) for basin in basins])[(label.unsqueeze(-1) == basins).long().argmax(-1)]
    between = ((centres - z.mean(0)).square().sum() / (z - z.mean(0)).square().sum()).item()
    accuracy = (found == label).double().mean().item()
    separate = float(recall >= 0.9 and least >= 0.5)
    return numbers | {"latent_knn_accuracy": accuracy, "latent_recall": recall, "latent_between": between, "latent_separate": separate}


def _map(axes: Axes, run: Run, title: str) -> None:
    with torch.no_grad():
        z, label = run.model.cv(run.data.test.x), run.system.label(run.data.test.x)
    thin = max(1, len(z) // 2000)
    z, label = z[::thin], label[::thin]
    for index, name in [(-1, "no basin"), *enumerate(run.system.basins)]:
        here: Tensor = z[label == index]
        colour = NOWHERE if index < 0 else BASINS[index % len(BASINS)]
        second = here[:, 1] if here.shape[-1] > 1 else torch.randn(len(here)) * 0.05
        axes.scatter(here[:, 0], second, s=7, color=colour, label=f"{name} ({len(here)})", linewidths=0, alpha=0.8)
    second_label = "collective variable z2" if z.shape[-1] > 1 else "(spread for sight)"
    axes.set(xlabel="collective variable z1", ylabel=second_label, title=f"{title}\n{len(z)} held-out frames".strip())
    axes.legend(markerscale=2, fontsize=8)
