"""Sampling the model's own density by its encoder, which tells how good the encoder is."""

import numpy as np
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, new
from predcg.measures.chains import acceptance
from predcg.results import Run
from predcg.systems import System


@needs(System, "training", "variables", "normal", each=True)
def gibbs_acceptance(
    runs: list[Run], chains: int = 1000, frames: int = 20, stride: int = 5
) -> tuple[Figure, dict[str, float]]:
    """Metropolis-within-Gibbs sampling of the model beside independent draws: the density of z1, and how often a
    proposal of the encoder is accepted.

    Numbers: gibbs_acceptance, 1 where the encoder is the model's exact posterior; gibbs_var_z1, the variance of z1,
    exactly 1.
    """
    z1, independent, numbers = acceptance(runs[0], chains, frames, stride)
    figure, (axes,) = new(width=4.2)
    bins = np.linspace(-4, 4, 41)
    for values, colour, text in (
        (independent, EXACT, "independent draws"),
        (z1, MODEL, f"chains, {numbers['gibbs_acceptance']:.0%} accepted"),
    ):
        axes.hist(values.numpy(), bins=bins, density=True, histtype="step", linewidth=1.4, color=colour, label=text)
    axes.set(xlabel="collective variable z1", ylabel="density")
    axes.legend(fontsize=8)
    return figure, numbers
