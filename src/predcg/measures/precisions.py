"""Which weights of the decoder the data ask for."""

import torch
from torch import Tensor

from predcg.results import Run

SMALL = 1e-4  # A weight below it counts as switched off, as in the source.


def active(run: Run) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Matrices of the decoder's weights by layer; the share of weights with |θ| >= 1e-4, of all and of each layer."""
    layers = {
        name.removesuffix(".weight"): p.detach() for name, p in run.model.decoder.named_parameters() if p.ndim >= 2
    }
    shares = {"active_share": _active(torch.cat([theta.flatten() for theta in layers.values()]))}
    return layers, shares | {f"active_share_{name.replace('.', '_')}": _active(theta) for name, theta in layers.items()}


def _active(theta: Tensor) -> float:
    return (theta.abs() >= SMALL).double().mean().item()
