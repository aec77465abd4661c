"""Densities: modules that turn a context into a distribution."""

from predcg.densities.coarse_spins import check_spins, fine_correlations, fine_magnetisation, log_evidence
from predcg.densities.completing import Completing
from predcg.densities.density import Conditional, Density, held_log_prob, sample_with_log_prob, shortened, with_weights
from predcg.densities.deterministic import DeterministicMLP, Observed
from predcg.densities.energy_based import EnergyBased
from predcg.densities.flow import Flow
from predcg.densities.free_energy import FreeEnergy, FreeEnergyNetworks, FreeEnergySplines
from predcg.densities.gaussian import FreeScale, GaussianMLP, NetScale, StandardNormal, TrunkScale
from predcg.densities.mixture import GaussianMixtureMLP
from predcg.densities.sinh_arcsinh import SinhArcsinh
from predcg.densities.spin_blocks import Majority, MajorityBlocks, SpinBlocks
from predcg.densities.spin_chain import SpinChain

__all__ = [
    "Completing",
    "Conditional",
    "Density",
    "DeterministicMLP",
    "EnergyBased",
    "Flow",
    "FreeEnergy",
    "FreeEnergyNetworks",
    "FreeEnergySplines",
    "FreeScale",
    "GaussianMLP",
    "GaussianMixtureMLP",
    "Majority",
    "MajorityBlocks",
    "NetScale",
    "Observed",
    "SinhArcsinh",
    "SpinBlocks",
    "SpinChain",
    "StandardNormal",
    "TrunkScale",
    "check_spins",
    "fine_correlations",
    "fine_magnetisation",
    "held_log_prob",
    "log_evidence",
    "sample_with_log_prob",
    "shortened",
    "with_weights",
]
