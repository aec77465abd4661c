"""Figures of the Ising chain over its field: what is learnt, and what that predicts beside the exact answers."""

import itertools
import math

import numpy as np
from matplotlib.figure import Figure

from predcg.densities import MajorityBlocks, fine_correlations, fine_magnetisation
from predcg.errors import InputError
from predcg.figures.runs import needs
from predcg.figures.style import BASINS, DATA, EXACT, MODEL, new
from predcg.measures.runs import apart, grouped, mean_over_seeds
from predcg.results import Run
from predcg.systems import IsingChain

FIELD = "field μ"
COLOURS = (MODEL, DATA, *BASINS[3:], "#7b5ea7", "#8d8d8d")


@needs(IsingChain, "training", "claim", by=lambda run: _key(run)[:2])
def spin_parameters(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Coupling θ_1 and agreement θ_cf against the field, with sampled and with exactly summed coarse spins, means over
    seeds with standard errors.

    Numbers: both parameters at every |μ|; z, the largest difference between sampled and summed, in its standard error
    over seeds and both signs of μ, which have the same data; z of the symmetry in μ; rising, the share of steps in |μ|
    at which the parameter grows.
    """
    figure, panels = new(2, width=4.2)
    numbers = {}
    symbols = {
        "theta_1": "coupling θ₁ of the coarse chain (kT / β)",
        "agreement": "agreement θ_cf of fine and coarse spin",
    }
    found = {_key(run): _parameters(run) for run in runs}
    fields = sorted({field for _, field, _ in found})
    seeds = sorted({seed for *_, seed in found})
    if not runs or len(found) < 2 * len(fields) * len(seeds):
        raise InputError(
            "runs: expected objective=em and objective=exact_em at every field of a grid and every seed; mend the runs"
            " of the claim"
        )
    for axes, (name, label) in zip(panels, symbols.items(), strict=True):
        of = {key: values[name] for key, values in found.items()}
        for summed, colour, marker, text in (
            (True, EXACT, "-", "coarse spins summed over"),
            (False, MODEL, "o", "coarse spins sampled"),
        ):
            means, errors = zip(*(_mean([of[summed, field, seed] for seed in seeds]) for field in fields), strict=True)
            axes.errorbar(fields, means, errors, fmt=marker, markersize=3.5, color=colour, capsize=2, label=text)
        axes.set(xlabel=FIELD, ylabel=label)
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
    panels[0].legend()
    return figure, numbers


@needs(IsingChain, "training", "claim", by=lambda run: (_method(run), _field(run)))
def spin_magnetisation(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Magnetisation against the field: exact, as each model predicts it, and by relative entropy with its
    reconstruction.

    Numbers, for each model (the terms of its coarse energy, see `terms`, or relative_entropy): deviation, the largest
    from the exact value over the grid, and mean_ratio, that of predicted to exact magnetisation averaged over μ.
    """
    figure, (axes,) = new(width=5.0, height=3.4)
    exact = exact_magnetisations(runs)
    axes.plot(list(exact), list(exact.values()), color=EXACT, label="exact")
    numbers = {}
    for colour, (name, same) in zip(COLOURS, grouped(runs, _method).items(), strict=False):
        predicted = {
            field: float(np.mean([magnetisation(run) for run in at]))
            for field, at in grouped(same, _field).items()
            if field
        }
        line = "o--" if name == "relative_entropy" else "o"
        axes.plot(
            list(predicted), list(predicted.values()), line, markersize=3.5, color=colour, label=name.replace("_", " ")
        )
        numbers[f"deviation_{name}"] = max(abs(value - exact[field]) for field, value in predicted.items())
        numbers[f"mean_ratio_{name}"] = float(np.mean([value / exact[field] for field, value in predicted.items()]))
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
    exact = exact_correlations(runs)
    lags = np.arange(1, len(exact) + 1)
    axes.plot(lags, exact, color=EXACT, label="exact", zorder=5)
    numbers = {}
    for colour, (name, same) in zip(COLOURS, grouped(runs, what_varies(runs)).items(), strict=False):
        predicted = np.array([correlations(run) for run in same])
        axes.plot(lags, predicted.mean(0), "o-", markersize=3, linewidth=1, color=colour, label=plain(name))
        numbers |= mean_over_seeds([{"correlation_off": relative_error(one, exact)} for one in predicted], f"_{name}")
    axes.set(xlabel="distance l (sites)", ylabel="correlation R_l")
    axes.legend()
    return figure, numbers


def exact_magnetisations(runs: list[Run]) -> dict[float, float]:
    """By field, ascending, but for μ = 0. Raises InputError where nothing else is there."""
    systems = {run.system.field: run.system for run in sorted(runs, key=_field) if run.system.field}
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
    return _frames(run), _block(run), terms(run), _field(run)


def _frames(run: Run) -> str:
    return f"{len(run.data.train.x):04d}_frames"


def _block(run: Run) -> str:
    return f"blocks_of_{run.model.decoder.block:02d}"


def plain(name: str) -> str:
    """The name of a group as a legend shows it."""
    return name.lstrip("0").replace("_0", " ").replace("_", " ")


def terms(run: Run) -> str:
    """[abc] of the source: whether there is a linear term, how far pairs reach, whether there are triples."""
    latent = run.model.latent
    return f"[{int(latent.linear)}{latent.reach}{int(latent.triple)}]"


def _method(run: Run) -> str:
    return "relative_entropy" if isinstance(run.model.decoder, MajorityBlocks) else terms(run)


def _field(run: Run) -> float:
    return run.system.field


def _key(run: Run) -> tuple[bool, float, int]:
    """Whether the coarse spins were summed over, μ, seed."""
    return bool(run.column("train/log_evidence")[1]), run.system.field, run.seed


def _parameters(run: Run) -> dict[str, float]:
    return {"theta_1": run.model.latent.couplings["1"], "agreement": run.model.decoder.agreement.item()}


def _mean(values: list[float]) -> tuple[float, float]:
    """And its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
