"""What the collective variables tell apart."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.runs import needs
from predcg.figures.style import BASINS, NOWHERE, new
from predcg.measures.latent import frames_in_basins, separation
from predcg.measures.runs import grouped, mean_over_seeds, states, variables
from predcg.results import Run
from predcg.systems import System


@needs(System, "training", "data", "variables", by=lambda run: _prior(run))
def latent_map(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Held-out frames in the plane of the first two collective variables, coloured by basin, or by φ and ψ where there
    are no two basins; one row of panels for each prior, the first seed drawn.

    Numbers, means over seeds. Of the frames in a basin: latent_knn_accuracy, how often the basin of a frame is that of
    most of its five nearest others in z, by their weights; latent_recall, the same averaged over basins, so that rare
    ones count as much; latent_between, the share of the variance of z that lies between basins;
    frames_in_no_basin_percent says how many held-out frames these three leave out. Of all held-out frames:
    latent_least_sd, the standard deviation of z along its narrowest axis (1: the variable carries as much as p(z)
    allows, 0: it is not used). Success rates: latent_separate, recall of at least 0.9 and a narrowest axis of at least
    0.5; latent_unused, a narrowest axis below 0.2.
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
        numbers |= mean_over_seeds([separation(run) for run in same], f"_{prior}" if len(groups) > 1 else "")
    return figure, numbers | frames_in_basins(runs[0])


def _prior(run: Run) -> str:
    return type(run.prior).__name__


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
    for axes, degrees, text in zip(panels, run.system.backbone(x).rad2deg().T, run.system.torsions, strict=True):
        points = axes.scatter(
            first, second, c=degrees, s=11, cmap="twilight", vmin=-180, vmax=180, linewidths=0.3, edgecolors="#777777"
        )
        axes.figure.colorbar(points, ax=axes, label=f"{text} (degrees)", ticks=range(-180, 181, 90))
        _named(axes, run, f"{title}\n{len(x)} held-out frames")
