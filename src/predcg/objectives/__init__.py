"""Objectives: what is minimised."""

from predcg.objectives.em import EM, ExactEM
from predcg.objectives.kl import ForwardKL, Mixed
from predcg.objectives.objective import Objective, Terms
from predcg.objectives.relative_entropy import RelativeEntropy
from predcg.objectives.replay import Replay
from predcg.objectives.reverse import ReverseKL

__all__ = ["EM", "ExactEM", "ForwardKL", "Mixed", "Objective", "RelativeEntropy", "Replay", "ReverseKL", "Terms"]
