"""Figures of the Ising chain over its field: what is learnt, and what that predicts beside the exact answers."""

import numpy as np
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import BASINS, DATA, EXACT, MODEL, new
from predcg.measures.ising import by_method, by_setting, identity, method, over_field, setting
from predcg.results import Run
from predcg.systems import IsingChain

FIELD = "field μ"
COLOURS = (MODEL, DATA, *BASINS[3:], "#7b5ea7", "#8d8d8d")


@needs(IsingChain, "training", "claim", by=lambda run: identity(run)[:2])
def spin_parameters(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Coupling θ_1 and agreement θ_cf against the field, with sampled and with exactly summed coarse spins, means over
    seeds with standard errors.

    Numbers: both parameters at every |μ|; z, the largest difference between sampled and summed, in its standard error
    over seeds and both signs of μ, which have the same data; z of the symmetry in μ; rising, the share of steps in |μ|
    at which the parameter grows.
    """
    figure, panels = new(2, width=4.2)
    fields, curves, numbers = over_field(runs)
    symbols = {
        "theta_1": "coupling θ₁ of the coarse chain (kT / β)",
        "agreement": "agreement θ_cf of fine and coarse spin",
    }
    for axes, (name, label) in zip(panels, symbols.items(), strict=True):
        for summed, colour, marker, text in (
            (True, EXACT, "-", "coarse spins summed over"),
            (False, MODEL, "o", "coarse spins sampled"),
        ):
            means, errors = zip(*curves[name, summed], strict=True)
            axes.errorbar(fields, means, errors, fmt=marker, markersize=3.5, color=colour, capsize=2, label=text)
        axes.set(xlabel=FIELD, ylabel=label)
    panels[0].legend()
    return figure, numbers


@needs(IsingChain, "training", "claim", by=lambda run: (method(run), run.system.field))
def spin_magnetisation(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Magnetisation against the field: exact, as each model predicts it, and by relative entropy with its
    reconstruction.

    Numbers, for each model (the terms of its coarse energy, see `terms`, or relative_entropy): deviation, the largest
    from the exact value over the grid, and mean_ratio, that of predicted to exact magnetisation averaged over μ.
    """
    figure, (axes,) = new(width=5.0, height=3.4)
    exact, curves, numbers = by_method(runs)
    axes.plot(list(exact), list(exact.values()), color=EXACT, label="exact")
    for colour, (name, predicted) in zip(COLOURS, curves.items(), strict=False):
        line = "o--" if name == "relative_entropy" else "o"
        axes.plot(
            list(predicted), list(predicted.values()), line, markersize=3.5, color=colour, label=name.replace("_", " ")
        )
    axes.set(xlabel=FIELD, ylabel="magnetisation per spin", ylim=(-1.05, 1.05))
    axes.legend()
    return figure, numbers


@needs(IsingChain, "training", "claim", by=lambda run: setting(run))
def spin_correlations(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Correlation R_l against distance, exact and predicted, means over seeds, for each number of frames or length of
    block, whichever varies.

    Numbers: correlation_off, ‖R - R_exact‖ / ‖R_exact‖ over l, mean over seeds, with its standard error, for each.
    """
    figure, (axes,) = new(width=5.0, height=3.4)
    exact, curves, numbers = by_setting(runs)
    lags = np.arange(1, len(exact) + 1)
    axes.plot(lags, exact, color=EXACT, label="exact", zorder=5)
    for colour, (name, predicted) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(lags, predicted.mean(0), "o-", markersize=3, linewidth=1, color=colour, label=plain(name))
    axes.set(xlabel="distance l (sites)", ylabel="correlation R_l")
    axes.legend()
    return figure, numbers


def plain(name: str) -> str:
    """The name of a group as a legend shows it."""
    return name.lstrip("0").replace("_0", " ").replace("_", " ")
