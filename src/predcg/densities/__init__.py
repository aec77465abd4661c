"""Densities: modules that turn a context into a distribution."""

from predcg.densities.density import Conditional, Density, sample_with_log_prob
from predcg.densities.deterministic import DeterministicMLP
from predcg.densities.flow import Flow
from predcg.densities.gaussian import FreeScale, GaussianMLP, NetScale, StandardNormal, TrunkScale
from predcg.densities.mixture import GaussianMixtureMLP

__all__ = [
    "Conditional",
    "Density",
    "DeterministicMLP",
    "Flow",
    "FreeScale",
    "GaussianMLP",
    "GaussianMixtureMLP",
    "NetScale",
    "StandardNormal",
    "TrunkScale",
    "sample_with_log_prob",
]
