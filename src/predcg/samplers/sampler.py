"""What a sampler is: something that makes configurations of a system."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Seed
from predcg.systems import System

Bias = Callable[[Tensor], Tensor]


class Sampler(ABC):
    """A Markov chain whose stationary density is exp(-u(x)), recorded every `stride` steps after `burn_in` steps.

    Args:
        timestep: integration step (ps for molecules).
        stride: steps between recorded frames.
        burn_in: steps before the first recorded stride.
        seed: the trajectories follow from it.
    """

    def __init__(self, timestep: PositiveFloat, stride: PositiveInt, burn_in: NonNegativeInt, seed: Seed):
        for name, value in {"timestep": timestep, "stride": stride}.items():
            if not value > 0:
                raise InputError(f"sampler.{name}: expected a positive number; found {value}")
        if burn_in < 0:
            raise InputError(f"sampler.burn_in: expected a number of steps >= 0; found {burn_in}")
        self.timestep, self.stride, self.burn_in, self.seed = timestep, stride, burn_in, seed

    @abstractmethod
    def run(
        self, system: System, start: Tensor, frames: int, bias: Bias | None = None, folder: Path | None = None
    ) -> Batch:
        """`frames` configurations from each of R replicas, replica after replica: x (R · frames, D), with energies and
        forces.

        Args:
            start: initial configurations, (R, D).
            frames: recorded frames per replica.
            bias: further reduced energy in kT of x, (..., D) to (...,), under which the dynamics run; energies and
                forces are without it.
            folder: keeps checkpoints, from which a killed simulation goes on exactly, and in the end `frames.npz` and,
                for molecules, `trajectory.dcd` with `topology.pdb`; a finished one is read, not run again.
        """
