"""What is learnt of the Ising chain over its field, and what that predicts beside the exact answers."""

import itertools
import math

import numpy as np

from predcg.densities import MajorityBlocks, fine_correlations, fine_magnetisation
from predcg.errors import InputError
from predcg.measures.runs import apart, grouped, mean_over_seeds
from predcg.measures.weights import as_many
from predcg.results import Run

Curve = list[tuple[float, float]]  # Means over seeds with their standard errors, along the field.


def over_field(runs: list[Run]) -> tuple[list[float], dict[tuple[str, bool], Curve], dict[str, float]]:
    """Fields, ascending; θ_1 and θ_cf along them, by name and whether coarse spins were summed over; their numbers, see
    figures.spin_parameters.

    Raises:
        InputError: not every field and seed has a run with summed and one with sampled coarse spins.
    """
    found = {identity(run): _parameters(run) for run in runs}
    fields = sorted({field for _, field, _ in found})
    seeds = sorted({seed for *_, seed in found})
    if not runs or len(found) < 2 * len(fields) * len(seeds):
        raise InputError(
            "runs: expected objective=em and objective=exact_em at every field of a grid and every seed; mend the runs"
            " of the claim"
        )
    curves, numbers = {}, {}
    for name in ("theta_1", "agreement"):
        of = {key: values[name] for key, values in found.items()}
        for summed in (True, False):
            curves[name, summed] = [_mean([of[summed, field, seed] for seed in seeds]) for field in fields]
        steep, differ, skew = [], [], []
        for size in sorted({abs(field) for field in fields}):
            both = [field for field in fields if abs(field) == size]
            pairs = [of[False, field, seed] - of[True, field, seed] for field in both for seed in seeds]
            numbers[f"{name}_{size:g}"], numbers[f"{name}_{size:g}_error"] = _mean(
                [of[False, field, seed] for field in both for seed in seeds]
            )
            differ.append(apart(_mean(pairs), (0.0, 0.0)))
            steep.append(numbers[f"{name}_{size:g}"])
            if len(both) == 2:
                skew.append(apart(*(_mean([of[False, field, seed] for seed in seeds]) for field in both)))
        numbers |= {f"{name}_sampled_z": max(map(abs, differ)), f"{name}_symmetry_z": max(map(abs, skew))}
        numbers[f"{name}_sampled_rms_z"] = math.sqrt(np.square(differ).mean())
        numbers[f"{name}_rising"] = float(np.mean([more > less for less, more in itertools.pairwise(steep)]))
    return fields, curves, numbers


def by_method(runs: list[Run]) -> tuple[dict[float, float], dict[str, dict[float, float]], dict[str, float]]:
    """Exact magnetisations by field, those that each method predicts, means over seeds, and how far they are apart: see
    figures.spin_magnetisation.
    """
    exact, curves, numbers = exact_magnetisations(runs), {}, {}
    for name, same in grouped(runs, method).items():
        curves[name] = predicted = {
            at: float(np.mean([magnetisation(run) for run in alike]))
            for at, alike in grouped(same, field).items()
            if at
        }
        numbers[f"deviation_{name}"] = max(abs(value - exact[at]) for at, value in predicted.items())
        numbers[f"mean_ratio_{name}"] = float(np.mean([value / exact[at] for at, value in predicted.items()]))
    return exact, curves, numbers


def by_setting(runs: list[Run]) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, float]]:
    """Exact R_l, (n/2,), those of every run of each group, (runs, n/2), and how far they are apart: see
    figures.spin_correlations.
    """
    exact, numbers = exact_correlations(runs), {}
    curves = {
        name: np.array([correlations(run) for run in same]) for name, same in grouped(runs, what_varies(runs)).items()
    }
    for name, found in curves.items():
        numbers |= mean_over_seeds([{"correlation_off": relative_error(one, exact)} for one in found], f"_{name}")
    return exact, curves, numbers


def field(run: Run) -> float:
    """μ of the run's chain."""
    return run.system.field


def exact_magnetisations(runs: list[Run]) -> dict[float, float]:
    """By field, ascending, but for μ = 0. Raises InputError where nothing else is there."""
    systems = {run.system.field: run.system for run in sorted(runs, key=field) if run.system.field}
    if not systems:
        raise InputError(
            "system.field: expected runs at a grid of fields μ; found none but μ = 0; add system.field=0.3,0.9 to the"
            " runs"
        )
    return {field: system.magnetisation() for field, system in systems.items()}


def exact_correlations(runs: list[Run]) -> np.ndarray:
    """R_l at μ = 0. Raises InputError where no run is there."""
    found = [run.system for run in runs if not run.system.field]
    if not found:
        raise InputError(
            "system.field: expected runs at μ = 0, where R_l is compared; found none; add system.field=0 to the runs"
        )
    return found[0].correlations().numpy()


def magnetisation(run: Run) -> float:
    """Of fine spins, as the model has it."""
    return fine_magnetisation(run.model.latent, run.model.decoder)


def correlations(run: Run) -> np.ndarray:
    """R_l of fine spins, as the model has them."""
    return fine_correlations(run.model.latent, run.model.decoder).numpy()


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    """‖found - exact‖ / ‖exact‖."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def what_varies(runs: list[Run]):
    """Of frames, block length and terms of the coarse energy the one that differs between runs, as the name of a run's
    group. Raises InputError where several do.
    """
    kinds = (_frames, _block, terms)
    varying = max(kinds, key=lambda kind: len(set(map(kind, runs))))
    if len({tuple(kind(run) for kind in kinds) for run in runs}) > len(set(map(varying, runs))):
        raise InputError(
            "runs: expected one of frames, length of blocks and terms of the coarse energy to vary; found several; mend"
            " the runs of the claim"
        )
    return varying


def setting(run: Run) -> tuple[str, str, str, float]:
    """All that a grid of runs may vary beside the seed."""
    return _frames(run), _block(run), terms(run), field(run)


def _frames(run: Run) -> str:
    return f"{as_many(run.data.train):04d}_frames"


def _block(run: Run) -> str:
    return f"blocks_of_{run.model.decoder.block:02d}"


def terms(run: Run) -> str:
    """[abc] of the source: whether there is a linear term, how far pairs reach, whether there are triples."""
    latent = run.model.latent
    return f"[{int(latent.linear)}{latent.reach}{int(latent.triple)}]"


def method(run: Run) -> str:
    """Terms of the coarse energy, or relative_entropy."""
    return "relative_entropy" if isinstance(run.model.decoder, MajorityBlocks) else terms(run)


def identity(run: Run) -> tuple[bool, float, int]:
    """Whether the coarse spins were summed over, μ, seed."""
    return bool(run.column("train/log_evidence")[1]), run.system.field, run.seed


def _parameters(run: Run) -> dict[str, float]:
    return {"theta_1": run.model.latent.couplings["1"], "agreement": run.model.decoder.agreement.item()}


def _mean(values: list[float]) -> tuple[float, float]:
    """And its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
