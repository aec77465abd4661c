"""A bistable system whose minor well is rare: the test of mode coverage."""

import numpy as np
from torch import Tensor

from predcg.errors import InputError
from predcg.systems.planar import Planar


class DoubleWell(Planar):
    """u(x) = a/4 x1⁴ - b/2 x1² + c x1 + d/2 x2².

    With the defaults log Z = 12.0649 and the right well holds 0.83 % of the mass (Schöberl, Zabaras, Koutsourelakis
    2019, SIAM CSE; the numbers by quadrature).

    Args:
        a, b, c, d: coefficients, kT, with lengths in reduced units.

    Raises:
        InputError: coefficients that do not make two wells.

    >>> round(DoubleWell().exact()["log_z"], 4)
    12.0649
    """

    basins = ("left", "right")

    def __init__(self, a: float = 1.0, b: float = 6.0, c: float = 1.0, d: float = 1.0):
        super().__init__(box=((-6.0, 6.0), (-12.0, 12.0)))
        self.a, self.b, self.c, self.d = a, b, c, d
        stationary = np.roots([a, 0.0, -b, c])
        if not (a > 0 and d > 0 and np.isreal(stationary).all()):
            raise InputError(
                f"system: expected a > 0, d > 0 and two wells, 4 b³ > 27 a c²; found a = {a}, b = {b}, c = {c}, d = {d}"
            )
        self.barrier = float(np.sort(stationary.real)[1])

    def energy(self, x: Tensor) -> Tensor:
        x1, x2 = x.unbind(-1)
        return self.a / 4 * x1**4 - self.b / 2 * x1**2 + self.c * x1 + self.d / 2 * x2**2

    def label(self, x: Tensor) -> Tensor:
        """0 left of the barrier, 1 right of it."""
        return (x[..., 0] > self.barrier).long()
