"""Which of the couplings that a coarse chain is offered a prior leaves."""

from predcg.results import Run


def left(run: Run, sparse: bool, pruned: float = 0.01) -> dict[str, float]:
    """Every coupling; of a sparse prior which are kept and whether one odd term is, of a flat one its value in standard
    deviations of the posterior.

    Args:
        pruned: a coupling below it, in kT / β, counts as none; our choice.
    """
    found = run.model.latent.couplings
    kind = "sparse" if sparse else "flat"
    numbers = {f"{kind}_{name}": value for name, value in found.items()}
    if not sparse:
        deviations = dict(zip(found, run.posterior.deviations(), strict=False))
        return numbers | {f"flat_z_{name}": abs(value) / deviations[name] for name, value in found.items()}
    kept = {name: abs(value) > pruned for name, value in found.items()}
    return (
        numbers
        | {f"kept_{name}": float(there) for name, there in kept.items()}
        | {"kept_one_odd": float(kept["lin"] != kept["3rd"])}
    )
