"""Figures of simulations at several temperatures."""

import math

import numpy as np
from matplotlib.figure import Figure

from predcg.batch import Batch
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.ladder import agreement, energy_kj_per_mol
from predcg.measures.molecule import degrees
from predcg.measures.runs import apart, experiment
from predcg.measures.weights import block_mean, counts
from predcg.results import Run
from predcg.systems import Molecule


@needs(Molecule, "backbone", "ladder", by=experiment)
def ladder(runs: list[Run], bins: int = 64) -> tuple[Figure, dict[str, float]]:
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
    own = [frames.frames(frames.beta == 1) for _, frames in exchanges]
    angles = [degrees(system, frames.x) for (system, _), frames in zip(exchanges, own, strict=True)]
    found = [counts(frames, angle, bins) for frames, angle in zip(own, angles, strict=True)]
    with np.errstate(divide="ignore"):
        surface = -np.log(found[0] / found[0].max())
    image = left.imshow(surface.T, origin="lower", extent=[-180, 180, -180, 180], vmax=7, cmap="viridis_r")
    figure.colorbar(image, ax=left, label="free energy (kT)", shrink=0.8)
    left.set(
        xlabel="φ (degrees)",
        ylabel="ψ (degrees)",
        xticks=[-180, 0, 180],
        yticks=[-180, 0, 180],
        title=f"{kelvin:.0f} K",
    )
    centres = (np.arange(bins) + 0.5) * 360 / bins - 180
    for count, style in zip(found, ("-", ":"), strict=False):
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
    numbers = agreement(*found[:2]) if len(found) > 1 else {}
    positive = [
        block_mean(frames, (angle[:, 0] > 0) & (angle[:, 0] < math.degrees(2)))
        for frames, angle in zip(own, angles, strict=True)
    ]
    numbers |= {"p_phi_positive": positive[0][0], "p_phi_positive_error": positive[0][1]}
    if len(positive) > 1:
        numbers["p_phi_positive_z"] = apart(*positive[:2])
    ladder_kelvin = []
    for beta in exchanges[0][1].beta.unique().tolist():
        at = round(kelvin / beta)
        ladder_kelvin.append(at)
        numbers[f"energy_{at}"], numbers[f"energy_{at}_error"] = energy_kj_per_mol(*exchanges[0], beta)
    errors = [numbers[f"energy_{at}_error"] for at in ladder_kelvin]
    right.errorbar(ladder_kelvin, [0.0] * len(errors), errors, fmt="o", color=DATA, capsize=3, label="replica exchange")
    for index, (system, frames) in enumerate(singles):
        at = round(system.temperature_kelvin)
        mean, error = energy_kj_per_mol(system, frames, 1.0)
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
