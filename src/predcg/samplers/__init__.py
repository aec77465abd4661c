"""Samplers: configurations of a system by dynamics."""

from predcg.samplers.gibbs import Gibbs
from predcg.samplers.hmc import HMC
from predcg.samplers.langevin import Langevin, ReplicaExchange
from predcg.samplers.mbar import reweight
from predcg.samplers.metropolis import Metropolis
from predcg.samplers.openmm import OpenMMLangevin
from predcg.samplers.sampler import Sampler

__all__ = ["HMC", "Gibbs", "Langevin", "Metropolis", "OpenMMLangevin", "ReplicaExchange", "Sampler", "reweight"]
