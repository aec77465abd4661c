"""What a coarse chain and its blocks say together, from exact sums over the coarse spins."""

import torch
from torch import Tensor

from predcg.densities.density import Density
from predcg.densities.spin_blocks import MajorityBlocks, SpinBlocks
from predcg.densities.spin_chain import SpinChain
from predcg.errors import InputError


def fine_magnetisation(latent: SpinChain, decoder: SpinBlocks | MajorityBlocks) -> float:
    """⟨1/n Σ_i x_i⟩ under p(x|X) p(X), from exact sums over coarse chains."""
    return decoder.alignment[0] * latent.spins().mean().item()


def fine_correlations(latent: SpinChain, decoder: SpinBlocks | MajorityBlocks) -> Tensor:
    """R_l = ⟨x_i x_{i+l}⟩ averaged over i, for l = 1 to n/2 of a ring, (n/2,), float64, likewise."""
    alone, together = decoder.alignment
    # Coarse spins up to half around the ring are enough; the other half is its mirror image.
    near = latent.spins().correlations()
    coarse = torch.cat([near, near.flip(0)[latent.size % 2 == 0 :]])
    apart = torch.cat([coarse.new_tensor([together]), alone**2 * coarse])
    places, lags = torch.arange(decoder.block), torch.arange(1, latent.size * decoder.block // 2 + 1)
    return apart[(places + lags.unsqueeze(-1)) // decoder.block % latent.size].mean(-1)


def log_evidence(latent: SpinChain, decoder: SpinBlocks, x: Tensor) -> Tensor:
    """log p(x) = log Σ_X p(x|X) p(X), (..., n) to (...,), by forward and backward sums over the coarse chain: exact
    where transfer matrices reach.
    """
    field, constant = decoder.evidence(x)
    return latent.spins(field).log_z() - latent.spins().log_z() + constant


def check_spins(latent: Density, decoder: Density, what: str) -> None:
    """Raise InputError, which says what asks, on any other densities than these two, of which sums over the coarse
    spins are known.
    """
    if not (isinstance(latent, SpinChain) and isinstance(decoder, SpinBlocks)):
        found = f"{type(latent).__name__} and {type(decoder).__name__}"
        raise InputError(f"{what}: expected latent=spin_chain and decoder=spin_blocks; found {found}")
