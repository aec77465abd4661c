"""Objectives: what is minimised."""

from predcg.objectives.kl import ForwardKL, Mixed
from predcg.objectives.objective import Objective, Terms
from predcg.objectives.replay import Replay
from predcg.objectives.reverse import ReverseKL

__all__ = ["ForwardKL", "Mixed", "Objective", "Replay", "ReverseKL", "Terms"]
