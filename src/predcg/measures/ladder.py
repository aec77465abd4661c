"""Measures of simulations at several temperatures."""

import numpy as np

from predcg.batch import Batch
from predcg.measures.weights import block_mean
from predcg.systems import Molecule


def energy_kj_per_mol(system: Molecule, frames: Batch, beta: float) -> tuple[float, float]:
    """Mean potential energy at one temperature, with its error."""
    here = frames.frames(frames.beta == beta)
    return block_mean(here, here.u.double() * system.kt)


def _kl(one: np.ndarray, other: np.ndarray) -> float:
    p, q = ((count + 1) / (count + 1).sum() for count in (one, other))
    return float((p * np.log(p / q)).sum())


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """KL of the first histogram of φ and ψ from the second, of both marginals and of the joint, and the joint's floor:
    what as many independent frames would give.
    """
    rng, pooled = np.random.default_rng(0), ((one + other) / (one + other).sum()).ravel()
    drawn = [
        _kl(rng.multinomial(round(one.sum()), pooled), rng.multinomial(round(other.sum()), pooled)) for _ in range(20)
    ]
    numbers = {
        "kl_phi": _kl(one.sum(1), other.sum(1)),
        "kl_psi": _kl(one.sum(0), other.sum(0)),
        "kl_joint": _kl(one, other),
    }
    floor = float(np.mean(drawn))
    return numbers | {"kl_joint_floor": floor, "kl_joint_over_floor": numbers["kl_joint"] / floor}
