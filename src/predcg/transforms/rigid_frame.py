"""Cartesian coordinates in a frame that moves with the molecule."""

import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.observables.observable import atoms
from predcg.ranges import NonNegativeInt
from predcg.transforms.transform import Transform


class RigidFrame(Transform):
    """Put atom a at the origin, b on +z, c in the xz half-plane x > 0, and drop the six coordinates that this freezes.

    With r = |r_b - r_a| and ρ the distance of c from the axis a-b, the volume element is
    dx = r² ρ · dy · d(translation) · d(rotation), and the rotations have volume 8π², so that a density q(y) of the
    remaining 3n - 6 coordinates is the density q(y) / (8π² r² ρ) of configurations per volume of translations.
    The gauge of Schöberl et al. 2019 (their indices 18, 19, 20, 24, 25, 43 for atoms 6, 8, 14), who leave out the
    volume element; it matters as soon as energies are learnt from.

    Args:
        atoms: indices (a, b, c) of three atoms that are never on one line.

    >>> x = torch.tensor([1.0, 1, 1, 1, 1, 3, 4, 1, 1])  # a right angle at the first atom, sides 2 and 3
    >>> RigidFrame([0, 1, 2])(x)  # z of b, x and z of c
    tensor([2., 3., 0.])
    """

    def __init__(self, atoms: list[NonNegativeInt]):
        if atoms is None or len(set(atoms)) != 3 or min(atoms) < 0:
            raise InputError(
                f"atoms: expected three different atom indices; found {atoms if atoms is None else list(atoms)}"
            )
        super().__init__()
        self.a, self.b, self.c = atoms

    def width(self, size: int) -> int:
        if size < 9 or max(self.a, self.b, self.c) >= size // 3:
            raise InputError(
                f"atoms: expected indices below the number of atoms, {size // 3}; found {[self.a, self.b, self.c]}"
            )
        return size - 6

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] - 6))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] + 6))

    def _kept(self, size: int) -> list[int]:
        dropped = {3 * self.a, 3 * self.a + 1, 3 * self.a + 2, 3 * self.b, 3 * self.b + 1, 3 * self.c + 1}
        return [i for i in range(size) if i not in dropped]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log|dy/dx| in one pass."""
        r = atoms(x)
        r = r - r[..., self.a : self.a + 1, :]
        b, c = r[..., self.b, :], r[..., self.c, :]
        length = b.norm(dim=-1, keepdim=True)
        z = b / length
        across = c - (c * z).sum(-1, keepdim=True) * z
        rho = across.norm(dim=-1, keepdim=True)
        x_axis = across / rho
        frame = torch.stack([x_axis, torch.linalg.cross(z, x_axis), z], -1)
        y = (r @ frame).flatten(-2)[..., self._kept(x.shape[-1])]
        return y, -(length**2 * rho).log().squeeze(-1) - math.log(8 * math.pi**2)

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        x = y.new_zeros(*y.shape[:-1], y.shape[-1] + 6)
        x[..., self._kept(x.shape[-1])] = y
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]
