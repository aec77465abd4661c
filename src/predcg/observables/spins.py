"""Observables of chains of spins."""

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.observables.observable import Observable
from predcg.spins import shifted


class Magnetisation(Observable):
    """m(x) = 1/n Σ_i x_i, (..., 1).

    >>> Magnetisation()(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    tensor([0.5000])
    """

    def width(self, size: int) -> int:
        return 1

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True)


class Correlations(Observable):
    """R_l(x) = x_i x_{i+l} averaged over i, for each of the lags l, (..., k).

    Args:
        lags: l, each at least 1.
        periodic: whether the chain is a ring.

    >>> Correlations([1, 2], periodic=True)(torch.tensor([1.0, -1.0, 1.0, -1.0]))
    tensor([-1.,  1.])
    """

    def __init__(self, lags: list[int], periodic: bool):
        super().__init__()
        if min(lags, default=0) < 1:
            raise InputError(f"lags: expected numbers of at least 1; found {list(lags)}")
        self.lags, self.periodic = list(lags), periodic

    def width(self, size: int) -> int:
        return len(self.lags)

    def forward(self, x: Tensor) -> Tensor:
        pairs = x.shape[-1] - torch.tensor([0 if self.periodic else lag for lag in self.lags], device=x.device)
        return torch.stack([(x * shifted(x, lag, self.periodic)).sum(-1) for lag in self.lags], -1) / pairs
