"""Chains of spins ±1: their weights, sums over all of their states, exact draws, and Gibbs sweeps."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

ENTRIES = 2**25  # The largest set of transfer matrices has so many: 32 sites that interact over 10, a quarter of a GB.
HELD = 40.0  # Such a field holds a spin: the other direction has e^-80 of the weight.
CHAINS, RUNGS = 1000, 100  # Annealed importance sampling has so many; our choice.


class Spins(NamedTuple):
    """log w(s) = Σ_i f_i s_i + Σ_k K_k Σ_i s_i s_{i+k} + T Σ_i s_i s_{i+1} s_{i+2} of n spins s_i = ±1, on a ring or an
    open chain.

    Args:
        field: f, (..., n): one chain, or one for each of a batch.
        pair: K_1 to K_b, (b,), b < n.
        triple: T, ().
        periodic: whether the chain is a ring.

    >>> fields, couplings = torch.zeros(4, dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    >>> ring = Spins(fields, couplings, torch.zeros(()), periodic=True)
    >>> ring.log_z()  # log((2 cosh K)^4 + (2 sinh K)^4)
    tensor(3.2976, dtype=torch.float64)
    """

    field: Tensor
    pair: Tensor
    triple: Tensor
    periodic: bool

    @property
    def memory(self) -> int:
        """How many spins before it a spin interacts with."""
        return max(len(self.pair), 2 if self.triple.requires_grad or self.triple != 0 else 1)

    @property
    def countable(self) -> bool:
        """Whether transfer matrices reach: sums are exact then, and there are exact draws."""
        return self.field.shape[-1] * 2 ** (self.memory * (2 if self.periodic else 1)) <= ENTRIES

    def log_weight(self, s: Tensor) -> Tensor:
        """log w(s): (..., n) to (...,)."""
        sums = features(s, len(self.pair), self.periodic)
        return (self.field * s).sum(-1) + sums[..., 1:-1] @ self.pair + self.triple * sums[..., -1]

    def log_z(self) -> Tensor:
        """log Σ_s w(s), (...,): exact by transfer matrices where they reach, else by annealed importance sampling; with
        its gradient.

        The gradient by f_i is the mean of s_i, that by K_k and T the means of their sums.
        """
        return self._total(self.messages()[0]) if self.countable else self._annealed()

    def messages(self) -> list["Summed"]:
        """The summed weight of sites t, ..., n - 1, for t = 0 to n, given the m spins before t and the end.

        A state of m spins counts -1 as 0 and +1 as 1, the latest spin as its last digit. On a ring the end is that the
        last m spins are those before site 0, E = 2^m; an open chain has one end, E = 1.
        """
        factors, batch = self._factors(), self.field.shape[:-1]
        states = 2**self.memory
        end = (
            torch.eye(states, dtype=self.field.dtype, device=self.field.device)
            if self.periodic
            else self.field.new_ones(states, 1)
        )
        shares, scales = [end.expand(*batch, *end.shape)], [self.field.new_ones(batch)]
        for factor in factors.unbind(-4)[::-1]:
            down, up = shares[-1].unflatten(-2, (1, -1, 2)).unbind(-2)
            share = (up * factor + down / factor).flatten(-3, -2)
            # A constant is taken out of each chain and counted, so that long chains stay in range.
            scales.append(share.detach().amax((-2, -1)))
            shares.append(share / scales[-1][..., None, None])
        log_scales = torch.stack(scales).log().cumsum(0)
        return [Summed(*pair) for pair in zip(shares[::-1], log_scales.flip(0), strict=True)]

    def means(self) -> Tensor:
        """⟨s_i⟩, (..., n)."""
        field = self.field.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self._replace(field=field).log_z().sum(), field)[0].detach()

    @torch.no_grad()
    def mean(self) -> Tensor:
        """⟨s_i⟩ of one chain, averaged over i; a ring has equal fields."""
        if not self.periodic:
            return self.means().mean()
        return self._signed(self.messages(), len(self.field)).diagonal().sum()

    @torch.no_grad()
    def correlations(self) -> Tensor:
        """⟨s_i s_{i+l}⟩ of one chain, averaged over i, for l = 1 to n/2 on a ring, which has equal fields, and to n - 1
        on an open chain.
        """
        if not self.periodic:
            return self._held()
        size, messages = len(self.field), self.messages()
        return torch.stack(
            [
                (self._signed(messages, lag) * self._signed(messages, size - lag).T).sum()
                for lag in range(1, size // 2 + 1)
            ]
        )

    def _signed(self, messages: list["Summed"], length: int) -> Tensor:
        """Weights of so many sites of a ring, with the sign of the first of them, over as large a power of Z."""
        size = len(self.field)
        rest, factor = messages[size - length + 1], self._factors()[0]
        down, up = rest.share.unflatten(-2, (1, -1, 2)).unbind(-2)
        scale = (rest.log_scale - length / size * self._total(messages[0])).exp()
        return scale * (up * factor - down / factor).flatten(0, 1)

    def _held(self) -> Tensor:
        """Of an open chain: with spin i held up or down the means of all others are those given it."""
        size = len(self.field)
        held = torch.arange(size, device=self.field.device)
        up_down = self.field.new_tensor([[1.0], [-1.0]])
        field = self.field.expand(2, size, size).clone()
        field[:, held, held] += HELD * up_down
        spins = self._replace(field=field)
        share = spins.log_z().softmax(0)  # The shares are those of i up and down.
        products = ((share * up_down).unsqueeze(-1) * spins.means()).sum(0)
        return torch.stack([products.diagonal(lag).mean() for lag in range(1, size)])

    def sample(self, count: int) -> Tensor:
        """Independent exact draws of one chain, (count, n)."""
        messages, squares = self.messages(), self._factors().flatten(-3) ** 2
        states = squares.shape[-1]
        if self.periodic:
            state = messages[0].share.diagonal().multinomial(count, replacement=True)
        else:
            state = torch.zeros(count, dtype=torch.long, device=self.field.device)
        end, spins = state if self.periodic else torch.zeros_like(state), []
        for square, rest in zip(squares, messages[1:], strict=True):
            follow = 2 * state % states
            odds = square[state] * rest.share[follow + 1, end] / rest.share[follow, end]
            up = torch.rand_like(odds) * (1 + 1 / odds) < 1
            state = follow + up
            spins.append(up)
        return torch.stack(spins, -1).to(self.field) * 2 - 1

    def gibbs_sweeps(self, start: Tensor, sweeps: int, noise: torch.Generator | None = None) -> Tensor:
        """Each spin in turn drawn given all others, `sweeps` times: (..., n) to (..., n), all chains at once.

        Sites that do not see one another are drawn at the same time.
        """
        size = start.shape[-1]
        # Sites come first, so that those of one colour are whole rows; the last row is what an open chain sees beyond
        # its ends.
        s = torch.cat([start.flatten(0, -2).T, start.new_zeros(1, start[..., 0].numel())])
        field = self.field.detach().expand_as(start).flatten(0, -2).T.to(s)
        pair, triple = self.pair.tolist(), self.triple.item()
        reach = range(-self.memory, self.memory + 1)
        colours = [
            (sites, field[sites], {k: self._neighbours(sites, k) for k in reach}) for sites in self._colours(size)
        ]
        for _ in range(sweeps):
            for sites, own, around in colours:
                h = own
                for k, strength in enumerate(pair, 1):
                    h = torch.add(h, s[around[-k]].add_(s[around[k]]), alpha=strength)
                if triple != 0:
                    left, right = s[around[-1]], s[around[1]]
                    h = h + triple * (s[around[-2]] * left + left * right + right * s[around[2]])
                up = torch.rand(h.shape, generator=noise, device=h.device, dtype=h.dtype) < (2 * h).sigmoid_()
                s[sites] = up.to(s).mul_(2).sub_(1)
        return s[:-1].T.reshape(start.shape)

    def _annealed(self) -> Tensor:
        """Annealed importance sampling from free spins (Neal 2001): exp of the estimate is unbiased."""
        shape = self.field.shape
        with torch.no_grad():
            s = free_spins((CHAINS, *shape), self.field)
            log_w = s.new_zeros(s.shape[:-1])
            for rung in range(1, RUNGS + 1):
                log_w += self.log_weight(s) / RUNGS
                s = self._scaled(rung / RUNGS).gibbs_sweeps(s, 1)
        share = log_w.softmax(0)
        mean = (share * self.log_weight(s)).sum(0)
        return log_w.logsumexp(0) - math.log(CHAINS) + shape[-1] * math.log(2) + mean - mean.detach()

    def _scaled(self, factor: float) -> "Spins":
        return Spins(factor * self.field, factor * self.pair, factor * self.triple, self.periodic)

    def _total(self, first: "Summed") -> Tensor:
        ends = first.share.diagonal(dim1=-2, dim2=-1).sum(-1) if self.periodic else first.share[..., 0, 0]
        return ends.log() + first.log_scale

    def _factors(self) -> Tensor:
        """exp of the field that a site has with that of the m spins before it, (..., n, 2, 2^m / 2, 1), the earliest of
        them first.
        """
        size, reach = self.field.shape[-1], len(self.pair)
        states = torch.arange(2**self.memory, device=self.field.device)
        # The latest comes first.
        before = torch.stack([(states >> k) % 2 for k in range(self.memory)], -1).to(self.field) * 2 - 1
        coupled = before[:, :reach] * self.pair.to(before)
        third = self.triple * before[:, 0] * before[:, 1] if self.memory > 1 else torch.zeros_like(before[:, 0])
        if self.periodic:
            h = coupled.sum(-1) + third
        else:  # The first sites have fewer before them.
            site = torch.arange(size, device=states.device).unsqueeze(-1)
            h = (site > torch.arange(reach, device=states.device)).to(before) @ coupled.T + (site > 1) * third
        return (self.field.unsqueeze(-1) + h).exp().unflatten(-1, (2, -1)).unsqueeze(-1)

    def _colours(self, size: int) -> list[Tensor]:
        """Sites that do not see one another, in groups."""
        apart = self.memory + 1
        whole = size // apart * apart
        return [torch.arange(first, whole, apart) for first in range(min(apart, whole))] + [
            torch.tensor([site]) for site in range(whole, size)
        ]

    def _neighbours(self, sites: Tensor, k: int) -> Tensor:
        size = self.field.shape[-1]
        at = sites + k
        return at % size if self.periodic else torch.where((at >= 0) & (at < size), at, size)


class Summed(NamedTuple):
    """Weights summed over sites: exp(log_scale) · share, (..., 2^m, E), whose largest entry is 1."""

    share: Tensor
    log_scale: Tensor


def free_spins(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Spins that nothing holds, of this shape, with the type and on the device of another tensor."""
    return torch.randint(0, 2, shape, device=like.device).to(like) * 2 - 1


def features(s: Tensor, reach: int, periodic: bool) -> Tensor:
    """Σ s_i, then Σ s_i s_{i+k} for k = 1 to `reach`, then Σ s_i s_{i+1} s_{i+2}: (..., n) to (..., reach + 2)."""
    pairs = [(s * shifted(s, k, periodic)).sum(-1) for k in range(1, reach + 1)]
    return torch.stack([s.sum(-1), *pairs, (s * shifted(s, 1, periodic) * shifted(s, 2, periodic)).sum(-1)], -1)


def shifted(s: Tensor, k: int, periodic: bool) -> Tensor:
    """s_{i+k} at site i, zero beyond the end of an open chain."""
    rolled = s.roll(-k, -1)
    if not periodic:
        rolled[..., -k:] = 0
    return rolled
