"""What a sampler is: something that makes configurations of a system."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.systems import System

Bias = Callable[[Tensor], Tensor]


class Sampler(ABC):
    """Dynamics whose stationary density is exp(-u(x)), recorded every `stride` steps after `burn_in` steps.

    Args:
        timestep: integration step (ps for molecules).
        friction: collision rate, 1 / time.
        stride: steps between recorded frames.
        burn_in: steps before the first recorded frame.
    """

    def __init__(self, timestep: float, friction: float, stride: int, burn_in: int):
        for name, value in {"timestep": timestep, "friction": friction, "stride": stride}.items():
            if not value > 0:
                raise InputError(f"sampler.{name}: expected a positive number; found {value}")
        if burn_in < 0:
            raise InputError(f"sampler.burn_in: expected a number of steps >= 0; found {burn_in}")
        self.timestep, self.friction, self.stride, self.burn_in = timestep, friction, stride, burn_in

    @abstractmethod
    def run(self, system: System, start: Tensor, frames: int, bias: Bias | None = None) -> Batch:
        """`frames` configurations from each of R replicas, replica after replica: x (R · frames, D), with energies.

        Args:
            start: initial configurations, (R, D).
            frames: recorded frames per replica.
            bias: further reduced energy in kT of x, (..., D) to (...,), under which the dynamics run.
        """
