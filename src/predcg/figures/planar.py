"""Figures of two-dimensional systems, whose exact answers are known."""

import torch
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from predcg.figures.exact import along, equal, judged, observed, rarest
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.importance import Weighted, draw, log_z_bounds
from predcg.measures.runs import mean_over_seeds
from predcg.results import Run
from predcg.systems import DoubleWell
from predcg.systems.planar import Planar

DRAWS = 20_000
WEIGHTED = 100_000  # for the mass of a basin that the model visits once in a thousand draws
LATENT = 2000  # draws of z in log q along a line
BINS = 40  # per axis, as in the source
UNIT = "(reduced units)"


@needs(DoubleWell, each=True)
def target(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """The system itself: a histogram of exact draws, and its free energy along x1 with both minima and the barrier.

    Numbers: log Z by importance sampling from the uniform density over the system's box; mean and sd of x1 and x2 and
    the mass of both wells in exact draws, beside quadrature; position and energy of both minima, and the height of the
    barrier over the left one, by quadrature.
    """
    system = runs[0].system
    x = system.sample(WEIGHTED)
    low, high = torch.tensor(system.box).T
    uniform = low + (high - low) * torch.rand(WEIGHTED, 2)
    weighted = Weighted(uniform, (high - low).log().sum() - system.energy(uniform))
    numbers = observed(equal(x), system)
    numbers["log_z"], numbers["log_z_error"] = weighted.log_z
    numbers |= {f"{name}_exact": round(value, 12) for name, value in system.exact().items()}

    x1, u = along(system)
    for index, name in enumerate(system.basins):
        inside = system.label(torch.stack([x1, x1], -1)) == index
        numbers[f"minimum_{name}_x1"] = x1[inside][u[inside].argmin()].item()
        numbers[f"minimum_{name}_kt"] = u[inside].min().item()
    at_barrier = (x1 - system.barrier).abs().argmin()
    numbers |= {"barrier_x1": system.barrier, "barrier_kt": (u[at_barrier] - u.min()).item()}

    figure, (plane, axes) = new(2, width=4.4, height=3.4)
    figure.colorbar(histogram(plane, x, system), ax=plane, label="share of draws per bin")
    plane.set_title(f"{WEIGHTED:,} exact draws")
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
def bounds(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Both bounds of log Z during training against the exact value; at the end also what a bound cannot see.

    Numbers: both bounds and the importance-weighted estimate, with errors; mean and sd of x1 and x2 and the mass of
    every basin, each as the model has it and after importance reweighting, beside the exact value; the effective sample
    size of the weights. Means over seeds.
    """
    exact = runs[0].system.exact()
    numbers = mean_over_seeds([_evidence(run, exact) for run in runs])
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


def _evidence(run: Run, exact: dict[str, float]) -> dict[str, float]:
    torch.manual_seed(run.seed)
    numbers = log_z_bounds(run.model, run.system, run.system.sample(DRAWS), DRAWS, samples=16)
    numbers["log_z_gap"] = numbers["log_z_upper"] - numbers["log_z_lower"]
    weighted = draw(run.model, run.system, WEIGHTED, samples=8)
    numbers["log_z"], numbers["log_z_error"] = weighted.log_z
    numbers |= {f"{name}_exact": exact["log_z"] for name in ("log_z", "log_z_lower", "log_z_upper")}
    return numbers | judged(weighted, run.system, exact)


@needs(Planar, "training")
def profile(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """u(x1, 0) against -log q(x1, 0) of every seed, both with minimum 0.

    Numbers, means over seeds: the depth of the right minimum over the left one, and the height of what lies between
    them over the left one.
    """
    x1, u = (values[::4] for values in along(runs[0].system))
    x = torch.stack([x1, torch.zeros_like(x1)], -1).float()
    figure, (axes,) = new(width=4.6)
    heights = []
    for run in runs:
        torch.manual_seed(run.seed)
        with torch.no_grad():
            f = -run.model.log_prob(x, LATENT)
        axes.plot(
            x1, f - f.min(), color=MODEL, linewidth=line(runs), label="-log q(x1, 0), model" if run is runs[0] else None
        )
        heights.append(_heights(x1, f) | {f"{name}_exact": value for name, value in _heights(x1, u).items()})
    axes.plot(x1, u - u.min(), color=EXACT, linestyle=":", label="u(x1, 0)")
    axes.set(xlabel=f"x1 {UNIT}", ylabel="energy, free energy (kT)", ylim=(-0.5, 25))
    axes.legend()
    return figure, mean_over_seeds(heights)


def _heights(x1: torch.Tensor, f: torch.Tensor) -> dict[str, float]:
    left, right = f[x1 <= 0].argmin(), (x1 <= 0).sum() + f[x1 > 0].argmin()
    return {"depth_gap_kt": (f[right] - f[left]).item(), "barrier_kt": (f[left : right + 1].max() - f[left]).item()}


def line(runs: list[Run]) -> float:
    """Width of a line that is one of so many."""
    return 1.4 if len(runs) == 1 else 0.9


def window(system: Planar) -> list[tuple[float, float]]:
    """Limits of x1 and x2 that hold all but a millionth of the density's peak."""
    p = system.probabilities()
    inside = system.grid[p > p.max() * 1e-6]
    return list(zip(inside.min(0).values.tolist(), inside.max(0).values.tolist(), strict=True))


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
