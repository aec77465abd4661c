"""Figures of two-dimensional systems, whose exact answers are known."""

import torch
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.exact import along, rarest
from predcg.measures.planar import answers, evidence, heights, window
from predcg.measures.runs import mean_over_seeds
from predcg.results import Run
from predcg.systems import DoubleWell
from predcg.systems.planar import Planar

BINS = 40  # There are so many per axis, as in the source.
UNIT = "(reduced units)"


@needs(DoubleWell, each=True)
def target(runs: list[Run], draws: int = 100_000) -> tuple[Figure, dict[str, float]]:
    """The system itself: a histogram of exact draws, and its free energy along x1 with both minima and the barrier.

    Numbers: log Z by importance sampling from the uniform density over the system's box; mean and sd of x1 and x2 and
    the mass of both wells in exact draws, beside quadrature; position and energy of both minima, and the height of the
    barrier over the left one, by quadrature.
    """
    system = runs[0].system
    x, numbers = answers(system, draws)
    x1, u = along(system)
    figure, (plane, axes) = new(2, width=4.4, height=3.4)
    figure.colorbar(histogram(plane, x, system), ax=plane, label="share of draws per bin")
    plane.set_title(f"{draws:,} exact draws")
    counts, edges = torch.histogram(x[:, 0].double(), 100)
    enough = counts >= 10
    axes.plot(
        ((edges[1:] + edges[:-1]) / 2)[enough],
        -(counts[enough] / counts.max()).log(),
        ".",
        color=DATA,
        markersize=4,
        label="exact draws",
    )
    axes.plot(x1, u - u.min(), color=EXACT, linewidth=1, label="quadrature")
    for name in system.basins:
        at, height = numbers[f"minimum_{name}_x1"], numbers[f"minimum_{name}_kt"] - u.min().item()
        axes.annotate(
            f"{name}: {numbers[f'p_{name}_exact']:.5f}",
            (at, height),
            (0, -11),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set(xlabel=f"x1 {UNIT}", ylabel="free energy of x1 (kT)", xlim=plane.get_xlim(), ylim=(-2.5, 20))
    axes.set_title(f"log Z = {numbers['log_z_exact']:.4f}; masses of the wells")
    axes.legend(loc="upper center")
    return figure, numbers


@needs(Planar, "training")
def bounds(runs: list[Run], draws: int = 20_000, weighted: int = 100_000) -> tuple[Figure, dict[str, float]]:
    """Both bounds of log Z during training against the exact value; at the end also what a bound cannot see.

    Numbers: both bounds and the importance-weighted estimate, with errors; mean and sd of x1 and x2 and the mass of
    every basin, each as the model has it and after importance reweighting, beside the exact value; the effective sample
    size of the weights. Means over seeds.
    """
    exact = runs[0].system.exact()
    numbers = mean_over_seeds([evidence(run, draws, weighted) for run in runs])
    figure, (axes,) = new(width=5.0)
    for key, colour, text in (
        ("log_z_lower", MODEL, "lower: E over the model"),
        ("log_z_upper", DATA, "upper: E over the system"),
    ):
        for run in runs:
            steps, values = run.column(f"sample/{key}")
            axes.plot(
                steps,
                [value - exact["log_z"] for value in values],
                color=colour,
                label=text if run is runs[0] else None,
                linewidth=line(runs),
            )
    axes.axhline(0, color=EXACT, linestyle=":", label=f"exact log Z = {exact['log_z']:.4f}")
    axes.set_yscale("symlog", linthresh=0.01)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="optimiser step", ylabel="bound - log Z, at β = 1 (nat)")
    if rare := rarest(exact, runs[0].system):
        masses = (
            f"exact {exact[f'p_{rare}']:.5f}, reweighted {numbers[f'p_{rare}']:.5f}, model"
            f" {numbers[f'p_{rare}_model']:.5f}"
        )
        axes.set_title(f"What a bound cannot see: mass of the {rare} basin\n{masses}")
    axes.legend()
    return figure, numbers


@needs(Planar, "training")
def profile(runs: list[Run], latent_draws: int = 2000) -> tuple[Figure, dict[str, float]]:
    """u(x1, 0) against -log q(x1, 0) of every seed, both with minimum 0.

    Numbers, means over seeds: the depth of the right minimum over the left one, and the height of what lies between
    them over the left one.
    """
    x1, u = (values[::4] for values in along(runs[0].system))
    x = torch.stack([x1, torch.zeros_like(x1)], -1).float()
    figure, (axes,) = new(width=4.6)
    measured = []
    for run in runs:
        torch.manual_seed(run.seed)
        with torch.no_grad():
            f = -run.model.log_prob(x, latent_draws)
        axes.plot(
            x1, f - f.min(), color=MODEL, linewidth=line(runs), label="-log q(x1, 0), model" if run is runs[0] else None
        )
        measured.append(heights(x1, f) | {f"{name}_exact": value for name, value in heights(x1, u).items()})
    axes.plot(x1, u - u.min(), color=EXACT, linestyle=":", label="u(x1, 0)")
    axes.set(xlabel=f"x1 {UNIT}", ylabel="energy, free energy (kT)", ylim=(-0.5, 25))
    axes.legend()
    return figure, mean_over_seeds(measured)


def line(runs: list[Run]) -> float:
    """Width of a line that is one of so many."""
    return 1.4 if len(runs) == 1 else 0.9


def histogram(axes: Axes, x: torch.Tensor, system: Planar) -> QuadMesh:
    """Share of draws in each of 40 x 40 bins, logarithmic colour."""
    share = torch.full((len(x),), 1 / len(x))
    _, _, _, image = axes.hist2d(
        *x.T.numpy(),
        bins=BINS,
        range=window(system),
        weights=share,
        norm=LogNorm(share[0].item(), 0.03),
        cmap="viridis",
    )
    axes.set(xlabel=f"x1 {UNIT}", ylabel=f"x2 {UNIT}")
    return image
