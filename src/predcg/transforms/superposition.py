"""Cartesian coordinates superposed on a reference."""

from torch import Tensor

from predcg.observables import AlignedCoordinates
from predcg.transforms.transform import Transform


class Superposition(Transform):
    """y = x centred and rotated onto a reference; back, y is taken as it is.

    All 3n coordinates of y stay in the model, although six of them carry nothing: a density over y is right for
    comparing models of data with each other, and not a density of configurations. Where energies enter, use RigidFrame.

    Args:
        reference: D flat coordinates, nm.
    """

    def __init__(self, reference: list[float]):
        super().__init__()
        self.align = AlignedCoordinates(reference)

    def _call(self, x: Tensor) -> Tensor:
        return self.align(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])
