"""Figures of how well the Ising chain is predicted, with credible bands, against the number of frames, the length of
blocks and the terms of the energy.
"""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from predcg.densities import fine_correlations, fine_magnetisation
from predcg.figures.ising import (
    FIELD,
    correlations,
    exact_correlations,
    exact_magnetisations,
    magnetisation,
    plain,
    relative_error,
    setting,
    what_varies,
)
from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, new
from predcg.measures.runs import grouped, mean_over_seeds
from predcg.results import Run
from predcg.systems import IsingChain

DRAWS = 100  # of the parameters
LEVEL = (0.05, 0.95)


@needs(IsingChain, "training", "posterior", "claim", by=setting)
def spin_bands(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """5 to 95 % bands of the magnetisation over the field, and of R_l at μ = 0, of the first seed beside the exact
    values, for each group of runs.

    Numbers, for each number of frames or length of block, whichever varies: the share of exact magnetisations, over
    fields and seeds, and of exact R_l, over l and seeds, that are in their band (nominal 0.9), each with its standard
    error over seeds; the mean width of the band of the magnetisation.
    """
    exact_m, exact_r = exact_magnetisations(runs), exact_correlations(runs)
    groups = grouped(runs, what_varies(runs))
    figure, panels = new(len(groups), rows=2, width=2.9, height=2.6)
    numbers = {}
    for column, (name, same) in enumerate(groups.items()):
        bands = {run.folder: _bands(run) for run in same}
        over, at_zero = panels[column], panels[len(groups) + column]
        per_seed = []
        for index, of_seed in enumerate(grouped(same, lambda run: run.seed).values()):
            along = sorted((run for run in of_seed if run.system.field), key=lambda run: run.system.field)
            zero = next(run for run in of_seed if not run.system.field)
            low, high = np.array([np.quantile(bands[run.folder], LEVEL) for run in along]).T
            truth = np.array(list(exact_m.values()))
            low_r, high_r = np.quantile(bands[zero.folder], LEVEL, axis=0)
            per_seed.append(
                {
                    "magnetisation_coverage": np.mean((low <= truth) & (truth <= high)),
                    "correlation_coverage": np.mean((low_r <= exact_r) & (exact_r <= high_r)),
                    "band_width": np.mean(high - low),
                }
            )
            if index == 0:
                fields, lags = [run.system.field for run in along], np.arange(1, len(exact_r) + 1)
                _draw(over, fields, (low, high), [magnetisation(run) for run in along], truth)
                _draw(at_zero, lags, (low_r, high_r), correlations(zero), exact_r)
        over.set(xlabel=FIELD, ylabel="magnetisation", title=plain(name), ylim=(-0.05, 1.05))
        at_zero.set(xlabel="distance l (sites)", ylabel="R_l at μ = 0", ylim=(-0.25, 0.8))
        numbers |= mean_over_seeds(per_seed, f"_{name}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure, numbers


@needs(IsingChain, "training", "claim", by=setting)
def spin_errors(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """‖m - m_exact‖ / ‖m_exact‖ over the grid of fields and ‖R - R_exact‖ / ‖R_exact‖ over l at μ = 0, each seed a
    point, and their means.

    Numbers: both errors for each group, means over seeds; where the number of frames varies, the slopes of their
    logarithms by that of the frames, fitted to each seed.
    """
    groups = grouped(runs, what_varies(runs))
    exact_m, exact_r = exact_magnetisations(runs), exact_correlations(runs)
    numbers, errors = {}, {}
    for name, same in groups.items():
        errors[name] = [_errors(of_seed, exact_m, exact_r) for of_seed in grouped(same, lambda run: run.seed).values()]
        numbers |= mean_over_seeds(errors[name], f"_{name}")
    figure, panels = new(2, width=4.0, height=3.2)
    frames = [len(same[0].data.train.x) for same in groups.values()]
    at = frames if len(set(frames)) > 1 else list(range(len(groups)))
    for axes, key, label in zip(
        panels, ("magnetisation_off", "correlation_off"), ("magnetisation", "correlations at μ = 0"), strict=True
    ):
        for place, of_group in zip(at, errors.values(), strict=True):
            axes.plot(
                [place] * len(of_group), [one[key] for one in of_group], ".", color=MODEL, alpha=0.4, markeredgewidth=0
            )
        axes.plot(
            at, [numbers[f"{key}_{name}"] for name in groups], "o-" if at is frames else "o", color=MODEL, markersize=4
        )
        axes.set(yscale="log", ylabel=f"relative error of {label}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        if at is frames:
            slopes = [
                np.polyfit(np.log(frames), np.log([one[key] for one in of_seed]), 1)[0]
                for of_seed in zip(*errors.values(), strict=True)
            ]
            numbers[f"{key}_slope"], numbers[f"{key}_slope_error"] = (
                float(np.mean(slopes)),
                float(np.std(slopes, ddof=1) / math.sqrt(len(slopes))),
            )
            axes.set(xscale="log", xlabel="frames", xticks=frames, xticklabels=frames)
            axes.set_title(f"slope {numbers[f'{key}_slope']:.2f} ± {numbers[f'{key}_slope_error']:.2f}")
        else:
            axes.set_xticks(at, [plain(name) for name in groups])
        axes.minorticks_off()
    return figure, numbers


def _errors(runs: list[Run], exact_m: dict[float, float], exact_r: np.ndarray) -> dict[str, float]:
    """Of one seed."""
    at = {run.system.field: run for run in runs}
    m = relative_error(np.array([magnetisation(at[field]) for field in exact_m]), np.array(list(exact_m.values())))
    return {"magnetisation_off": m, "correlation_off": relative_error(correlations(at[0.0]), exact_r)}


def _bands(run: Run) -> np.ndarray:
    """Of draws of the parameters the magnetisation, (DRAWS,), or at μ = 0 the correlations, (DRAWS, n/2)."""
    torch.manual_seed(run.seed)
    measure = fine_magnetisation if run.system.field else fine_correlations
    return np.array([measure(model.latent, model.decoder) for model in run.posterior.models(run.model, DRAWS)])


def _draw(axes: Axes, at, band: tuple[np.ndarray, np.ndarray], predicted, exact) -> None:
    axes.fill_between(at, *band, color=MODEL, alpha=0.25, linewidth=0, label="model, 5 to 95 %")
    axes.plot(at, predicted, color=MODEL, label="model")
    axes.plot(at, exact, color=EXACT, linestyle=":", label="exact")
