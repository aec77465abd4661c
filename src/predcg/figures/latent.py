"""What the collective variables tell apart."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.runs import needs
from predcg.figures.style import BASINS, NOWHERE, new
from predcg.measures.runs import grouped, mean_over_seeds, states, variables
from predcg.results import Run
from predcg.systems import System

LABELLED = 1500  # held-out frames in a basin that are judged, evenly taken from all of them
NEIGHBOURS = 5


@needs(System, "training", "data", "variables", by=lambda run: _prior(run))
def latent_map(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Held-out frames in the plane of the first two collective variables, coloured by basin, or by φ and ψ where there
    are no two basins; one row of panels for each prior, the first seed drawn.

    Numbers, means over seeds. Of the frames in a basin: latent_knn_accuracy, how often the basin of a frame is that of
    most of its five nearest others in z; latent_recall, the same averaged over basins, so that rare ones count as much;
    latent_between, the share of the variance of z that lies between basins; frames_in_no_basin_percent says how many
    held-out frames these three leave out. Of all held-out frames: latent_least_sd, the standard deviation of z along
    its narrowest axis (1: the variable carries as much as p(z) allows, 0: it is not used). Success rates:
    latent_separate, recall of at least 0.9 and a narrowest axis of at least 0.5; latent_unused, a narrowest axis below
    0.2.
    """
    groups, names = grouped(runs, _prior), states(runs[0].system)
    torsions = not names and getattr(runs[0].system, "backbone", None) is not None
    figure, panels = new(
        columns=2 if torsions else len(groups), rows=len(groups) if torsions else 1, width=4.2, height=3.8
    )
    numbers = {}
    for row, (prior, same) in enumerate(groups.items()):
        title = f"prior: {prior}" if len(groups) > 1 else ""
        if torsions:
            _angles(panels[2 * row : 2 * row + 2], same[0], title)
        else:
            _map(panels[row], same[0], title)
        numbers |= mean_over_seeds([_separation(run) for run in same], f"_{prior}" if len(groups) > 1 else "")
    label = runs[0].system.label(runs[0].data.test.x)
    return figure, numbers | {f"test_frames_{name}": int((label == index).sum()) for index, name in enumerate(names)}


def _prior(run: Run) -> str:
    return type(run.prior).__name__


@torch.no_grad()
def _separation(run: Run) -> dict[str, float]:
    z, label = run.model.cv(run.data.test.x), run.system.label(run.data.test.x)
    least = torch.linalg.eigvalsh(torch.atleast_2d(z.T.cov()))[0].clamp_min(0).sqrt().item()
    numbers = {"latent_least_sd": least, "latent_unused": float(least < 0.2)}
    if not states(run.system):
        return numbers
    numbers["frames_in_no_basin_percent"] = 100 * (label < 0).double().mean().item()
    z, label = z[label >= 0], label[label >= 0]
    z, label = (values[:: max(1, len(label) // LABELLED)] for values in (z, label))
    if len(label) <= NEIGHBOURS:
        return numbers
    distance = torch.cdist(z, z).fill_diagonal_(torch.inf)
    found = label[distance.topk(NEIGHBOURS, largest=False).indices].mode(1).values
    basins = label.unique()
    recall = torch.stack([(found[label == basin] == basin).double().mean() for basin in basins]).mean().item()
    centres = torch.stack([z[label == basin].mean(0) for basin in basins])[
        (label.unsqueeze(-1) == basins).long().argmax(-1)
    ]
    between = ((centres - z.mean(0)).square().sum() / (z - z.mean(0)).square().sum()).item()
    accuracy = (found == label).double().mean().item()
    separate = float(recall >= 0.9 and least >= 0.5)
    return numbers | {
        "latent_knn_accuracy": accuracy,
        "latent_recall": recall,
        "latent_between": between,
        "latent_separate": separate,
    }


def _shown(run: Run) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out frames that are drawn, (n, D), with their first collective variable and the second, or a spread for
    sight.
    """
    x = run.data.test.x[:: max(1, len(run.data.test.x) // 2000)]
    with torch.no_grad():
        z = run.model.cv(x)
    return x, z[:, 0], z[:, 1] if z.shape[-1] > 1 else torch.randn(len(z)) * 0.05


def _named(axes: Axes, run: Run, title: str) -> None:
    second = "collective variable z2" if variables(run) > 1 else "(spread for sight)"
    axes.set(xlabel="collective variable z1", ylabel=second, title=title.strip())


def _map(axes: Axes, run: Run, title: str) -> None:
    x, first, second = _shown(run)
    names = states(run.system)
    label = run.system.label(x) if names else torch.full((len(x),), -1)
    for index, name in [(-1, "no basin"), *enumerate(names)]:
        here, colour = label == index, NOWHERE if index < 0 else BASINS[index % len(BASINS)]
        axes.scatter(
            first[here],
            second[here],
            s=7,
            color=colour,
            label=f"{name} ({int(here.sum())})" if names else None,
            linewidths=0,
            alpha=0.8,
        )
    _named(axes, run, f"{title}\n{len(x)} held-out frames")
    if names:
        axes.legend(markerscale=2, fontsize=8)


def _angles(panels: list[Axes], run: Run, title: str) -> None:
    x, first, second = _shown(run)
    for axes, degrees, text in zip(panels, run.system.backbone(x).rad2deg().T, "φψ", strict=True):
        points = axes.scatter(
            first, second, c=degrees, s=11, cmap="twilight", vmin=-180, vmax=180, linewidths=0.3, edgecolors="#777777"
        )
        axes.figure.colorbar(points, ax=axes, label=f"{text} (degrees)", ticks=range(-180, 181, 90))
        _named(axes, run, f"{title}\n{len(x)} held-out frames")
