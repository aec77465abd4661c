"""Posteriors: how well the data determine the weights."""

from predcg.posteriors.laplace import GaussNewton, Laplace, UnitGaussNewton
from predcg.posteriors.posterior import Posterior, Weights
from predcg.posteriors.spins import CompleteData, Joint, ObservedData

__all__ = ["CompleteData", "GaussNewton", "Joint", "Laplace", "ObservedData", "Posterior", "UnitGaussNewton", "Weights"]
