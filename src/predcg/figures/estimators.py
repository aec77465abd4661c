"""Estimators of a free energy of the same weights, side by side."""

import itertools
import math

import torch
from matplotlib.figure import Figure

from predcg.figures.free_energy_maps import HIGHEST, Panel, draw_map
from predcg.figures.free_energy_speed import COLOURS, KL
from predcg.figures.runs import needs
from predcg.figures.style import new
from predcg.measures.bins import judged, log_truth, off
from predcg.measures.estimators import ESTIMATORS, compared
from predcg.measures.runs import experiment, grouped, mean_over_seeds
from predcg.results import Run
from predcg.systems import Molecule

NAMES = {
    "log_mean_exp": "mean\nin bins",
    "log_least_squares": "least\nsquares",
    "gamma_unweighted": "gamma",
    "gamma": "gamma,\nweighted",
}


@needs(Molecule, "claim", by=experiment)
def estimators(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """What every estimator of F makes of the same weights, those that the runs have recorded: the forward divergence of
    F, and its root mean square error between 5 and 10 kT, a point for each seed, a colour for each experiment; and maps
    of F less the truth, of the first run.

    Numbers, with the name of the experiment at the end where there are several, means over seeds: kl_<estimator> and
    rms_high_kt_<estimator> (see measures.estimators and measures.bins.off); gain_<estimator>, its kl over that of the
    weighted gamma likelihood.
    """
    shown, truths = judged(runs)
    log_p = log_truth(shown[0], truths)
    figure, panels = new(columns=3, rows=2, width=3.6, height=3.2)
    groups, numbers = grouped(shown, experiment), {}
    for colour, (name, same) in zip(itertools.cycle(COLOURS), groups.items(), strict=False):
        made = [{key: off(log_p, log_q) for key, log_q in compared(run).items()} for run in same]
        told = [
            {f"kl_{key}": one[key]["forward_kl"] for key in one}
            | {f"rms_high_kt_{key}": one[key]["rms_high_kt"] for key in one}
            | {f"gain_{key}": one[key]["forward_kl"] / one["gamma"]["forward_kl"] for key in one}
            for one in made
        ]
        for at, key in enumerate(ESTIMATORS):
            for axes, kind in zip(panels, ("kl", "rms_high_kt"), strict=False):
                label = name if at == 0 else None
                places = [at + 0.12 * (list(groups).index(name) - 0.5 * (len(groups) - 1))] * len(told)
                values = [one[f"{kind}_{key}"] for one in told]
                axes.plot(places, values, "o", markersize=4, color=colour, alpha=0.7, label=label)
        means = mean_over_seeds(told)
        numbers |= {f"{key}_{name}" if len(groups) > 1 else key: value for key, value in means.items()}
    for axes, text in zip(panels, (KL, "error of F at 5 to 10 kT (kT, RMS)"), strict=False):
        axes.set(yscale="log", ylabel=text, xticks=range(len(ESTIMATORS)))
        axes.set_xticklabels([NAMES[key] for key in ESTIMATORS], fontsize=8)
    panels[0].legend(fontsize=7)
    for axes, (key, log_q) in zip(panels[2:], compared(shown[0]).items(), strict=True):
        error = torch.where(log_p.max() - log_p < HIGHEST, log_p - log_q, math.nan)
        image = draw_map(axes, Panel(shown[0], NAMES[key].replace("\n", " "), error), error=True)
    figure.colorbar(image, ax=panels[2:], label="F less the truth (kT); white: above 15 kT", shrink=0.7, extend="both")
    return figure, numbers
