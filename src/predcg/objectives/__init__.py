"""Objectives: what is minimised."""

from predcg.objectives.kl import ForwardKL, Mixed, ReverseKL
from predcg.objectives.objective import Objective, Terms

__all__ = ["ForwardKL", "Mixed", "Objective", "ReverseKL", "Terms"]
