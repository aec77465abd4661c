"""Figures of how well the Ising chain is predicted, with credible bands, against the number of frames, the length of
blocks and the terms of the energy.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from predcg.figures.ising import FIELD, plain
from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, new
from predcg.measures.ising import setting
from predcg.measures.ising_errors import Along, bands, errors_of_groups
from predcg.results import Run
from predcg.systems import IsingChain


@needs(IsingChain, "training", "posterior", "claim", by=setting)
def spin_bands(runs: list[Run], draws: int = 100) -> tuple[Figure, dict[str, float]]:
    """5 to 95 % bands of the magnetisation over the field, and of R_l at μ = 0, of the first seed beside the exact
    values, for each group of runs.

    Numbers, for each number of frames or length of block, whichever varies: the share of exact magnetisations, over
    fields and seeds, and of exact R_l, over l and seeds, that are in their band (nominal 0.9), each with its standard
    error over seeds; the mean width of the band of the magnetisation.
    """
    groups, numbers = bands(runs, draws)
    figure, panels = new(len(groups), rows=2, width=2.9, height=2.6)
    for column, (name, (along, at_zero)) in enumerate(groups.items()):
        over, zero = panels[column], panels[len(groups) + column]
        _draw(over, along)
        _draw(zero, at_zero)
        over.set(xlabel=FIELD, ylabel="magnetisation", title=plain(name), ylim=(-0.05, 1.05))
        zero.set(xlabel="distance l (sites)", ylabel="R_l at μ = 0", ylim=(-0.25, 0.8))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure, numbers


@needs(IsingChain, "training", "claim", by=setting)
def spin_errors(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """‖m - m_exact‖ / ‖m_exact‖ over the grid of fields and ‖R - R_exact‖ / ‖R_exact‖ over l at μ = 0, each seed a
    point, and their means.

    Numbers: both errors for each group, means over seeds; where the number of frames varies, the slopes of their
    logarithms by that of the frames, fitted to each seed.
    """
    frames, errors, numbers = errors_of_groups(runs)
    figure, panels = new(2, width=4.0, height=3.2)
    at = frames if len(set(frames)) > 1 else list(range(len(errors)))
    for axes, key, label in zip(
        panels, ("magnetisation_off", "correlation_off"), ("magnetisation", "correlations at μ = 0"), strict=True
    ):
        for place, of_group in zip(at, errors.values(), strict=True):
            axes.plot(
                [place] * len(of_group), [one[key] for one in of_group], ".", color=MODEL, alpha=0.4, markeredgewidth=0
            )
        axes.plot(
            at, [numbers[f"{key}_{name}"] for name in errors], "o-" if at is frames else "o", color=MODEL, markersize=4
        )
        axes.set(yscale="log", ylabel=f"relative error of {label}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        if at is frames:
            axes.set(xscale="log", xlabel="frames", xticks=frames, xticklabels=frames)
            axes.set_title(f"slope {numbers[f'{key}_slope']:.2f} ± {numbers[f'{key}_slope_error']:.2f}")
        else:
            axes.set_xticks(at, [plain(name) for name in errors])
        axes.minorticks_off()
    return figure, numbers


def _draw(axes: Axes, band: Along) -> None:
    axes.fill_between(band.at, *band.limits, color=MODEL, alpha=0.25, linewidth=0, label="model, 5 to 95 %")
    axes.plot(band.at, band.predicted, color=MODEL, label="model")
    axes.plot(band.at, band.exact, color=EXACT, linestyle=":", label="exact")
