"""Samplers: configurations of a system by dynamics."""

from predcg.samplers.langevin import Langevin
from predcg.samplers.openmm import OpenMMLangevin
from predcg.samplers.sampler import Sampler

__all__ = ["Langevin", "OpenMMLangevin", "Sampler"]
