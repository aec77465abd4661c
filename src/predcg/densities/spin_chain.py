"""The latent density of coarse spins: a chain with learned couplings."""

import math

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from predcg.densities.energy_based import EnergyBased
from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt
from predcg.spins import Spins, free_spins

SWEEPS = 200  # Where a chain has no exact draws, so many sweeps begin from free spins; our choice.


class SpinChain(EnergyBased):
    """p(X) ∝ exp(-β U(X)) of n spins X_I = ±1, -U = μ Σ X_I + ½ θ_lin Σ X_I + Σ_{k <= L} θ_k Σ X_I X_{I+k} + ½ θ_3 Σ
    X_I X_{I+1} X_{I+2}.

    The couplings θ are the weight of `energy`, in the order lin, 1 to L, 3, those that there are; they start as 1 over
    their number, as a chain whose couplings sum to 1. Normalised, and drawn from, exactly by transfer matrices where
    these reach (n 4^L up to 2^25), else by annealed importance sampling and Gibbs sweeps (Schöberl, Zabaras,
    Koutsourelakis 2015, where every term of U carries -½ and pairs are summed over both neighbours).

    Args:
        size: n.
        reach: L, between 0 and n - 1.
        linear, triple: whether there is θ_lin, and θ_3.
        field, beta: μ and β, those of the fine chain.
        periodic: whether the chain is a ring.

    Raises:
        InputError: a reach out of its range, triples of fewer than three spins, or no coupling at all.

    >>> latent = SpinChain(size=4, reach=1, linear=False, triple=False, field=0.0, beta=0.5)
    >>> latent().log_prob(torch.ones(4)).exp()  # e^(4 K) / ((2 cosh K)^4 + (2 sinh K)^4), K = β θ_1 = ½
    tensor(0.2732, grad_fn=<ExpBackward0>)
    """

    def __init__(
        self,
        size: PositiveInt,
        reach: NonNegativeInt,
        linear: bool,
        triple: bool,
        field: float,
        beta: PositiveFloat,
        periodic: bool = True,
    ):
        super().__init__()
        if not 0 <= reach < size:
            raise InputError(
                f"latent.reach: expected between 0 and one less than the z = {size} coarse spins; found {reach}"
            )
        if triple and size < 3:
            raise InputError(f"latent.triple: expected at least 3 coarse spins; found z = {size}")
        names = [*(["lin"] if linear else []), *(str(k) for k in range(1, reach + 1)), *(["3rd"] if triple else [])]
        if not names:
            raise InputError(
                "latent: expected at least one coupling; found reach 0 and neither linear nor triple; choose"
                " latent.linear=true"
            )
        self.size, self.reach, self.linear, self.triple, self.periodic = size, reach, linear, triple, periodic
        self.field, self.beta, self.names = float(field), float(beta), names
        self.energy = nn.Linear(len(names), 1, bias=False)
        nn.init.constant_(self.energy.weight, 1 / len(names))

    @property
    def couplings(self) -> dict[str, float]:
        """θ by name: lin, 1 to L, 3rd."""
        return dict(zip(self.names, self.energy.weight[0].tolist(), strict=True))

    def spins(self, field: Tensor | None = None) -> Spins:
        """exp(-β U) as weights of spins, in float64, with a further field, (..., n), if there is one."""
        return self._spins(self.energy.weight[0].double(), field)

    def _spins(self, theta: Tensor, field: Tensor | None = None) -> Spins:
        lin, pair, triple = theta.split([int(self.linear), self.reach, int(self.triple)])
        own = (self.beta * (self.field + 0.5 * lin.sum())).expand(self.size)
        third = 0.5 * self.beta * triple.sum() if self.triple else theta.new_zeros(())
        return Spins(own if field is None else own + field.double(), self.beta * pair, third, self.periodic)

    def forward(self, c: Tensor | None = None) -> Distribution:
        return _Chain(self.spins(), self.energy.weight.dtype)

    def potential(self, z: Tensor) -> Tensor:
        """β U(X)."""
        return -self.spins().log_weight(z.double()).to(z)

    def information(self) -> dict[str, Tensor]:
        """Fisher information of θ, the covariance of ∂(-βU)/∂θ, (k, k)."""
        theta = self.energy.weight[0].detach().double()
        if self._spins(theta).countable:
            return {"energy.weight": torch.autograd.functional.hessian(lambda theta: self._spins(theta).log_z(), theta)}
        x = self().sample((1000,)).double()
        slopes = torch.autograd.functional.jacobian(lambda theta: self._spins(theta).log_weight(x), theta)
        return {"energy.weight": slopes.T.cov().view(len(theta), len(theta))}


class _Chain(Distribution):
    """Spins with their normalised weights."""

    arg_constraints = {}

    def __init__(self, spins: Spins, dtype: torch.dtype):
        super().__init__(Size(), spins.field.shape[-1:], validate_args=False)
        self.spins, self.dtype = spins, dtype

    @torch.no_grad()
    def sample(self, shape: Size = ()) -> Tensor:
        count, n = math.prod(shape), self.event_shape[0]
        if self.spins.countable:
            x = self.spins.sample(count)
        else:
            x = self.spins.gibbs_sweeps(free_spins((count, n), self.spins.field), SWEEPS)
        return x.view(*shape, n).to(self.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        return (self.spins.log_weight(x.double()) - self.spins.log_z()).to(self.dtype)
