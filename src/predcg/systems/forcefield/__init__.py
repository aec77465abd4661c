"""The force field of an OpenMM System as one batched, differentiable, compiled torch function."""

from predcg.systems.forcefield.batched import Batched
from predcg.systems.forcefield.forcefield import TERMS, ForceField

__all__ = ["TERMS", "Batched", "ForceField"]
