"""What one training on spins has found, beside the exact answers."""

import numpy as np
from matplotlib.figure import Figure

from predcg.densities import SpinBlocks
from predcg.figures.ising import correlations, magnetisation
from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, new
from predcg.results import Run
from predcg.systems import IsingChain

TOLD = 4  # correlations among the numbers


@needs(IsingChain, "training", each=True)
def spin_fit(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Correlations R_l of the fine spins at the run's own field, exact and as the model has them; the learned
    parameters.

    Numbers: every coupling of the coarse chain and the agreement of fine and coarse spins, with standard errors where
    there is a posterior; magnetisation and the first correlations beside the exact ones.
    """
    run = runs[0]
    found, exact = correlations(run), run.system.correlations().numpy()
    numbers = {f"theta_{name}": value for name, value in run.model.latent.couplings.items()}
    if isinstance(run.model.decoder, SpinBlocks):
        numbers["agreement"] = agreement = run.model.decoder.agreement.item()
        if run.posterior is not None:
            spread = run.posterior.deviations()
            # Of θ_cf from that of its logit, to first order.
            spread[-1] *= agreement * (1 - agreement)
            numbers |= {f"{name}_error": error for name, error in zip(list(numbers), spread, strict=True)}
    numbers |= {"magnetisation": magnetisation(run), "magnetisation_exact": run.system.magnetisation()}
    for lag, (one, other) in enumerate(zip(found[:TOLD].tolist(), exact[:TOLD].tolist(), strict=True), 1):
        numbers |= {f"correlation_{lag}": one, f"correlation_{lag}_exact": other}
    figure, (axes,) = new(width=5.0, height=3.2)
    lags = np.arange(1, len(exact) + 1)
    axes.plot(lags, exact, color=EXACT, linestyle=":", label="exact")
    axes.plot(lags, found, "o-", markersize=3, color=MODEL, label="model")
    axes.set(xlabel="distance l (sites)", ylabel="correlation R_l")
    axes.set_title(
        f"μ = {run.system.field:g}: magnetisation {numbers['magnetisation']:.4f}, exact"
        f" {numbers['magnetisation_exact']:.4f}"
    )
    axes.legend()
    return figure, numbers
