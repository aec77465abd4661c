"""Figures: pure functions of finished runs to a picture and its numbers."""

from predcg.figures.ablation import minor_well, recovered_mass
from predcg.figures.bands import observable_bands, rg_bands
from predcg.figures.chains import gibbs_acceptance
from predcg.figures.coding import decoded, encoded
from predcg.figures.couplings import coupling_path
from predcg.figures.coverage import coverage
from predcg.figures.decoding import decoder_walk, dihedral_maps
from predcg.figures.efficiency import efficiency
from predcg.figures.estimators import estimators
from predcg.figures.evolution import histograms, moments
from predcg.figures.explained import explained
from predcg.figures.free_energy import (
    coarse_axis,
    coarse_histogram,
    free_energy_learning,
    free_energy_rounds,
)
from predcg.figures.free_energy_maps import free_energy_maps
from predcg.figures.free_energy_speed import free_energy_budgets, free_energy_speed_up, predicted_divergence
from predcg.figures.generator import free_energy_simulated, full_space, two_sided
from predcg.figures.gradients import gradient_noise
from predcg.figures.ising import spin_correlations, spin_magnetisation, spin_parameters
from predcg.figures.ising_errors import spin_bands, spin_errors
from predcg.figures.latent import latent_map
from predcg.figures.molecule import bond_lengths, energy_histogram, ramachandran, rg_histogram
from predcg.figures.networks import networks
from predcg.figures.planar import bounds, profile, target
from predcg.figures.precisions import precisions
from predcg.figures.reweighting import reweighting
from predcg.figures.sampling import ladder
from predcg.figures.speed import energy_speed, sampling_speed
from predcg.figures.spin_fit import spin_fit
from predcg.figures.spin_speed import ising_speed
from predcg.figures.structures import atom_spread, structure_strip
from predcg.figures.style import styled
from predcg.figures.tempering import tempering
from predcg.figures.training import training
from predcg.figures.training_speed import training_speed

__all__ = [
    "atom_spread",
    "bond_lengths",
    "bounds",
    "coarse_axis",
    "coarse_histogram",
    "coupling_path",
    "coverage",
    "decoded",
    "decoder_walk",
    "dihedral_maps",
    "efficiency",
    "encoded",
    "energy_histogram",
    "energy_speed",
    "estimators",
    "explained",
    "free_energy_budgets",
    "free_energy_learning",
    "free_energy_maps",
    "free_energy_rounds",
    "free_energy_simulated",
    "free_energy_speed_up",
    "full_space",
    "gibbs_acceptance",
    "gradient_noise",
    "histograms",
    "ising_speed",
    "ladder",
    "latent_map",
    "minor_well",
    "moments",
    "networks",
    "observable_bands",
    "precisions",
    "predicted_divergence",
    "profile",
    "ramachandran",
    "recovered_mass",
    "reweighting",
    "rg_bands",
    "rg_histogram",
    "sampling_speed",
    "spin_bands",
    "spin_correlations",
    "spin_errors",
    "spin_fit",
    "spin_magnetisation",
    "spin_parameters",
    "structure_strip",
    "target",
    "tempering",
    "training",
    "training_speed",
    "two_sided",
]

globals().update({name: styled(globals()[name]) for name in __all__})
