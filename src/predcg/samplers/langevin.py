"""Langevin dynamics, and replica exchange on top of it."""

import logging
import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Seed
from predcg.samplers.markov_chain import MarkovChain, slope
from predcg.samplers.sampler import Bias
from predcg.systems import System
from predcg.text import align

log = logging.getLogger(__name__)


class Langevin(MarkovChain):
    """BAOAB splitting of m dv = -kT ∇u dt - γ m v dt + √(2 γ m kT) dW (Leimkuhler and Matthews 2013).

    A harmonic motion of frequency ω has its exact width at any timestep h; its velocities at the ends of steps are
    colder than kT by a = (ω h / 2)². They begin at kT, so that a stiff bond stretches with a / (2 - 2a) too much energy
    at first, 4 % for C-H at 1 fs and 22 % at 2 fs, and forgets it as exp(-γ t): let burn_in last several 1/γ. What then
    is left comes from couplings: bonds to hydrogen stretch with 0.3 ± 0.3 % more energy at 1 fs and 0.9 ± 0.2 % at 2
    fs, as measured in alanine dipeptide at γ = 10/ps against 0.5 fs; their widths are off by half of that, mean lengths
    by less than 1e-5 nm.

    Args:
        friction: collision rate γ, 1 / time.
        timestep, stride, burn_in, seed: see Sampler; in reduced units masses and kT are 1.

    >>> from predcg.systems import Harmonic
    >>> Langevin(timestep=0.1, friction=1.0, stride=5, burn_in=0).run(Harmonic([1.0]), torch.zeros(4, 1), 10).x.shape
    torch.Size([40, 1])
    """

    def __init__(
        self,
        timestep: PositiveFloat,
        friction: PositiveFloat,
        stride: PositiveInt,
        burn_in: NonNegativeInt,
        seed: Seed = 0,
    ):
        super().__init__(timestep, stride, burn_in, seed)
        if not friction > 0:
            raise InputError(f"sampler.friction: expected a positive number; found {friction}")
        self.friction = friction

    def begin(self, system: System, start: Tensor, bias: Bias | None, noise: torch.Generator) -> dict:
        state = {"x": start, "beta": start.new_ones(len(start))}
        state["v"] = self._thermal(system, state) * torch.randn(
            start.shape, generator=noise, device=start.device, dtype=start.dtype
        )
        state["u"], state["slope"], _, state["total_slope"] = slope(system, start, bias)
        return state

    def advance(self, system: System, state: dict, steps: int, bias: Bias | None, noise: torch.Generator) -> None:
        x, v, gradient = state["x"], state["v"], state["total_slope"]
        kick = -0.5 * self.timestep * system.kt / system.masses.to(x)
        decay = math.exp(-self.friction * self.timestep)
        shake = math.sqrt(1 - decay**2) * self._thermal(system, state)
        for _ in range(steps):
            v = torch.addcmul(v, kick, gradient)
            x = torch.add(x, v, alpha=0.5 * self.timestep)
            v = torch.addcmul(decay * v, shake, torch.randn(x.shape, generator=noise, device=x.device, dtype=x.dtype))
            x = torch.add(x, v, alpha=0.5 * self.timestep)
            u, own, _, gradient = slope(system, x, bias)
            v = torch.addcmul(v, kick, gradient)
        state.update(x=x, v=v, u=u, slope=own, total_slope=gradient)

    def _thermal(self, system: System, state: dict) -> Tensor:
        """Standard deviation of each velocity, (R, D)."""
        return (system.kt / (system.masses.to(state["x"]) * state["beta"].unsqueeze(-1))).sqrt()


class ReplicaExchange(Langevin):
    """Langevin dynamics at a ladder of temperatures whose neighbours exchange configurations (Sugita and Okamoto 1999).

    Rungs k, k + 1 swap with probability min(1, exp((β_k - β_{k+1})(u_k - u_{k+1}))), even and odd pairs in turn;
    velocities are scaled to their new temperature. Every start runs a ladder of its own. Frames of all rungs are
    recorded, rung after rung, each with its `beta`; `mbar.reweight` makes one weighted sample of them. Acceptance is
    reported, and below 20 % warned about.

    Args:
        ladder: temperatures in units of the system's, ascending from 1.
        exchange: steps between attempts to swap; `stride` and `burn_in` are multiples of it.
        timestep, friction, stride, burn_in, seed: see Langevin.
    """

    def __init__(
        self,
        timestep: PositiveFloat,
        friction: PositiveFloat,
        stride: PositiveInt,
        burn_in: NonNegativeInt,
        ladder: list[PositiveFloat],
        exchange: PositiveInt,
        seed: Seed = 0,
    ):
        super().__init__(timestep, friction, stride, burn_in, seed)
        if len(ladder) < 2 or ladder[0] != 1 or any(b <= a for a, b in zip(ladder, ladder[1:], strict=False)):
            raise InputError(
                "sampler.ladder: expected at least two ascending temperatures in units of the system's, the first 1;"
                f" found {list(ladder)}"
            )
        if exchange < 1 or stride % exchange or burn_in % exchange:
            raise InputError(
                f"sampler.exchange: expected a divisor of stride = {stride} and burn_in = {burn_in}; found {exchange}"
            )
        self.ladder, self.exchange = list(ladder), exchange

    def replicas(self, starts: int) -> int:
        return starts * len(self.ladder)

    def begin(self, system: System, start: Tensor, bias: Bias | None, noise: torch.Generator) -> dict:
        if bias is not None:
            raise InputError("sampler: replica exchange runs without a bias; use sampler=langevin")
        rungs, copies = len(self.ladder), len(start)
        state = super().begin(system, start.repeat(rungs, 1), bias, noise)
        state["beta"] = (1 / torch.tensor(self.ladder, dtype=start.dtype, device=start.device)).repeat_interleave(
            copies
        )
        state["v"] = state["v"] / state["beta"].sqrt().unsqueeze(-1)
        return state | {"attempts": 0, "accepted": torch.zeros(rungs - 1, dtype=torch.float64, device=start.device)}

    def advance(self, system: System, state: dict, steps: int, bias: Bias | None, noise: torch.Generator) -> None:
        for _ in range(steps // self.exchange):
            super().advance(system, state, self.exchange, bias, noise)
            self._swap(state, noise)

    def _swap(self, state: dict, noise: torch.Generator) -> None:
        rungs = len(self.ladder)
        u, beta = (state[key].view(rungs, -1) for key in ("u", "beta"))
        uniform = torch.rand(rungs - 1, u.shape[1], generator=noise, device=u.device, dtype=u.dtype)
        turn = (torch.arange(rungs - 1, device=u.device) % 2 == state["attempts"] % 2).unsqueeze(-1)
        swap = turn & (uniform.log() < (beta[:-1] - beta[1:]) * (u[:-1] - u[1:]))
        partner = torch.arange(rungs, device=u.device).unsqueeze(-1).repeat(1, u.shape[1])
        partner[:-1] += swap.long()
        partner[1:] -= swap.long()
        source = (partner * u.shape[1] + torch.arange(u.shape[1], device=u.device)).flatten()
        scale = (state["beta"][source] / state["beta"]).sqrt().unsqueeze(-1)
        for key in ("x", "u", "slope", "total_slope"):
            state[key] = state[key][source]
        state["v"] = state["v"][source] * scale
        state["accepted"] += swap.double().mean(1)
        state["attempts"] += 1

    def report(self, state: dict) -> None:
        tried = [(state["attempts"] + 1 - pair % 2) // 2 for pair in range(len(self.ladder) - 1)]
        rates = [accepted / n for accepted, n in zip(state["accepted"].tolist(), tried, strict=True) if n]
        rows = [
            (f"{a:.3g} T and {b:.3g} T", f"{rate:.0%}")
            for a, b, rate in zip(self.ladder, self.ladder[1:], rates, strict=False)
        ]
        log.info("swaps accepted between neighbouring temperatures:\n%s", align(rows))
        if min(rates, default=1) < 0.2:
            log.warning(
                "sampler.ladder: a pair of temperatures swaps less than 20 % of its attempts; add a temperature between"
                " them"
            )
