"""What the decoder makes of the collective variables: torsions along each and over the plane of the first two."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.runs import needs
from predcg.figures.style import BASINS, DATA, MODEL, NOWHERE, new
from predcg.measures.decoding import agreement, torsions, walk
from predcg.measures.runs import states, variables
from predcg.results import Run
from predcg.systems import Molecule

DOTS = 2000  # So many of the held-out frames are drawn.
REACH = 4.0  # Paths and maps reach so many standard deviations of p(z).
TURN = {"ylim": (-180, 180), "yticks": range(-180, 181, 90)}


@needs(Molecule, "backbone", "training", "data", "variables", each=True)
def decoder_walk(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """φ and ψ of the decoded mean along each collective variable from -4 to 4, the others at 0, and its path among the
    held-out frames.

    Numbers: how many basins of the system the 81 decoded means along z1 visit, and how many those along any variable;
    none where the system has no two basins. Drawn are the first three variables.
    """
    run, path = runs[0], torch.linspace(-REACH, REACH, 81)
    angles, numbers = walk(run, path)
    columns = min(angles.shape[1], 3)
    figure, panels = new(columns, rows=2, width=3.6, height=3.1)
    for axis, (curves, plane) in enumerate(zip(panels[:columns], panels[columns:], strict=True)):
        for values, text, colour in zip(angles[:, axis].T, run.system.torsions, (DATA, MODEL), strict=True):
            curves.add_collection(LineCollection(_segments(path, values), colors=colour, label=text))
        curves.set(
            xlabel=f"collective variable z{axis + 1}, others 0",
            ylabel="torsion (degrees)",
            xlim=(-REACH, REACH),
            **TURN,
        )
        curves.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        _held_out(plane, run)
        segments = _segments(*angles[:, axis].T)
        plane.add_collection(LineCollection(segments, colors="white", linewidths=4.2, capstyle="round"))
        line = plane.add_collection(
            LineCollection(
                segments,
                array=path[:-1].repeat(2).numpy(),
                cmap="viridis",
                clim=(-REACH, REACH),
                linewidths=2.4,
                capstyle="round",
            )
        )
        plane.set(
            xlabel=f"{run.system.torsions[0]} (degrees)",
            ylabel=f"{run.system.torsions[1]} (degrees)",
            title=f"decoded along z{axis + 1}",
            xlim=TURN["ylim"],
            xticks=TURN["yticks"],
            **TURN,
        )
    figure.colorbar(line, ax=panels[columns:], label="collective variable along the path")
    figure.legend(
        *plane.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=5,
        markerscale=3,
        title="held-out frames",
        title_fontsize=9,
    )
    return figure, numbers


@needs(Molecule, "backbone", "training", "data", "variables", each=True)
def dihedral_maps(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """φ and ψ of the decoded mean over the plane of the first two collective variables, the others at 0; dots are the
    held-out frames.

    Numbers: the mean of cos(decoded - true) over held-out frames, of each torsion decoded from the frame's own
    variables; 1 is perfect and 0 is chance. Of a single variable the maps do not change upwards.
    """
    run = runs[0]
    size = variables(run)
    axis = np.linspace(-REACH, REACH, 101, dtype=np.float32)
    z = torch.zeros(101, 101, max(size, 2))
    z[..., 1], z[..., 0] = torch.meshgrid(torch.from_numpy(axis), torch.from_numpy(axis), indexing="ij")
    own, numbers = agreement(run)
    maps = torsions(run, z[..., :size])
    dots = np.pad(own.numpy(), ((0, 0), (0, 1)))[:: max(1, len(own) // DOTS), :2]
    figure, panels = new(columns=2, width=3.7, height=3.4)
    for axes, radians, text in zip(panels, maps.unbind(-1), run.system.torsions, strict=True):
        degrees = radians.rad2deg().numpy()
        image = axes.pcolormesh(axis, axis, degrees, cmap="twilight", vmin=-180, vmax=180, rasterized=True)
        for level in range(-180, 180, 45):
            # Contours are drawn around each level by itself, so that the jump from 180 to -180 draws no line of its
            # own.
            above = (degrees - level + 180) % 360 - 180
            style = {"colors": "black" if abs(level) > 90 else "white", "linewidths": 1.6 if level == -180 else 0.7}
            axes.contour(axis, axis, np.where(abs(above) < 90, above, np.nan), levels=[0], **style)
        axes.scatter(*dots.T, s=4, color="white", edgecolors="black", linewidths=0.3)
        axes.set(xlabel="collective variable z1", ylabel="collective variable z2", title=f"{text} of the decoded mean")
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
    figure.colorbar(
        image, ax=panels, label="torsion (degrees); lines every 45, thick at ±180", ticks=range(-180, 181, 45)
    )
    return figure, numbers


def _held_out(axes: Axes, run: Run) -> None:
    """Held-out frames in the Ramachandran plane, coloured by basin."""
    x = run.data.test.x[:: max(1, len(run.data.test.x) // DOTS)]
    degrees = run.system.backbone(x).rad2deg().numpy()
    label = run.system.label(x).numpy() if states(run.system) else np.full(len(x), -1)
    names = states(run.system)
    for index, name in [(-1, "no basin" if names else "all"), *enumerate(names)]:
        colour = BASINS[index % len(BASINS)] if index >= 0 else NOWHERE if names else "#777777"
        axes.scatter(*degrees[label == index].T, s=5, color=colour, linewidths=0, alpha=0.5, label=name)


def _segments(x: Tensor, y: Tensor) -> np.ndarray:
    """The line through n points as 2 (n - 1) segments, from each point on to the next and back to the one before, each
    the short way round.

    They coincide but where an angle in degrees wraps: there one leaves the picture at one side and the other enters at
    the other.

    >>> _segments(torch.tensor([0.0, 1.0]), torch.tensor([170.0, -170.0]))[:, :, 1]
    array([[ 170.,  190.],
           [-190., -170.]], dtype=float32)
    """
    points = torch.stack([x, y], -1).numpy()
    step = (np.diff(points, axis=0) + 180) % 360 - 180
    return np.concatenate(
        [np.stack([points[:-1], points[:-1] + step], 1), np.stack([points[1:] - step, points[1:]], 1)]
    )
