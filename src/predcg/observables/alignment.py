"""Coordinates without rigid motion, by superposition on a reference."""

import torch
from torch import Tensor

from predcg.observables.observable import Observable, atoms


class AlignedCoordinates(Observable):
    """Cartesian coordinates centred and rotated onto a reference by least squares (Kabsch 1976), (..., D), nm.

    Args:
        reference: D flat coordinates, nm. Superposed structures are centred on its centroid, moved to the origin.

    >>> AlignedCoordinates([0.0, 0, 0, 1, 0, 0, 0, 1, 0])(torch.tensor([5.0, 5, 5, 5, 6, 5, 4, 5, 5]))[:2]
    tensor([-0.3333, -0.3333])
    """

    def __init__(self, reference: list[float]):
        super().__init__()
        r = atoms(torch.as_tensor(reference))
        self.register_buffer("reference", r - r.mean(-2, keepdim=True), persistent=False)

    def width(self, size: int) -> int:
        return size

    def forward(self, x: Tensor) -> Tensor:
        r = atoms(x)
        r = r - r.mean(-2, keepdim=True)
        return (r @ rotation_onto(r, self.reference.to(x))).flatten(-2)


def rotation_onto(r: Tensor, reference: Tensor) -> Tensor:
    """Proper rotation R, (..., 3, 3), that minimises |r R - reference|² for centred r and reference, (..., n, 3)."""
    u, _, vh = torch.linalg.svd(r.transpose(-1, -2) @ reference)
    # The last singular direction flips where the optimum would be a reflection.
    sign = torch.ones(u.shape[:-1], dtype=u.dtype, device=u.device)
    sign[..., -1] = torch.linalg.det(u @ vh).sign()
    return (u * sign.unsqueeze(-2)) @ vh
