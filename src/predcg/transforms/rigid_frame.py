"""Cartesian coordinates in a frame that moves with the molecule."""

import math

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.observables.observable import atoms
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

    def __init__(self, atoms: list[int]):
        if atoms is None or len(set(atoms)) != 3 or min(atoms) < 0:
            raise InputError(f"atoms: expected three different atom indices; found {atoms if atoms is None else list(atoms)}")
        super().__init__()
        self.a, self.b, self.c = atoms

    def width(self, size: int) -> int:
        if size < 9 or max(self.a, self.b, self.c) >= size // 3:
            raise InputError(f"atoms: expected indices below the number of atoms, {size // 3}; found {[self.a, self.b, self.c]}")
        return size - 6

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] - 6))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] + 6))

    def _kept(self, size: int, device: torch.device) -> Tensor:
        kept = torch.ones(size, dtype=torch.bool, device=device)
        kept[[3 * self.a, 3 * self.a + 1, 3 * self.a + 2, 3 * self.b, 3 * self.b + 1, 3 * self.c + 1]] = False
        return kept

    def _call(self, x: Tensor) -> Tensor:
        r = atoms(x)
        r = r - r[..., self.a : self.a + 1, :]
        z = torch.nn.functional.normalize(r[..., self.b, :], dim=-1)
        c = r[..., self.c, :]
        x_axis = torch.nn.functional.normalize(c - (c * z).sum(-1, keepdim=True) * z, dim=-1)
        frame = torch.stack([x_axis, torch.linalg.cross(z, x_axis), z], -1)
        return (r @ frame).flatten(-2)[..., self._kept(x.shape[-1], x.device)]

    def _inverse(self, y: Tensor) -> Tensor:
        x = y.new_zeros(*y.shape[:-1], y.shape[-1] + 6)
        x[..., self._kept(x.shape[-1], y.device)] = y
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        r = atoms(x)
        b, c = r[..., self.b, :] - r[..., self.a, :], r[..., self.c, :] - r[..., self.a, :]
        # r² ρ = r |b × c|
        volume = b.norm(dim=-1) * torch.linalg.cross(b, c).norm(dim=-1)
        return -volume.log() - math.log(8 * math.pi**2)
