"""Objectives: what is minimised."""

from predcg.objectives.conditional import ConditionalKL
from predcg.objectives.em import EM, ExactEM
from predcg.objectives.free_energy import FreeEnergyMatching
from predcg.objectives.kl import ForwardKL
from predcg.objectives.objective import Evaluated, Objective, Terms
from predcg.objectives.recording import Recording
from predcg.objectives.regression import FreeEnergyRegression
from predcg.objectives.relative_entropy import RelativeEntropy
from predcg.objectives.replay import Replay
from predcg.objectives.reverse import ReverseKL
from predcg.objectives.sum import Mixed, Sum

__all__ = [
    "EM",
    "ConditionalKL",
    "Evaluated",
    "ExactEM",
    "ForwardKL",
    "FreeEnergyMatching",
    "FreeEnergyRegression",
    "Mixed",
    "Objective",
    "Recording",
    "RelativeEntropy",
    "Replay",
    "ReverseKL",
    "Sum",
    "Terms",
]
