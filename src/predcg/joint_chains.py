"""Draws from a model by Markov chains, in which the encoder proposes z and the joint density decides."""

from typing import NamedTuple

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.model import Model
from predcg.progress import progress


class JointDraws(NamedTuple):
    """Draws of p(x, z), chain after chain: x (chains · frames, D) and z (chains · frames, d).

    `acceptance` is the mean acceptance probability over all steps: 1 if and only if the encoder is the model's
    posterior.
    """

    x: Tensor
    z: Tensor
    acceptance: float


@torch.no_grad()
def metropolis_within_gibbs(model: Model, chains: int, frames: int, stride: int = 1, burn_in: int = 0) -> JointDraws:
    """Metropolis-within-Gibbs sampling of p(x, z) = p(x|z) p(z), all chains at once (Mattei and Frellsen 2018).

    z' ~ q(z|x) replaces z with probability min(1, p(x|z') p(z') q(z|x) / (p(x|z) p(z) q(z'|x))); then x ~ p(x|z)
    (Schöberl, Zabaras, Koutsourelakis 2019, eq. 19). Chains start with ancestral draws, hence are stationary from the
    first step.

    Args:
        frames: recorded draws per chain.
        stride: steps between recorded draws.
        burn_in: steps before the first recorded stride.

    Raises:
        InputError: a number of chains, frames or steps that is too small.

    >>> from predcg.densities import FreeScale, GaussianMLP, StandardNormal
    >>> net = {"hidden": [8], "activations": ["Tanh"], "scale": FreeScale}
    >>> model = Model(StandardNormal(1), GaussianMLP(1, 2, **net), GaussianMLP(2, 1, **net))
    >>> metropolis_within_gibbs(model, chains=4, frames=3).x.shape
    torch.Size([12, 2])
    """
    for name, value, least in (
        ("chains", chains, 1),
        ("frames", frames, 1),
        ("stride", stride, 1),
        ("burn_in", burn_in, 0),
    ):
        if value < least:
            raise InputError(f"{name}: expected at least {least}; found {value}")
    z = model.latent().sample((chains,))
    x = model.decoder(z).sample()
    kept, acceptance, total = [], 0.0, burn_in + frames * stride
    with progress(total, f"Gibbs, {chains} chains") as bar:
        for step in range(1, total + 1):
            encoder = model.encoder(x)
            proposal = encoder.sample()
            log_ratio = (
                model.log_joint(x, proposal) - encoder.log_prob(proposal) - model.log_joint(x, z) + encoder.log_prob(z)
            )
            acceptance += log_ratio.clamp(max=0).exp().mean().item() / total
            accepted = torch.rand_like(log_ratio).log() < log_ratio
            z = torch.where(accepted.unsqueeze(-1), proposal, z)
            x = model.decoder(z).sample()
            if step > burn_in and (step - burn_in) % stride == 0:
                kept.append((x, z))
            bar.update()
    return JointDraws(*(torch.stack(draws, 1).flatten(0, 1) for draws in zip(*kept, strict=True)), acceptance)
