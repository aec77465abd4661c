"""Posteriors: how well the data determine the weights."""

from predcg.posteriors.bootstrap import Bootstrap, Members
from predcg.posteriors.conditional import ConditionalGaussNewton, ConditionalLaplace, ConditionalUnitGaussNewton
from predcg.posteriors.laplace import Laplace, LastLayers
from predcg.posteriors.posterior import Posterior, WeightPosterior
from predcg.posteriors.spins import CompleteData, Joint, ObservedData

__all__ = [
    "Bootstrap",
    "CompleteData",
    "ConditionalGaussNewton",
    "ConditionalLaplace",
    "ConditionalUnitGaussNewton",
    "Joint",
    "Laplace",
    "LastLayers",
    "Members",
    "ObservedData",
    "Posterior",
    "WeightPosterior",
]
