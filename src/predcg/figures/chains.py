"""Sampling the model's own density by its encoder, which tells how good the encoder is."""

import numpy as np
import torch
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, new
from predcg.gibbs import gibbs
from predcg.results import Run
from predcg.systems import System

CHAINS, FRAMES, STRIDE = 1000, 20, 5


@needs(System, "training", "variables", each=True)
def gibbs_acceptance(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Metropolis-within-Gibbs sampling of the model beside independent draws: the density of z1, and how often a
    proposal of the encoder is accepted.

    Numbers: gibbs_acceptance, 1 where the encoder is the model's exact posterior; gibbs_var_z1, the variance of z1,
    exactly 1.
    """
    run = runs[0]
    torch.manual_seed(run.seed)
    chains = gibbs(run.model, CHAINS, FRAMES, STRIDE)
    z1 = chains.z[:, 0]
    independent = run.model.latent().sample((len(z1),))[:, 0]
    figure, (axes,) = new(width=4.2)
    bins = np.linspace(-4, 4, 41)
    for values, colour, text in (
        (independent, EXACT, "independent draws"),
        (z1, MODEL, f"chains, {chains.acceptance:.0%} accepted"),
    ):
        axes.hist(values.numpy(), bins=bins, density=True, histtype="step", linewidth=1.4, color=colour, label=text)
    axes.set(xlabel="collective variable z1", ylabel="density")
    axes.legend(fontsize=8)
    by_chain = z1.view(CHAINS, FRAMES).square().mean(1)
    return figure, {
        "gibbs_acceptance": chains.acceptance,
        "gibbs_var_z1": by_chain.mean().item(),
        "gibbs_var_z1_error": (by_chain.std() / CHAINS**0.5).item(),
        "gibbs_var_z1_exact": 1.0,
    }
