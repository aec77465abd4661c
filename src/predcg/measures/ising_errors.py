"""How well the Ising chain is predicted, with credible bands, against the number of frames, the length of blocks and
the terms of the energy.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from predcg.densities import fine_correlations, fine_magnetisation
from predcg.measures.bands import LEVEL
from predcg.measures.ising import (
    correlations,
    exact_correlations,
    exact_magnetisations,
    magnetisation,
    relative_error,
    what_varies,
)
from predcg.measures.runs import grouped, mean_over_seeds
from predcg.measures.weights import as_many
from predcg.results import Run


class Along(NamedTuple):
    """Along fields or distances `at`, (n,): both ends of a band, (2, n), what the model predicts, and what is exact."""

    at: np.ndarray
    limits: np.ndarray
    predicted: np.ndarray
    exact: np.ndarray

    @property
    def coverage(self) -> float:
        """Share of the exact values that are in the band."""
        low, high = self.limits
        return np.mean((low <= self.exact) & (self.exact <= high))


def bands(runs: list[Run], draws: int) -> tuple[dict[str, tuple[Along, Along]], dict[str, float]]:
    """For each group of runs the bands of the magnetisation over the field and of R_l at μ = 0, of its first seed; the
    numbers of all, see figures.spin_bands.
    """
    exact_m, exact_r = exact_magnetisations(runs), exact_correlations(runs)
    groups, numbers = {}, {}
    for name, same in grouped(runs, what_varies(runs)).items():
        drawn = {run.folder: _drawn(run, draws) for run in same}
        per_seed = []
        for of_seed in grouped(same, lambda run: run.seed).values():
            along = sorted((run for run in of_seed if run.system.field), key=lambda run: run.system.field)
            zero = next(run for run in of_seed if not run.system.field)
            over = Along(
                np.array([run.system.field for run in along]),
                np.array([np.quantile(drawn[run.folder], LEVEL) for run in along]).T,
                np.array([magnetisation(run) for run in along]),
                np.array(list(exact_m.values())),
            )
            limits = np.quantile(drawn[zero.folder], LEVEL, axis=0)
            at_zero = Along(np.arange(1, len(exact_r) + 1), limits, correlations(zero), exact_r)
            low, high = over.limits
            per_seed.append(
                {
                    "magnetisation_coverage": over.coverage,
                    "correlation_coverage": at_zero.coverage,
                    "band_width": np.mean(high - low),
                }
            )
            groups.setdefault(name, (over, at_zero))
        numbers |= mean_over_seeds(per_seed, f"_{name}")
    return groups, numbers


def _drawn(run: Run, draws: int) -> np.ndarray:
    """Of draws of the parameters the magnetisation, (draws,), or at μ = 0 the correlations, (draws, n/2)."""
    torch.manual_seed(run.seed)
    measure = fine_magnetisation if run.system.field else fine_correlations
    return np.array([measure(model.latent, model.decoder) for model in run.posterior.models(run.model, draws)])


def errors_of_groups(runs: list[Run]) -> tuple[list[int], dict[str, list[dict[str, float]]], dict[str, float]]:
    """Numbers of frames, relative errors of every seed, and means and slopes of both, by group: see
    figures.spin_errors.
    """
    groups = grouped(runs, what_varies(runs))
    exact_m, exact_r = exact_magnetisations(runs), exact_correlations(runs)
    numbers, errors = {}, {}
    for name, same in groups.items():
        errors[name] = [_errors(of_seed, exact_m, exact_r) for of_seed in grouped(same, lambda run: run.seed).values()]
        numbers |= mean_over_seeds(errors[name], f"_{name}")
    frames = [as_many(same[0].data.train) for same in groups.values()]
    for key in ("magnetisation_off", "correlation_off") if len(set(frames)) > 1 else ():
        slopes = [
            np.polyfit(np.log(frames), np.log([one[key] for one in of_seed]), 1)[0]
            for of_seed in zip(*errors.values(), strict=True)
        ]
        numbers[f"{key}_slope"] = float(np.mean(slopes))
        numbers[f"{key}_slope_error"] = float(np.std(slopes, ddof=1) / math.sqrt(len(slopes)))
    return frames, errors, numbers


def _errors(runs: list[Run], exact_m: dict[float, float], exact_r: np.ndarray) -> dict[str, float]:
    """Of one seed."""
    at = {run.system.field: run for run in runs}
    m = relative_error(np.array([magnetisation(at[field]) for field in exact_m]), np.array(list(exact_m.values())))
    return {"magnetisation_off": m, "correlation_off": relative_error(correlations(at[0.0]), exact_r)}
