"""A random walk that is accepted by energies alone."""

import logging

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Seed
from predcg.samplers.markov_chain import MarkovChain, slope
from predcg.samplers.sampler import Bias
from predcg.systems import System

log = logging.getLogger(__name__)


class Metropolis(MarkovChain):
    """x' = x + s ε with ε ~ N(0, I), accepted with probability min(1, exp(u - u')) (Metropolis et al. 1953).

    For few coordinates: averages have no error of a time step, and what is no motion in time has no need of one.
    Acceptance is reported.

    Args:
        step: s, in the units of x.
        stride, burn_in, seed: see Sampler.

    >>> from predcg.systems import Harmonic
    >>> Metropolis(step=1.0, stride=5, burn_in=0).run(Harmonic([1.0]), torch.zeros(4, 1), 10).x.shape
    torch.Size([40, 1])
    """

    def __init__(self, step: PositiveFloat, stride: PositiveInt, burn_in: NonNegativeInt, seed: Seed = 0):
        super().__init__(1.0, stride, burn_in, seed)
        if not step > 0:
            raise InputError(f"sampler.step: expected a positive number; found {step}")
        self.step = step

    def begin(self, system: System, start: Tensor, bias: Bias | None, noise: torch.Generator) -> dict:
        u, own, total, _ = slope(system, start, bias)
        state = {"x": start, "beta": start.new_ones(len(start)), "u": u, "slope": own, "total": total}
        return state | {"accepted": 0.0, "attempts": 0}

    def advance(self, system: System, state: dict, steps: int, bias: Bias | None, noise: torch.Generator) -> None:
        for _ in range(steps):
            x = state["x"]
            moved = x + self.step * torch.randn(x.shape, generator=noise, device=x.device, dtype=x.dtype)
            u, own, total, _ = slope(system, moved, bias)
            uniform = torch.rand(len(x), generator=noise, device=x.device, dtype=x.dtype)
            accept = uniform.log() < state["total"] - total
            for key, value in {"x": moved, "u": u, "slope": own, "total": total}.items():
                state[key] = torch.where(accept.unsqueeze(-1) if value.dim() == 2 else accept, value, state[key])
            state["accepted"] += accept.double().mean().item()
            state["attempts"] += 1

    def report(self, state: dict) -> None:
        log.info("steps accepted: %.0f %%", 100 * state["accepted"] / max(state["attempts"], 1))
