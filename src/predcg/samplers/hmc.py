"""Hamiltonian Monte Carlo, whose averages have no error of the time step."""

import logging

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Seed
from predcg.samplers.markov_chain import MarkovChain, slope
from predcg.samplers.sampler import Bias
from predcg.systems import System

log = logging.getLogger(__name__)
DIVERGED = 1000.0  # A trajectory so many kT above its beginning is rejected at once, before its energy overflows.


class HMC(MarkovChain):
    """Velocity Verlet trajectories from fresh velocities, accepted with probability min(1, exp(H - H')) (Duane et al.
    1987).

    With one leapfrog step this is the Metropolis-adjusted Langevin algorithm (MALA). Acceptance is reported.

    Args:
        timestep: of the leapfrog steps.
        leapfrog: steps of a trajectory; `stride` and `burn_in` count trajectories.
        stride, burn_in, seed: see Sampler.
    """

    def __init__(
        self,
        timestep: PositiveFloat,
        leapfrog: PositiveInt,
        stride: PositiveInt,
        burn_in: NonNegativeInt,
        seed: Seed = 0,
    ):
        super().__init__(timestep, stride, burn_in, seed)
        if leapfrog < 1:
            raise InputError(f"sampler.leapfrog: expected at least 1; found {leapfrog}")
        self.leapfrog = self.evaluations_per_step = leapfrog

    def begin(self, system: System, start: Tensor, bias: Bias | None, noise: torch.Generator) -> dict:
        u, own, total, total_slope = slope(system, start, bias)
        state = {
            "x": start,
            "beta": start.new_ones(len(start)),
            "u": u,
            "slope": own,
            "total": total,
            "total_slope": total_slope,
        }
        return state | {"accepted": 0.0, "attempts": 0}

    def advance(self, system: System, state: dict, steps: int, bias: Bias | None, noise: torch.Generator) -> None:
        masses = system.masses.to(state["x"]) / system.kt
        for _ in range(steps):
            x, gradient = state["x"], state["total_slope"]
            v = torch.randn(x.shape, generator=noise, device=x.device, dtype=x.dtype) / masses.sqrt()
            before = state["total"] + 0.5 * (masses * v * v).sum(-1)
            sound = torch.ones_like(before, dtype=torch.bool)
            for _ in range(self.leapfrog):
                v = v - 0.5 * self.timestep * gradient / masses
                x = torch.where(sound.unsqueeze(-1), x + self.timestep * v, state["x"])
                u, own, total, gradient = slope(system, x, bias)
                v = v - 0.5 * self.timestep * gradient / masses
                sound &= total - before < DIVERGED
            after = total + 0.5 * (masses * v * v).sum(-1)
            uniform = torch.rand(len(x), generator=noise, device=x.device, dtype=x.dtype)
            accept = sound & (uniform.log() < before - after)
            new = {"x": x, "u": u, "slope": own, "total": total, "total_slope": gradient}
            for key, value in new.items():
                state[key] = torch.where(accept.unsqueeze(-1) if value.dim() == 2 else accept, value, state[key])
            state["accepted"] += accept.double().mean().item()
            state["attempts"] += 1

    def report(self, state: dict) -> None:
        log.info("trajectories accepted: %.0f %%", 100 * state["accepted"] / max(state["attempts"], 1))
