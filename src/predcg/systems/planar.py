"""Two-dimensional systems, whose exact answers come from quadrature."""

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.systems.system import System

Box = tuple[tuple[float, float], tuple[float, float]]
DEPTH = 40.0  # In kT: where p_β is below exp(-40) of its maximum, it is left out.
SURVEY = 200  # The box is looked for on so many points per axis.
POINTS = (800, 800)  # Exact answers at β = 1 are sums over so many points per axis.


class Quadrature(NamedTuple):
    """Mid-points of a regular grid, (n, 2), and the log of exp(-β u) times the area of a cell, (n,), both float64; the
    sides of a cell.
    """

    grid: Tensor
    log_weights: Tensor
    spacing: tuple[float, float]


class Planar(System):
    """A system of two coordinates, of which everything is known at every β.

    Every exact answer is a sum over the mid-points of a regular grid, in float64; for smooth densities that vanish at
    the walls this converges faster than any power of the spacing. The grid lies in a box that holds and resolves p_β:
    what is below exp(-40) of its maximum is outside, what is inside fills at least a quarter of each side.

    Args:
        box: ((x1 low, x1 high), (x2 low, x2 high)), where to begin; it is kept where it already is such a box.
    """

    def __init__(self, box: Box):
        super().__init__(2)
        self.box = box

    def quadrature(self, beta: float = 1.0, points: tuple[int, int] = POINTS) -> Quadrature:
        """A grid for p_β, with so many points along x1 and along x2.

        Raises:
            InputError: no box holds exp(-β u), which then has no finite integral.
        """
        box = self.box
        for _ in range(100):
            fitted = self._fitted(box, self._laid(box, beta, (SURVEY, SURVEY)))
            if fitted == box:
                return self._laid(box, beta, points)
            box = fitted
        raise InputError(
            f"system: exp(-βu) of {type(self).__name__} has no finite integral at β = {beta:g}; choose coefficients"
            " that confine both coordinates"
        )

    def _laid(self, box: Box, beta: float, points: tuple[int, int]) -> Quadrature:
        sides = [
            torch.linspace(low, high, n + 1, dtype=torch.float64, device=self.masses.device)
            for (low, high), n in zip(box, points, strict=True)
        ]
        spacing = tuple((high - low) / n for (low, high), n in zip(box, points, strict=True))
        grid = torch.cartesian_prod(*((side[1:] + side[:-1]) / 2 for side in sides))
        return Quadrature(
            grid, -beta * self.energy(grid) + torch.tensor(spacing, dtype=torch.float64).log().sum().to(grid), spacing
        )

    @staticmethod
    def _fitted(box: Box, survey: Quadrature) -> Box:
        """The same box where it holds and resolves the mass, else one that is nearer to that."""
        heavy = survey.grid[survey.log_weights > survey.log_weights.max() - DEPTH]
        if not len(heavy):
            raise InputError("system: exp(-βu) is narrower than double precision resolves; choose smaller coefficients")
        sides = []
        for (low, high), cell, x in zip(box, survey.spacing, heavy.unbind(-1), strict=True):
            first, last, width = x.min().item() - cell, x.max().item() + cell, high - low
            if first < low or last > high:
                low, high = low - width * (first < low), high + width * (last > high)
            elif last - first < width / 4:
                low, high = first, last
            sides.append((low, high))
        return tuple(sides)

    @cached_property
    def _target(self) -> Quadrature:
        return self.quadrature()

    @property
    def grid(self) -> Tensor:
        """Centres of the cells at β = 1, (n, 2), float64, x2 running fastest."""
        return self._target.grid.to(self.masses.device)

    def log_z(self, beta: float = 1.0) -> float:
        """log ∫ exp(-β u(x)) dx, exact to quadrature."""
        return self.quadrature(beta).log_weights.logsumexp(0).item()

    def probabilities(self) -> Tensor:
        """Probability of every cell of the grid at β = 1, (n,), float64."""
        return self._target.log_weights.softmax(0).to(self.masses.device)

    def sample(self, n: int) -> Tensor:
        """n draws: a cell by its probability, then uniform inside the cell."""
        cells = self.grid[self.probabilities().multinomial(n, replacement=True)]
        width = torch.tensor(self._target.spacing, dtype=torch.float64, device=cells.device)
        return (cells + (torch.rand_like(cells) - 0.5) * width).to(self.masses.dtype)

    def exact(self) -> dict[str, float]:
        """log_z, means and standard deviations of x1 and x2, and the mass of every basin."""
        p, grid = self.probabilities(), self.grid
        mean = p @ grid
        sd = (p @ (grid - mean) ** 2).sqrt()
        label = self.label(grid)
        answers = {"log_z": self._target.log_weights.logsumexp(0).item()}
        for axis in range(2):
            answers |= {f"mean_x{axis + 1}": mean[axis].item(), f"sd_x{axis + 1}": sd[axis].item()}
        return answers | {f"p_{name}": p[label == index].sum().item() for index, name in enumerate(self.basins)}
