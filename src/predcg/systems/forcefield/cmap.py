"""Torsion maps: the bicubic periodic spline of OpenMM's CMAPTorsionForce."""

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn


class CMAP(nn.Module):
    """E(φ, ψ) = Σ_ab c_ab s^a t^b on the patch of (φ, ψ), s and t in [0, 1) inside it (Mackerell, Feig, Brooks 2004).

    Args:
        index: the map of each term, (m,).
        energies: of each map on its grid of first and second angle, (size, size), kJ/mol; sizes may differ.
    """

    def __init__(self, index: np.ndarray, energies: list[np.ndarray]):
        super().__init__()
        starts = np.cumsum([0] + [grid.size for grid in energies])[:-1]
        self.register_buffer("start", torch.tensor(starts[index])[:, None], persistent=False)
        self.register_buffer("sizes", torch.tensor([len(energies[i]) for i in index])[:, None], persistent=False)
        self.register_buffer(
            "patches", torch.tensor(np.concatenate([_patches(grid) for grid in energies])), persistent=False
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Energies of the angles in rad, all (..., m, W)."""
        place = [torch.remainder(angle / (2 * torch.pi), 1.0) * self.sizes for angle in (first, second)]
        # An angle just below 2π may round up to the end of the grid.
        cell = [torch.minimum(p.detach().floor().long(), self.sizes - 1) for p in place]
        s, t = (p - c for p, c in zip(place, cell, strict=True))
        c = self.patches[self.start + cell[0] * self.sizes + cell[1]]
        rows = [((c[..., a, 3] * t + c[..., a, 2]) * t + c[..., a, 1]) * t + c[..., a, 0] for a in range(4)]
        return ((rows[3] * s + rows[2]) * s + rows[1]) * s + rows[0]


def _patches(grid: np.ndarray) -> np.ndarray:
    """Coefficients c_ab of every patch, (size², 4, 4), row by row of the first angle."""
    size = len(grid)

    def slope(values: np.ndarray, axis: int) -> np.ndarray:
        closed = np.concatenate([values, np.take(values, [0], axis)], axis)
        return np.take(
            CubicSpline(np.arange(size + 1), closed, axis, "periodic")(np.arange(size), 1), range(size), axis
        )

    d1, d2 = slope(grid, 0), slope(grid, 1)
    values = np.stack([[grid, d2], [d1, slope(d1, 1)]])  # The axes are derivative in s, derivative in t, s, t.
    corners = [[np.roll(values, (-i, -j), (2, 3)) for j in (0, 1)] for i in (0, 1)]
    # Rows: value and slope at 0, value and slope at 1; Hermite's basis turns them into powers.
    hermite = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [-3, -2, 3, -1], [2, 1, -2, 1]])
    known = np.array([[corners[i // 2][j // 2][i % 2, j % 2] for j in range(4)] for i in range(4)])
    return np.einsum("ai,ijxy,bj->xyab", hermite, known, hermite).reshape(size * size, 4, 4)
