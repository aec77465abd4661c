"""The Ising chain: spins whose magnetisation, correlations and log Z are known by transfer matrices."""

import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import PositiveFloat, PositiveInt
from predcg.spins import Spins, free_spins
from predcg.systems.system import System

LAGS = 8  # The exact answers hold correlations up to this lag.


class IsingChain(System):
    """u(x) = -β (Σ_{k <= L} J_k Σ_i x_i x_{i+k} + μ Σ_i x_i) of n spins x_i = ±1, with J_k = J0 k^-a / Σ_k' k'^-a.

    So all J_k sum to J0, and each pair counts once (Schöberl, Zabaras, Koutsourelakis 2015, where the sum over both
    neighbours carries ½; the boundary, β and a are not stated there). Its exact answers are sums over states: log Z is
    that of Σ_x exp(-u(x)).

    Args:
        sites: n.
        coupling: J0, in units of kT / β.
        reach: L, between 1 and n - 1.
        decay: a.
        field: μ, in units of kT / β.
        beta: β.
        periodic: whether the chain is a ring.

    Raises:
        InputError: a number out of its range.

    >>> exact = IsingChain(sites=32, coupling=1.0, reach=1, decay=1.0, field=0.9, beta=0.3).exact()
    >>> round(exact["magnetisation"], 4)
    0.4458
    """

    def __init__(
        self,
        sites: PositiveInt,
        coupling: float,
        reach: PositiveInt,
        decay: float,
        field: float,
        beta: PositiveFloat,
        periodic: bool = True,
    ):
        for name, value in {"coupling": coupling, "decay": decay, "field": field, "beta": beta}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InputError(
                    f"system.{name}: expected a finite number; found {value!r}; in a sweep, separate several by commas"
                )
        if sites < 2:
            raise InputError(f"system.sites: expected at least 2; found {sites}")
        if not 1 <= reach < sites:
            raise InputError(f"system.reach: expected between 1 and sites - 1 = {sites - 1}; found {reach}")
        if beta <= 0:
            raise InputError(f"system.beta: expected a positive number; found {beta}")
        super().__init__(sites)
        self.field, self.beta, self.periodic = float(field), float(beta), periodic
        strength = torch.arange(1, reach + 1, dtype=torch.float64) ** -float(decay)
        self.register_buffer("pair", coupling * strength / strength.sum(), persistent=False)

    def spins(self) -> Spins:
        """exp(-u) as weights of spins, in float64."""
        pair = self.beta * self.pair.double()
        return Spins(pair.new_full((self.size,), self.beta * self.field), pair, pair.new_zeros(()), self.periodic)

    def energy(self, x: Tensor) -> Tensor:
        return -Spins(*(part.to(x) for part in self.spins()[:3]), self.periodic).log_weight(x)

    def start(self, n: int) -> Tensor:
        """Free spins, (n, sites)."""
        return free_spins((n, self.size), self.masses)

    def sample(self, n: int) -> Tensor:
        self._countable()
        return self.spins().sample(n).to(self.masses)

    def magnetisation(self) -> float:
        """⟨1/n Σ_i x_i⟩."""
        self._countable()
        return self.spins().mean().item()

    def correlations(self) -> Tensor:
        """R_l = ⟨x_i x_{i+l}⟩ averaged over i, for l = 1 to n/2 on a ring and to n - 1 on an open chain, float64."""
        self._countable()
        return self.spins().correlations()

    def exact(self) -> dict[str, float]:
        """log_z, magnetisation, and correlation_<l> for the first lags."""
        self._countable()
        answers = {"log_z": self.spins().log_z().item(), "magnetisation": self.magnetisation()}
        return answers | {
            f"correlation_{lag}": value for lag, value in enumerate(self.correlations()[:LAGS].tolist(), 1)
        }

    def _countable(self) -> None:
        if not self.spins().countable:
            raise InputError(
                f"system: {self.size} sites that interact over {len(self.pair)} have too many states for transfer"
                " matrices; use acquisition=simulate sampler=gibbs"
            )
