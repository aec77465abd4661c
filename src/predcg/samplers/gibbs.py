"""Gibbs sampling of spins, whose averages have no error of a time step."""

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveInt, Seed
from predcg.samplers.markov_chain import MarkovChain
from predcg.samplers.sampler import Bias
from predcg.systems import IsingChain, System


class Gibbs(MarkovChain):
    """Every spin in turn drawn given all others (Geman and Geman 1984), in all replicas at once; a step is a sweep over
    all sites.

    A sweep counts as one energy evaluation of each replica: it computes every site's field once.

    Args:
        stride, burn_in, seed: see Sampler, in sweeps.

    Raises:
        InputError: a system that is not an IsingChain, or a bias.
    """

    evaluations_to_begin = 0

    def __init__(self, stride: PositiveInt, burn_in: NonNegativeInt, seed: Seed = 0):
        super().__init__(1.0, stride, burn_in, seed)

    def begin(self, system: System, start: Tensor, bias: Bias | None, noise: torch.Generator) -> dict:
        if not isinstance(system, IsingChain):
            raise InputError(
                f"sampler: Gibbs sampling is for system=ising_chain; found {type(system).__name__}; choose"
                " sampler=langevin or hmc"
            )
        if bias is not None:
            raise InputError("sampler: Gibbs sampling takes no bias")
        return {"x": start, "u": system.energy(start)}

    def advance(self, system: System, state: dict, steps: int, bias: Bias | None, noise: torch.Generator) -> None:
        state["x"] = system.spins().gibbs_sweeps(state["x"], steps, noise)
        state["u"] = system.energy(state["x"])
        system.evaluations += steps * len(state["x"])
