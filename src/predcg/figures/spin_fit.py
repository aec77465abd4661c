"""What one training on spins has found, beside the exact answers."""

import numpy as np
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, new
from predcg.measures.spin_fit import fit
from predcg.results import Run
from predcg.systems import IsingChain


@needs(IsingChain, "training", each=True)
def spin_fit(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Correlations R_l of the fine spins at the run's own field, exact and as the model has them; the learned
    parameters.

    Numbers: every coupling of the coarse chain and the agreement of fine and coarse spins, with standard errors where
    there is a posterior; magnetisation and the first correlations beside the exact ones.
    """
    run = runs[0]
    found, exact, numbers = fit(run)
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
