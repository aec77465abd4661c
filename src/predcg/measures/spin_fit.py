"""What one training on spins has found, beside the exact answers."""

import numpy as np

from predcg.densities import SpinBlocks
from predcg.measures.ising import correlations, magnetisation
from predcg.results import Run


def fit(run: Run, told: int = 4) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """R_l as the model has it and exact, (n/2,); parameters, magnetisation and the first `told` correlations: see
    figures.spin_fit.
    """
    found, exact = correlations(run), run.system.correlations().numpy()
    numbers = {f"theta_{name}": value for name, value in run.model.latent.couplings.items()}
    if isinstance(run.model.decoder, SpinBlocks):
        numbers["agreement"] = agreement = run.model.decoder.agreement.item()
        if run.posterior is not None:
            spread = run.posterior.deviations()
            # The deviation of θ_cf follows from that of its logit, to first order.
            spread[-1] *= agreement * (1 - agreement)
            numbers |= {f"{name}_error": error for name, error in zip(list(numbers), spread, strict=True)}
    numbers |= {"magnetisation": magnetisation(run), "magnetisation_exact": run.system.magnetisation()}
    for lag, (one, other) in enumerate(zip(found[:told].tolist(), exact[:told].tolist(), strict=True), 1):
        numbers |= {f"correlation_{lag}": one, f"correlation_{lag}_exact": other}
    return found, exact, numbers
