"""Figures: pure functions of finished runs to a picture and its numbers."""

from predcg.figures.latent import latent_map
from predcg.figures.molecule import bond_lengths, decoder_walk, energy_histogram, ramachandran, rg_histogram
from predcg.figures.planar import bounds, contours, profile
from predcg.figures.sampling import ladder
from predcg.figures.speed import energy_speed, sampling_speed
from predcg.figures.training import training

__all__ = [
    "bond_lengths",
    "bounds",
    "contours",
    "decoder_walk",
    "energy_histogram",
    "energy_speed",
    "ladder",
    "latent_map",
    "profile",
    "ramachandran",
    "rg_histogram",
    "sampling_speed",
    "training",
]
