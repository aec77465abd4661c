"""Posteriors: how well the data determine the decoder's weights."""

from predcg.posteriors.laplace import GaussNewton, Laplace, UnitGaussNewton
from predcg.posteriors.posterior import Posterior, Weights

__all__ = ["GaussNewton", "Laplace", "Posterior", "UnitGaussNewton", "Weights"]
