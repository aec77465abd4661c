"""Figures of simulations at several temperatures."""

import math

import numpy as np
from matplotlib.figure import Figure

from predcg.batch import Batch
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.runs import apart, experiment
from predcg.results import Run
from predcg.systems import Molecule

BINS = 64
BLOCKS = 16  # of a series, replica after replica, whose means tell the error of its mean


@needs(Molecule, "backbone", "ladder", by=experiment)
def ladder(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Ramachandran free energy, its marginals, and mean energies of replica exchange; a second one and dynamics at
    single temperatures beside it.

    KL divergences are between counts with one added to each bin; their floor is what as many independent frames would
    give. Errors are those of block means. The rare basin is 0 < φ < 2 rad.
    """
    simulations = [(run.system, Batch.load(run.folder / "simulation/frames.npz")) for run in runs]
    exchanges = [(system, frames) for system, frames in simulations if frames.beta.unique().numel() > 1]
    singles = [(system, frames) for system, frames in simulations if frames.beta.unique().numel() == 1]
    kelvin = exchanges[0][0].temperature_kelvin
    figure, (left, middle, right) = new(3, width=3.4)
    angles = [_own(*simulation) for simulation in exchanges]
    counts = [np.histogram2d(*angle.T, BINS, [[-180, 180]] * 2)[0] for angle in angles]
    with np.errstate(divide="ignore"):
        surface = -np.log(counts[0] / counts[0].max())
    image = left.imshow(surface.T, origin="lower", extent=[-180, 180, -180, 180], vmax=7, cmap="viridis_r")
    figure.colorbar(image, ax=left, label="free energy (kT)", shrink=0.8)
    left.set(
        xlabel="φ (degrees)",
        ylabel="ψ (degrees)",
        xticks=[-180, 0, 180],
        yticks=[-180, 0, 180],
        title=f"{kelvin:.0f} K",
    )
    centres = (np.arange(BINS) + 0.5) * 360 / BINS - 180
    for count, style in zip(counts, ("-", ":"), strict=False):
        for axis, (name, colour) in enumerate((("φ", DATA), ("ψ", MODEL))):
            middle.semilogy(
                centres,
                count.sum(1 - axis) / count.sum(),
                style,
                color=colour,
                label=name if style == "-" else f"{name}, second run",
            )
    middle.set(xlabel="angle (degrees)", ylabel="probability per bin", xticks=[-180, 0, 180])
    middle.legend(fontsize=7)
    numbers = _agreement(*counts[:2]) if len(counts) > 1 else {}
    positive = [block_mean((angle[:, 0] > 0) & (angle[:, 0] < math.degrees(2))) for angle in angles]
    numbers |= {"p_phi_positive": positive[0][0], "p_phi_positive_error": positive[0][1]}
    if len(positive) > 1:
        numbers["p_phi_positive_z"] = apart(*positive[:2])
    ladder_kelvin = []
    for beta in exchanges[0][1].beta.unique().tolist():
        at = round(kelvin / beta)
        ladder_kelvin.append(at)
        numbers[f"energy_{at}"], numbers[f"energy_{at}_error"] = _energy(*exchanges[0], beta)
    errors = [numbers[f"energy_{at}_error"] for at in ladder_kelvin]
    right.errorbar(ladder_kelvin, [0.0] * len(errors), errors, fmt="o", color=DATA, capsize=3, label="replica exchange")
    for index, (system, frames) in enumerate(singles):
        at = round(system.temperature_kelvin)
        mean, error = _energy(system, frames, 1.0)
        numbers |= {
            f"energy_{at}_reference": mean,
            f"energy_{at}_z": apart((numbers[f"energy_{at}"], numbers[f"energy_{at}_error"]), (mean, error)),
        }
        right.errorbar(
            at,
            mean - numbers[f"energy_{at}"],
            error,
            fmt="s",
            color=EXACT,
            capsize=3,
            label=None if index else "OpenMM",
        )
    right.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    right.set(xlabel="temperature (K)", ylabel="mean energy, relative (kJ/mol)")
    right.legend()
    return figure, numbers


def _own(system: Molecule, frames: Batch) -> np.ndarray:
    """φ and ψ in degrees at the system's own temperature, replica after replica, (N, 2)."""
    return system.backbone(frames.x[frames.beta == 1]).rad2deg().numpy()


def block_mean(values: np.ndarray) -> tuple[float, float]:
    """Mean of a series and its standard error, from the means of its blocks."""
    means = np.array([block.mean() for block in np.array_split(values, BLOCKS)])
    return float(values.mean()), float(means.std(ddof=1) / math.sqrt(BLOCKS))


def _energy(system: Molecule, frames: Batch, beta: float) -> tuple[float, float]:
    """Mean potential energy in kJ/mol at one temperature, with its error."""
    return block_mean(frames.u[frames.beta == beta].double().numpy() * system.kt)


def _kl(one: np.ndarray, other: np.ndarray) -> float:
    p, q = ((count + 1) / (count + 1).sum() for count in (one, other))
    return float((p * np.log(p / q)).sum())


def _agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """KL of the first from the second, of both marginals and of the joint, and the joint's floor."""
    rng, pooled = np.random.default_rng(0), ((one + other) / (one + other).sum()).ravel()
    drawn = [_kl(rng.multinomial(int(one.sum()), pooled), rng.multinomial(int(other.sum()), pooled)) for _ in range(20)]
    numbers = {
        "kl_phi": _kl(one.sum(1), other.sum(1)),
        "kl_psi": _kl(one.sum(0), other.sum(0)),
        "kl_joint": _kl(one, other),
    }
    floor = float(np.mean(drawn))
    return numbers | {"kl_joint_floor": floor, "kl_joint_over_floor": numbers["kl_joint"] / floor}
