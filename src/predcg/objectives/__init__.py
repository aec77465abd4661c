"""Objectives: what is minimised."""

from predcg.objectives.em import EM, ExactEM
from predcg.objectives.kl import ForwardKL
from predcg.objectives.objective import Evaluated, Objective, Terms
from predcg.objectives.relative_entropy import RelativeEntropy
from predcg.objectives.replay import Replay
from predcg.objectives.reverse import ReverseKL
from predcg.objectives.sum import Mixed, Sum

__all__ = [
    "EM",
    "Evaluated",
    "ExactEM",
    "ForwardKL",
    "Mixed",
    "Objective",
    "RelativeEntropy",
    "Replay",
    "ReverseKL",
    "Sum",
    "Terms",
]
