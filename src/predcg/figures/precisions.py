"""Which weights of the decoder the data ask for."""

import torch
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.precisions import active
from predcg.measures.runs import mean_over_seeds
from predcg.results import Run
from predcg.systems import System


@needs(System, "training", "weights")
def precisions(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Bars of the decoder's weights by size, by layer, and by precision ⟨τ⟩ where the prior learns one for each; the
    first run is drawn.

    Numbers, means over seeds: active_share, the share of weights with |θ| >= 1e-4, of all and of each layer.
    """
    weights, shares = zip(*(active(run) for run in runs), strict=True)
    prior, theta = runs[0].prior, torch.cat([layer.flatten() for layer in weights[0].values()])
    learnt = prior.precision(theta).unique().numel() > 1
    figure, panels = new(2 + learnt, width=3.4, height=3.0)
    panels[0].hist(theta.abs().clamp_min(1e-12).log10().numpy(), bins=56, range=(-12, 2), color=MODEL)
    panels[0].axvline(-4, color=EXACT, linestyle=":", label=f"{shares[0]['active_share']:.0%} are larger")
    panels[0].set(
        xlabel="size of a weight, log10 |θ|",
        ylabel="weights",
        title=f"{len(theta)} weights, prior: {type(prior).__name__}",
    )
    panels[0].legend()
    panels[1].barh(list(weights[0]), list(shares[0].values())[1:], color=DATA)
    panels[1].set(xlabel="share of weights above 1e-4", xlim=(0, 1), ylabel="layer")
    panels[1].invert_yaxis()
    if learnt:
        panels[2].hist(prior.precision(theta).log10().numpy(), bins=40, color=MODEL, log=True)
        panels[2].set(xlabel="precision of a weight, log10 ⟨τ⟩", ylabel="weights")
    return figure, mean_over_seeds(list(shares))
