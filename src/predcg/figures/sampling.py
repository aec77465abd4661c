"""Figures of simulations at several temperatures."""

import numpy as np
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.ladder import ladder as measured
from predcg.measures.runs import experiment
from predcg.results import Run
from predcg.systems import Molecule


@needs(Molecule, "backbone", "ladder", by=experiment)
def ladder(runs: list[Run], bins: int = 64) -> tuple[Figure, dict[str, float]]:
    """Ramachandran free energy, its marginals, and mean energies of replica exchange; a second one and dynamics at
    single temperatures beside it.

    KL divergences are between counts with one added to each bin; their floor is what as many independent frames would
    give. Errors are those of block means. The rare basin is 0 < φ < 2 rad.
    """
    kelvin, found, energies, single, numbers = measured(runs, bins)
    torsions = runs[0].system.torsions
    figure, (left, middle, right) = new(3, width=3.4)
    with np.errstate(divide="ignore"):
        surface = -np.log(found[0] / found[0].max())
    image = left.imshow(surface.T, origin="lower", extent=[-180, 180, -180, 180], vmax=7, cmap="viridis_r")
    figure.colorbar(image, ax=left, label="free energy (kT)", shrink=0.8)
    left.set(
        xlabel=f"{torsions[0]} (degrees)",
        ylabel=f"{torsions[1]} (degrees)",
        xticks=[-180, 0, 180],
        yticks=[-180, 0, 180],
        title=f"{kelvin:.0f} K",
    )
    centres = (np.arange(bins) + 0.5) * 360 / bins - 180
    for count, style in zip(found, ("-", ":"), strict=False):
        for axis, (name, colour) in enumerate(zip(torsions, (DATA, MODEL), strict=True)):
            middle.semilogy(
                centres,
                count.sum(1 - axis) / count.sum(),
                style,
                color=colour,
                label=name if style == "-" else f"{name}, second run",
            )
    middle.set(xlabel="angle (degrees)", ylabel="probability per bin", xticks=[-180, 0, 180])
    middle.legend(fontsize=7)
    errors = [error for _, error in energies.values()]
    right.errorbar(
        list(energies), [0.0] * len(errors), errors, fmt="o", color=DATA, capsize=3, label="replica exchange"
    )
    for index, (at, (energy, error)) in enumerate(single.items()):
        right.errorbar(
            at, energy - energies[at][0], error, fmt="s", color=EXACT, capsize=3, label=None if index else "OpenMM"
        )
    right.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    right.set(xlabel="temperature (K)", ylabel="mean energy, relative (kJ/mol)")
    right.legend()
    return figure, numbers
