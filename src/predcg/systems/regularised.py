"""A system whose huge energies are tamed."""

import torch
from torch import Tensor

from predcg.systems.system import System


class Regularised(System):
    """u below the threshold t, t + log(1 + u - t) above it: clashes keep a slope that training can bear.

    Everything else is the wrapped system's. A wrapper, since the target is another one: reweight to the wrapped system.

    Args:
        system: whose energy it is.
        threshold: t in kT.

    >>> from predcg.systems import Harmonic
    >>> Regularised(Harmonic([1.0]), threshold=10.0)(torch.tensor([[1.0], [1000.0]]))
    tensor([ 0.5000, 23.1223])
    """

    def __init__(self, system: System, threshold: float):
        super().__init__(system.size)
        self.system, self.threshold = system, threshold
        self.kt, self.masses, self.basins = system.kt, system.masses, system.basins

    def energy(self, x: Tensor) -> Tensor:
        u = self.system.unchecked(x)
        return torch.where(u > self.threshold, self.threshold + torch.log1p((u - self.threshold).clamp(min=0)), u)

    def start(self, n: int) -> Tensor:
        return self.system.start(n)

    def label(self, x: Tensor) -> Tensor:
        return self.system.label(x)

    def expect(self, evaluations: int) -> None:
        self.system.expect(evaluations)
