"""Training on Lightning: the only floor that knows it."""

from predcg.training.adaptive import AdaptiveTempering
from predcg.training.callbacks import LogZBounds
from predcg.training.fit import BEST, LAST, fit, read_checkpoint
from predcg.training.history import read_history
from predcg.training.later import Later
from predcg.training.module import Training
from predcg.training.rehearsal import check_logger, check_optimizer, check_trainer
from predcg.training.schedule import CosineOverRounds
from predcg.training.stochastic import Converged, Newton, RobbinsMonro
from predcg.training.tempering import Tempering

__all__ = [
    "BEST",
    "LAST",
    "AdaptiveTempering",
    "Converged",
    "CosineOverRounds",
    "Later",
    "LogZBounds",
    "Newton",
    "RobbinsMonro",
    "Tempering",
    "Training",
    "check_logger",
    "check_optimizer",
    "check_trainer",
    "fit",
    "read_checkpoint",
    "read_history",
]
