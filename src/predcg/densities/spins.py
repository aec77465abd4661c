"""Densities of spins ±1: a coarse chain with learned couplings, what it says of the fine spins, and what these say of it."""

import math

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from predcg.densities.density import Density
from predcg.errors import InputError
from predcg.spins import Spins, features

SWEEPS = 200  # of Gibbs sampling from free spins, where a chain has no exact draws; our choice


class SpinChain(Density):
    """p(X) ∝ exp(-β U(X)) of n spins X_I = ±1, -U = μ Σ X_I + ½ θ_lin Σ X_I + Σ_{k <= L} θ_k Σ X_I X_{I+k} + ½ θ_3 Σ X_I X_{I+1} X_{I+2}.

    The couplings θ are the weight of `energy`, in the order lin, 1 to L, 3, those that there are; they start as 1 over their number, as a chain
    whose couplings sum to 1. Normalised, and drawn from, exactly by transfer matrices where these reach (n 4^L up to 2^25), else by
    annealed importance sampling and Gibbs sweeps (Schöberl, Zabaras, Koutsourelakis 2015, where every term of U carries -½ and pairs are
    summed over both neighbours).

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

    def __init__(self, size: int, reach: int, linear: bool, triple: bool, field: float, beta: float, periodic: bool = True):
        super().__init__()
        if not 0 <= reach < size:
            raise InputError(f"latent.reach: expected between 0 and one less than the z = {size} coarse spins; found {reach}")
        if triple and size < 3:
            raise InputError(f"latent.triple: expected at least 3 coarse spins; found z = {size}")
        names = [*(["lin"] if linear else []), *(str(k) for k in range(1, reach + 1)), *(["3rd"] if triple else [])]
        if not names:
            raise InputError("latent: expected at least one coupling; found reach 0 and neither linear nor triple; choose latent.linear=true")
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

    def information(self) -> dict[str, Tensor]:
        """Fisher information of θ, the covariance of ∂(-βU)/∂θ, (k, k)."""
        theta = self.energy.weight[0].detach().double()
        if self._spins(theta).countable:
            return {"energy.weight": torch.autograd.functional.hessian(lambda theta: self._spins(theta).log_z(), theta)}
        sums = features(self().sample((1000,)).double(), self.reach, self.periodic)
        kept = sums[:, [i for i, there in enumerate([self.linear, *[True] * self.reach, self.triple]) if there]]
        half = theta.new_tensor([0.5 if name in ("lin", "3rd") else 1.0 for name in self.names])
        return {"energy.weight": (self.beta * half * kept).T.cov().view(len(theta), len(theta))}


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
            x = self.spins.gibbs(torch.randint(0, 2, (count, n), device=self.spins.field.device).double() * 2 - 1, SWEEPS)
        return x.view(*shape, n).to(self.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        return (self.spins.log_weight(x.double()) - self.spins.log_z()).to(self.dtype)


class _Independent(Distribution):
    """Spins x_i = ±1, independent, with p(x_i = 1) = 1 / (1 + exp(-logits_i))."""

    arg_constraints = {}

    def __init__(self, logits: Tensor):
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        return (0.5 * self.logits).tanh()

    @torch.no_grad()
    def sample(self, shape: Size = ()) -> Tensor:
        p = self.logits.sigmoid().expand(*shape, *self.logits.shape)
        return (torch.rand_like(p) < p).to(p) * 2 - 1

    def log_prob(self, x: Tensor) -> Tensor:
        return logsigmoid(self.logits * x).sum(-1)


class SpinBlocks(Density):
    """p(x|X): each spin of the I-th block of n/n_c agrees with X_I with probability θ_cf, independently: θ_cf^{(1 + xX)/2} (1 - θ_cf)^{(1 - xX)/2}.

    Args:
        context: n_c.
        size: n, a multiple of n_c.
        agreement: the initial θ_cf, in (0, 1).

    Source: Schöberl, Zabaras, Koutsourelakis 2015. The parameter is log θ_cf / (1 - θ_cf).

    >>> SpinBlocks(context=1, size=2, agreement=0.75)(torch.ones(1)).log_prob(torch.tensor([1.0, -1.0])).exp()
    tensor(0.1875, grad_fn=<ExpBackward0>)
    """

    def __init__(self, context: int, size: int, agreement: float):
        super().__init__()
        if not 0 < agreement < 1:
            raise InputError(f"decoder.agreement: expected a probability θ_cf in (0, 1); found {agreement}")
        self.size, self.block = size, _block(context, size)
        self.logit = nn.Parameter(torch.tensor(math.log(agreement / (1 - agreement))))

    @property
    def agreement(self) -> Tensor:
        """θ_cf."""
        return self.logit.sigmoid()

    def forward(self, c: Tensor) -> Distribution:
        return _Independent(self.logit * c.repeat_interleave(self.block, -1))

    @property
    def alignment(self) -> tuple[float, float]:
        """⟨x_i X_I⟩, and ⟨x_i x_j⟩ of two spins of one block."""
        mean = 2 * self.agreement.item() - 1
        return mean, mean**2

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x|X) = Σ_I field_I X_I + constant, as a function of X: (..., n) to (..., n_c) and ()."""
        half = 0.5 * self.logit
        return half * x.unflatten(-1, (-1, self.block)).sum(-1), self.size * (logsigmoid(self.logit) - half)

    def information(self) -> dict[str, Tensor]:
        """Fisher information of the logit, n θ_cf (1 - θ_cf), (1, 1)."""
        p = self.agreement.detach().double()
        return {"logit": (self.size * p * (1 - p)).view(1, 1)}


class Majority(Density):
    """q(X|x): what most spins of each block say; ties at random.

    Args:
        context: n, a multiple of n_c.
        size: n_c.

    >>> Majority(context=4, size=2).location(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    tensor([1., 0.])
    """

    def __init__(self, context: int, size: int):
        super().__init__()
        self.block = _block(size, context)

    def forward(self, c: Tensor) -> Distribution:
        votes = c.unflatten(-1, (-1, self.block)).sum(-1)
        return _Independent(torch.where(votes == 0, 0.0, torch.inf * votes.sign()))


class MajorityBlocks(Density):
    """p(x|X): a block is all X, or all X but one spin, each of these n/n_c + 1 patterns equally likely.

    How relative entropy, which learns nothing about p(x|X), goes back to fine spins (Schöberl, Zabaras, Koutsourelakis 2015; that
    patterns are equally likely is our reading).

    Args:
        context: n_c.
        size: n, a multiple of n_c.

    >>> MajorityBlocks(context=1, size=2)(torch.ones(1)).mean  # of (1, 1), (-1, 1), (1, -1)
    tensor([0.3333, 0.3333])
    """

    def __init__(self, context: int, size: int):
        super().__init__()
        self.block = _block(context, size)

    @property
    def alignment(self) -> tuple[float, float]:
        """⟨x_i X_I⟩, and ⟨x_i x_j⟩ of two spins of one block."""
        return (self.block - 1) / (self.block + 1), (self.block - 3) / (self.block + 1)

    def forward(self, c: Tensor) -> Distribution:
        return _OneFlip(c, self.block)


class _OneFlip(Distribution):
    arg_constraints = {}

    def __init__(self, c: Tensor, block: int):
        super().__init__(c.shape[:-1], Size([c.shape[-1] * block]), validate_args=False)
        self.c, self.block = c, block

    @property
    def mean(self) -> Tensor:
        return self.c.repeat_interleave(self.block, -1) * (self.block - 1) / (self.block + 1)

    @torch.no_grad()
    def sample(self, shape: Size = ()) -> Tensor:
        c = self.c.expand(*shape, *self.c.shape).unsqueeze(-1)
        flipped = torch.randint(self.block + 1, c.shape, device=c.device)  # the last: none
        return torch.where(torch.arange(self.block, device=c.device) == flipped, -c, c).flatten(-2)

    def log_prob(self, x: Tensor) -> Tensor:
        against = (x.unflatten(-1, (-1, self.block)) * self.c.unsqueeze(-1) < 0).sum(-1)
        return torch.where((against <= 1).all(-1), -against.shape[-1] * math.log(self.block + 1), -torch.inf)


def fine_magnetisation(latent: SpinChain, decoder: SpinBlocks | MajorityBlocks) -> float:
    """⟨1/n Σ_i x_i⟩ under p(x|X) p(X), from exact sums over coarse chains."""
    return decoder.alignment[0] * latent.spins().mean().item()


def fine_correlations(latent: SpinChain, decoder: SpinBlocks | MajorityBlocks) -> Tensor:
    """R_l = ⟨x_i x_{i+l}⟩ averaged over i, for l = 1 to n/2 of a ring, (n/2,), float64, likewise."""
    alone, together = decoder.alignment
    near = latent.spins().correlations()  # of coarse spins up to half around the ring; the other half is its mirror image
    coarse = torch.cat([near, near.flip(0)[latent.size % 2 == 0 :]])
    apart = torch.cat([coarse.new_tensor([together]), alone**2 * coarse])
    places, lags = torch.arange(decoder.block), torch.arange(1, latent.size * decoder.block // 2 + 1)
    return apart[(places + lags.unsqueeze(-1)) // decoder.block % latent.size].mean(-1)


def log_evidence(latent: SpinChain, decoder: SpinBlocks, x: Tensor) -> Tensor:
    """log p(x) = log Σ_X p(x|X) p(X), (..., n) to (...,), by forward and backward sums over the coarse chain: exact where transfer matrices reach."""
    field, constant = decoder.evidence(x)
    return latent.spins(field).log_z() - latent.spins().log_z() + constant


def check_spins(latent: Density, decoder: Density, what: str) -> None:
    """Raise InputError, which says what asks, on any other densities than these two, of which sums over the coarse spins are known."""
    if not (isinstance(latent, SpinChain) and isinstance(decoder, SpinBlocks)):
        found = f"{type(latent).__name__} and {type(decoder).__name__}"
        raise InputError(f"{what}: expected latent=spin_chain and decoder=spin_blocks; found {found}")


def _block(coarse: int, fine: int) -> int:
    if coarse < 1 or fine % coarse:
        raise InputError(f"z: expected a divisor of the {fine} fine spins, so that all blocks are equally long; found {coarse} coarse spins")
    return fine // coarse
