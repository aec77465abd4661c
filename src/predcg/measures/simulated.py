"""A learnt free energy beside a simulation of the same system, each with its own error."""

from typing import NamedTuple

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.measures.bins import REGIONS, log_masses, positive
from predcg.results import Run
from predcg.samplers import reweight

BLOCKS = 32  # of whole trajectories
FINE = 4  # bins of the learnt F along each side of a bin of the simulation


class Beside(NamedTuple):
    """Logarithms of the masses of bins, learnt, and simulated with its standard error, (bins^d,) each; -inf where the
    simulation has not been.
    """

    learnt: Tensor
    simulated: Tensor
    error: Tensor
    numbers: dict[str, float]


def frames_of(reference: Run) -> Batch:
    """Frames of a simulation, weighted for its own temperature where it has a ladder of them."""
    frames = Batch.load(reference.folder / "simulation/frames.npz")
    return frames if frames.beta is None or len(frames.beta.unique()) == 1 else reweight(frames)


@torch.no_grad()
def beside(run: Run, reference: Run, bins: int) -> Beside:
    """Masses of so many bins along each collective variable, learnt and simulated.

    Numbers: rms_low_kt and rms_high_kt, the root mean square difference of F = -log p over the bins where the
    simulation has it below 5 kT above its lowest, and between 5 and 10; rms_<low, high>_kt_noise, what the standard
    errors of the simulation alone make of that, and rms_<low, high>_kt_beyond, the root of the difference of their
    squares, 0 where that is below; where φ is a collective variable p_phi_positive, and p_phi_positive_simulated with
    its error. Bins in which the simulation has not been do not count.

    Raises:
        InputError: a simulation of another system.
    """
    same_system(run, reference)
    frames, box = frames_of(reference), run.model.latent.box
    beta = torch.ones(len(frames)) if frames.beta is None else frames.beta
    cell = torch.cat([box.cell(run.model.cv(x), [bins] * box.size) for x in frames.x.split(20_000)])
    # Block b has the b-th part of the trajectories of each temperature, which are in their order.
    block = torch.zeros(len(frames), dtype=torch.long)
    for one in beta.unique():
        here = (beta == one).nonzero().squeeze(-1)
        block[here] = torch.arange(len(here)) * BLOCKS // len(here)
    mass = torch.zeros(BLOCKS, bins**box.size).double().index_put_((block, cell), frames.w.double(), accumulate=True)
    learnt = log_masses(run.model.latent, FINE * bins).view([bins, FINE] * box.size)
    learnt = learnt.logsumexp(tuple(range(1, 2 * box.size, 2))).flatten()
    share, noise = _ratio(mass)
    simulated, error = share.log(), noise / share
    numbers, height = {}, simulated.max() - simulated
    for name, (above, below) in REGIONS.items():
        there = (height >= above) & (height < below)
        if there.any():
            squares = [of[there].square().mean() for of in (learnt - simulated, error)]
            told = [*squares, (squares[0] - squares[1]).clamp_min(0)]
            for end, square in zip(("", "_noise", "_beyond"), told, strict=True):
                numbers[f"rms_{name}_kt{end}"] = square.sqrt().item()
    if (there := positive(run, bins)) is not None:
        part, noise = _ratio(torch.stack([mass[:, there].sum(1), mass[:, ~there].sum(1)], 1))
        numbers |= {
            "p_phi_positive": learnt[there].exp().sum().item(),
            "p_phi_positive_simulated": part[0].item(),
            "p_phi_positive_simulated_error": noise[0].item(),
        }
    return Beside(learnt, simulated, error, numbers)


def same_system(run: Run, reference: Run) -> None:
    """Raise InputError where a simulation is one of another system."""
    if run.system.fingerprint() != reference.system.fingerprint():
        raise InputError(
            f"figure: expected a simulation of the system of {run.name}; found another one, {reference.name}; mend the"
            " runs of the claim"
        )


def _ratio(mass: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of bins, (bins,), given masses in blocks, (blocks, bins), and their standard errors, by the jackknife."""
    left = mass.sum(0) - mass
    without = left / left.sum(1, keepdim=True)
    blocks = len(mass)
    return mass.sum(0) / mass.sum(), (without.var(0, unbiased=False) * (blocks - 1)).sqrt()
