"""Measures of simulations at several temperatures."""

import math
from typing import NamedTuple

import numpy as np

from predcg.batch import Batch
from predcg.measures.molecule import degrees
from predcg.measures.runs import apart
from predcg.measures.weights import block_mean, counts
from predcg.results import Run
from predcg.systems import Molecule


class Ladder(NamedTuple):
    """Replica exchanges, and dynamics at single temperatures beside them.

    Args:
        kelvin: own temperature of the first one's system.
        counts: histogram of φ and ψ at the own temperature, (bins, bins), of each exchange.
        energies: mean energy in kJ/mol with its error at every temperature of the first exchange, by that in K.
        single: the same of every single temperature.
        numbers: see figures.ladder.
    """

    kelvin: float
    counts: list[np.ndarray]
    energies: dict[int, tuple[float, float]]
    single: dict[int, tuple[float, float]]
    numbers: dict[str, float]


def ladder(runs: list[Run], bins: int) -> Ladder:
    """Measure the simulations of runs, at least one of them a replica exchange."""
    simulations = [(run.system, Batch.load(run.folder / "simulation/frames.npz")) for run in runs]
    exchanges = [(system, frames) for system, frames in simulations if frames.beta.unique().numel() > 1]
    own = [(frames.frames(frames.beta == 1), system) for system, frames in exchanges]
    angles = [degrees(system, frames.x) for frames, system in own]
    found = [counts(frames, angle, bins) for (frames, _), angle in zip(own, angles, strict=True)]
    numbers = agreement(*found[:2]) if len(found) > 1 else {}
    positive = [
        block_mean(frames, (angle[:, 0] > 0) & (angle[:, 0] < math.degrees(2)))
        for (frames, _), angle in zip(own, angles, strict=True)
    ]
    numbers |= {"p_phi_positive": positive[0][0], "p_phi_positive_error": positive[0][1]}
    if len(positive) > 1:
        numbers["p_phi_positive_z"] = apart(*positive[:2])
    system, frames = exchanges[0]
    kelvin = system.temperature_kelvin
    energies = {round(kelvin / beta): energy_kj_per_mol(system, frames, beta) for beta in frames.beta.unique().tolist()}
    for at, (energy, error) in energies.items():
        numbers |= {f"energy_{at}": energy, f"energy_{at}_error": error}
    single = {
        round(system.temperature_kelvin): energy_kj_per_mol(system, frames, 1.0)
        for system, frames in simulations
        if frames.beta.unique().numel() == 1
    }
    for at, energy in single.items():
        numbers |= {f"energy_{at}_reference": energy[0], f"energy_{at}_z": apart(energies[at], energy)}
    return Ladder(kelvin, found, energies, single, numbers)


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
