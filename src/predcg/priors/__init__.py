"""Priors: log p(θ) of the decoder's parameters."""

from predcg.priors.prior import ARD, Flat, Gaussian, Prior, StudentT

__all__ = ["ARD", "Flat", "Gaussian", "Prior", "StudentT"]
