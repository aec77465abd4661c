"""Reweighting across a ladder of temperatures."""

import logging
from dataclasses import replace

import torch

from predcg.batch import Batch
from predcg.errors import InputError


def reweight(batch: Batch, beta: float = 1.0) -> Batch:
    """All frames of all temperatures, weighted for exp(-β u): w_n ∝ exp(-β u_n) / Σ_k N_k exp(f_k - β_k u_n) (Shirts
    and Chodera 2008).

    Args:
        batch: with energies and `beta`, as replica exchange makes it; every temperature has sampled its own Boltzmann
            density.
        beta: of the target, 1 for the system's own temperature.

    Raises:
        InputError: energies or temperatures are missing, or pymbar is not installed.
    """
    logging.getLogger("pymbar").setLevel(logging.ERROR)  # It speaks of JAX when it is imported.
    try:
        from pymbar import MBAR
    except ImportError as reason:
        raise InputError('mbar: expected pymbar; found none; pip install "predcg[analysis]"') from reason
    if batch.u is None or batch.beta is None:
        raise InputError("mbar: expected a batch with energies and temperatures, as replica exchange makes it")
    order = batch.beta.argsort(stable=True)
    betas, counts = batch.beta[order].double().unique_consecutive(return_counts=True)
    u = batch.u[order].double()
    estimate = MBAR((betas[:, None] * u).numpy(), counts.numpy())
    log_weights = -beta * u - torch.logsumexp(
        torch.from_numpy(estimate.f_k)[:, None] + counts.log()[:, None] - betas[:, None] * u, 0
    )
    weights = torch.empty_like(log_weights)
    weights[order] = torch.softmax(log_weights, 0) * len(u)
    return replace(batch, w=weights.to(batch.x))
