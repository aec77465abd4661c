"""How near a learnt free energy is to the exact one, and whether its doubt says so."""

from typing import NamedTuple

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.coarse import Coarse
from predcg.densities import FreeEnergy
from predcg.densities.box import Box
from predcg.measures.bins import BINS, kl, log_truth
from predcg.results import Run
from predcg.samplers import Metropolis
from predcg.systems import MuellerBrown

DEEP = 12.0  # kT above the lowest: where errors of F count
FINE = 20  # places in a bin of coarse dynamics
LOW = 8.0  # kT: where coarse dynamics reach
# Of Müller-Brown along s = x1 - x2, windows that hold one extremum each (Schopmans, Friederich 2024).
EXTREMA = {"middle_well": (-0.8, -0.3, min), "lower_well": (0.3, 0.9, min), "barrier": (-1.7, -1.1, max)}


class Profile(NamedTuple):
    """F along one collective variable at the centres of equal bins: z, (n, 1), exact, learnt and its doubt, (n,), kT,
    all float64; exact and learnt are 0 at their lowest.
    """

    z: Tensor
    exact: Tensor
    learnt: Tensor
    doubt: Tensor


def landscape(system: MuellerBrown, bins: int = BINS) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Centres s of the source's bins, exact F there, kT, and of its wells and barriers, numbered along s, where and how
    high they are.
    """
    s = Box([-2.5], [1.1]).cells([bins])[0].squeeze(-1)
    f, numbers = system.pmf(s), {}
    inner = f[1:-1]
    turns = {"well": (inner < f[:-2]) & (inner < f[2:]), "barrier": (inner > f[:-2]) & (inner > f[2:])}
    for kind, there in turns.items():
        for index, at in enumerate(there.nonzero().flatten().tolist(), 1):
            numbers |= {f"{kind}_{index}_s": s[at + 1].item(), f"{kind}_{index}_kt": f[at + 1].item()}
    return s, f, numbers


@torch.no_grad()
def profile(run: Run, bins: int = BINS) -> Profile:
    """Of a run of Müller-Brown over the box of its latent density."""
    latent: FreeEnergy = run.model.latent
    z, _ = latent.box.cells([bins])
    exact, learnt = run.system.pmf(z.squeeze(-1)), latent.potential(z)
    return Profile(z, exact, learnt - learnt.min(), latent.doubt(z))


def calibration(run: Run) -> tuple[Tensor, Tensor, float]:
    """Where F is below 12 kT: doubt, and error of F after its median there is taken away, (n,); the root mean square of
    error over doubt.
    """
    found = profile(run)
    deep = found.exact < DEEP
    off, doubt = (found.learnt - found.exact)[deep], found.doubt[deep]
    off = (off - off.median()).abs()
    return doubt, off, (off / doubt).square().mean().sqrt().item()


def errors(run: Run, bins: int = BINS) -> dict[str, float]:
    """What a learnt F of Müller-Brown is off.

    forward_kl, Σ p log p/q over the bins, p ∝ exp(-F); predicted_kl, what the doubt makes of it without the truth;
    rms_kt, root mean square error of F where it is below 12 kT, after its mean there is taken away; doubt_kt, the
    largest doubt there; for both wells and the barrier the height over the lowest and its exact value.
    """
    found = profile(run, bins)
    deep = found.exact < DEEP
    off = (found.learnt - found.exact)[deep]
    numbers = {
        "forward_kl": kl(log_truth(run, [], bins), (-found.learnt).log_softmax(0)),
        "predicted_kl": run.model.latent.divergence(),
        "rms_kt": (off - off.mean()).square().mean().sqrt().item(),
        "doubt_kt": found.doubt[deep].max().item(),
    }
    s = found.z.squeeze(-1)
    for name, (low, high, extreme) in EXTREMA.items():
        inside = (s > low) & (s < high)
        numbers[f"{name}_kt"] = extreme(found.learnt[inside].tolist())
        numbers[f"{name}_kt_exact"] = extreme(found.exact[inside].tolist())
    return numbers


def met(numbers: dict[str, float]) -> bool:
    """Whether both wells are within 0.1 kT, the barrier within 0.2 kT, and the forward divergence below 1e-3 nat."""
    return numbers["forward_kl"] < 1e-3 and all(
        abs(numbers[f"{name}_kt"] - numbers[f"{name}_kt_exact"]) < (0.2 if name == "barrier" else 0.1)
        for name in EXTREMA
    )


def ended_by_itself(run: Run) -> bool:
    """Whether the rule, not the number of rounds, has ended the run."""
    return run.number < run.planned


def evaluations(run: Run) -> int:
    """Energies that were evaluated until the run's model was as it is."""
    return int(run.system.evaluations)


def backmapped(run: Run, n: int) -> Tensor:
    """n configurations that the decoder makes of collective variables that the run's rounds have asked for, (n, D)."""
    torch.manual_seed(run.seed)
    z = run.data.train.z
    with torch.no_grad():
        return run.model.decoder(z[torch.randint(len(z), (n,))]).sample()


def coarse_dynamics(run: Run, replicas: int, frames: int, bins: int = 60) -> tuple[Profile, Tensor, float]:
    """Metropolis dynamics on the learnt F: the profile at the centres of bins, -log of the histogram there, (n,), and
    the root mean square of their difference where F is below 8 kT.
    """
    system = Coarse(run.model.latent)
    torch.manual_seed(run.seed)
    start = run.model.latent().sample((replicas,))
    # Steps as long as the wells are apart: dynamics that cross the barrier by themselves take too long.
    walked: Batch = Metropolis(1.2, stride=5, burn_in=200, seed=run.seed).run(system, start, frames)
    found = profile(run, bins)
    counts = torch.bincount(run.model.latent.box.cell(walked.x.double(), [bins]), minlength=bins).double()
    f = -(counts / counts.sum()).log()
    with torch.no_grad():  # Of a bin's mass, not of its centre: on the walls F changes by 2 kT within one.
        fine = run.model.latent.potential(run.model.latent.box.cells([FINE * bins])[0])
    expected = -(-fine).log_softmax(0).view(bins, FINE).logsumexp(1)
    inside = (expected - expected.min() < LOW) & (counts > 0)
    return found, f, (f - expected)[inside].square().mean().sqrt().item()
