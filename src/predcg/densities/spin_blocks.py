"""Between coarse and fine spins: blocks that agree with their coarse spin, majorities, and what relative entropy makes
of them.
"""

import math

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from predcg.densities.density import Density
from predcg.errors import InputError
from predcg.ranges import OpenUnitInterval, PositiveInt


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
    """p(x|X): each spin of the I-th block of n/n_c agrees with X_I with probability θ_cf, independently: θ_cf^{(1 +
    xX)/2} (1 - θ_cf)^{(1 - xX)/2}.

    Args:
        context: n_c.
        size: n, a multiple of n_c.
        agreement: the initial θ_cf, in (0, 1).

    Source: Schöberl, Zabaras, Koutsourelakis 2015. The parameter is log θ_cf / (1 - θ_cf).

    >>> SpinBlocks(context=1, size=2, agreement=0.75)(torch.ones(1)).log_prob(torch.tensor([1.0, -1.0])).exp()
    tensor(0.1875, grad_fn=<ExpBackward0>)
    """

    def __init__(self, context: PositiveInt, size: PositiveInt, agreement: OpenUnitInterval):
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

    def __init__(self, context: PositiveInt, size: PositiveInt):
        super().__init__()
        self.block = _block(size, context)

    def forward(self, c: Tensor) -> Distribution:
        votes = c.unflatten(-1, (-1, self.block)).sum(-1)
        return _Independent(torch.where(votes == 0, 0.0, torch.inf * votes.sign()))


class MajorityBlocks(Density):
    """p(x|X): a block is all X, or all X but one spin, each of these n/n_c + 1 patterns equally likely.

    How relative entropy, which learns nothing about p(x|X), goes back to fine spins (Schöberl, Zabaras, Koutsourelakis
    2015; that patterns are equally likely is our reading).

    Args:
        context: n_c.
        size: n, a multiple of n_c.

    >>> MajorityBlocks(context=1, size=2)(torch.ones(1)).mean  # of (1, 1), (-1, 1), (1, -1)
    tensor([0.3333, 0.3333])
    """

    def __init__(self, context: PositiveInt, size: PositiveInt):
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
        flipped = torch.randint(self.block + 1, c.shape, device=c.device)  # The last number stands for none.
        return torch.where(torch.arange(self.block, device=c.device) == flipped, -c, c).flatten(-2)

    def log_prob(self, x: Tensor) -> Tensor:
        against = (x.unflatten(-1, (-1, self.block)) * self.c.unsqueeze(-1) < 0).sum(-1)
        return torch.where((against <= 1).all(-1), -against.shape[-1] * math.log(self.block + 1), -torch.inf)


def _block(coarse: int, fine: int) -> int:
    if coarse < 1 or fine % coarse:
        raise InputError(
            f"z: expected a divisor of the {fine} fine spins, so that all blocks are equally long; found {coarse}"
            " coarse spins"
        )
    return fine // coarse
