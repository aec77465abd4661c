"""A free energy times p(x|z) as a generator of configurations: its weights, and whether it has missed anything."""

import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.densities import FreeEnergy
from predcg.importance import Weighted, draw
from predcg.measures.bins import histogram, log_masses, variation
from predcg.measures.runs import states
from predcg.measures.simulated import same_system
from predcg.measures.weights import block_mean, mean, within
from predcg.model import Model
from predcg.results import Run
from predcg.systems import Molecule, System

PUBLISHED_DRAWS = 10_000_000
BLOCKS = 32  # For errors the frames are cut into so many blocks, in the order of their trajectories.


@torch.no_grad()
def log_ratios(run: Run, frames: Batch) -> Tensor:
    """log of E[w|z] / w = e^-F(z) q(x|z) / e^-u(x) at frames of the target, (N,), float64; -inf where the model has no
    density: outside of the box of F, and of other isomers than those of the system's first model.
    """
    found = []
    for x, u in zip(frames.x.split(2000), frames.u.split(2000), strict=True):
        z = run.model.cv(x)
        log_ratio = run.model.decoder(z).log_prob(x).double() - run.model.latent.potential(z).double() + u
        found.append(torch.where(run.model.latent.box.holds(z), log_ratio, -torch.inf))
    return torch.cat(found)


def two_sided(run: Run, reference: Run) -> tuple[Batch, Tensor, dict[str, float]]:
    """Frames of a simulation of the target, the logarithms of their E[w|z] / w, (N,), and what their means say.

    Given z, its mean over p(x|z) = e^-u(x) / e^-F(z) is 1 where q(x|z) misses nothing. Where q misses a share of
    p(x|z), the mean weight over q lacks that share of e^-F(z), and the mean here is less than 1 by it.

    two_sided, the mean over frames; of each basin, two_sided_<basin>, and of φ > 0, two_sided_phi_positive, with the
    number of frames there; standard errors from blocks; outside_percent, of frames where the model has no density;
    largest_log_weight, of log w + F(z) at a frame, which the mean over q may never have seen.

    Raises:
        InputError: a simulation of another system.
    """
    same_system(run, reference)
    frames = Batch.load(reference.folder / "simulation/frames.npz")
    if frames.beta is not None:
        frames = frames.frames(frames.beta == 1)
    log_ratio = log_ratios(run, frames)
    label, everywhere = run.system.label(frames.x), torch.ones(len(frames), dtype=torch.bool)
    there = {"": everywhere} | {f"_{name}": label == index for index, name in enumerate(states(run.system))}
    if isinstance(run.system, Molecule) and run.system.backbone is not None:
        there["_phi_positive"] = run.system.backbone(frames.x)[:, 0] > 0
    numbers = {}
    for name, inside in there.items():
        numbers[f"frames{name}"] = frames.frames(inside).effective_size
        if inside.sum() > 2 * BLOCKS:
            average, error = block_mean(frames.frames(inside), log_ratio[inside].exp(), BLOCKS)
            numbers |= {f"two_sided{name}": average, f"two_sided{name}_error": error}
    possible = log_ratio.isfinite()
    numbers["outside_percent"] = 100 * mean(frames, ~possible).item()
    numbers["largest_log_weight"] = -within(frames, torch.where(possible, log_ratio, torch.inf))[0]
    return frames, log_ratio, numbers


def full_space(model: Model, system: System, truth: dict[int, Tensor], draws: int) -> tuple[Weighted, dict[str, float]]:
    """Draws of the whole model with their exact weights w = e^-u(x) / (p(z) p(x|z)), and what these say.

    ess, Kish's effective sample size over the number of draws, with its error; log_z; in nat, how far from it the
    bounds are: elbo_gap, of the mean of log w over the draws, and eubo_gap, of that over the same draws resampled by
    their weights, not over a reference; tv_<bins>, the total variation distance of the weighted histogram of φ and ψ
    from the truth, tv_<bins>_model, that of the histogram without weights, and tv_<bins>_floor, that of as many
    independent draws of the truth; where F is known, tv_<bins>_of_f, of the masses of bins under e^-F, which
    infinitely many draws without weights have, and tv_<bins>_of_1e7, of as many as published distances are of.

    Args:
        truth: logarithms of the true masses of the bins, by the number of bins along each torsion.
        draws: of the model.
    """
    weighted = draw(model, system, draws)
    log_w = weighted.log_w.double()
    log_z, error = weighted.log_z
    share, finite = log_w.softmax(0), log_w.isfinite()
    numbers = {
        "ess": weighted.effective_sample_size,
        "ess_error": weighted.effective_sample_size_error,
        "log_z": log_z,
        "log_z_error": error,
        "elbo_gap": log_z - log_w[finite].mean().item(),
        "eubo_gap": (share[finite] @ log_w[finite]).item() - log_z,
    }
    equal = Weighted(weighted.x, torch.where(finite, 0.0, weighted.log_w))
    for bins, log_p in truth.items():
        independent = log_p.exp().multinomial(draws, replacement=True).bincount(minlength=len(log_p)).double()
        for name, counts in {
            "": histogram(system, weighted, bins),
            "_model": histogram(system, equal, bins),
            "_floor": independent,
        }.items():
            numbers[f"tv_{bins}{name}"] = variation(log_p, (counts / counts.sum()).log())
        if isinstance(model.latent, FreeEnergy):
            log_q = log_masses(model.latent, bins)
            many = torch.from_numpy(np.random.default_rng(0).multinomial(PUBLISHED_DRAWS, log_q.exp().numpy()))
            numbers[f"tv_{bins}_of_f"] = variation(log_p, log_q)
            numbers[f"tv_{bins}_of_1e7"] = variation(log_p, (many.double() / PUBLISHED_DRAWS).log())
    return weighted, numbers
