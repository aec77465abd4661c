"""Sampling the model's own density by its encoder, which tells how good the encoder is."""

import torch
from torch import Tensor

from predcg.joint_chains import metropolis_within_gibbs
from predcg.results import Run


def acceptance(run: Run, chains: int, frames: int, stride: int) -> tuple[Tensor, Tensor, dict[str, float]]:
    """z1 of chains of Metropolis-within-Gibbs sampling, chain after chain, and of as many independent draws, (chains x
    frames,); how often a proposal of the encoder is accepted, and the variance of the former, exactly 1.
    """
    torch.manual_seed(run.seed)
    made = metropolis_within_gibbs(run.model, chains, frames, stride)
    z1 = made.z[:, 0]
    by_chain = z1.view(chains, frames).square().mean(1)
    numbers = {
        "gibbs_acceptance": made.acceptance,
        "gibbs_var_z1": by_chain.mean().item(),
        "gibbs_var_z1_error": (by_chain.std() / chains**0.5).item(),
        "gibbs_var_z1_exact": 1.0,
    }
    return z1, run.model.latent().sample((len(z1),))[:, 0], numbers
