"""Two-dimensional systems, whose exact answers come from quadrature."""

import torch
from torch import Tensor

from predcg.systems.system import System


class Planar(System):
    """A system of two coordinates in a box that holds all of its mass.

    Every exact answer is a sum over the mid-points of a regular grid, in float64; for smooth densities that vanish at
    the walls this converges faster than any power of the spacing.

    Args:
        box: ((x1 low, x1 high), (x2 low, x2 high)).
        points: grid points per axis.
    """

    def __init__(self, box: tuple[tuple[float, float], tuple[float, float]], points: int = 800):
        super().__init__(2)
        self.box = box
        edges = [torch.linspace(low, high, points + 1, dtype=torch.float64) for low, high in box]
        self.spacing = [(high - low) / points for low, high in box]
        centres = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
        self.register_buffer("grid", torch.cartesian_prod(*centres), persistent=False)

    def _log_weights(self, beta: float) -> Tensor:
        cell = torch.tensor(self.spacing, dtype=torch.float64).log().sum()
        return -beta * self.energy(self.grid) + cell.to(self.grid.device)

    def log_z(self, beta: float = 1.0) -> float:
        """log ∫ exp(-β u(x)) dx, exact to quadrature."""
        return self._log_weights(beta).logsumexp(0).item()

    def probabilities(self, beta: float = 1.0) -> Tensor:
        """Probability of every grid cell under p_β, (points²,), float64."""
        return self._log_weights(beta).softmax(0)

    def sample(self, n: int) -> Tensor:
        """n draws: a cell by its probability, then uniform inside the cell."""
        cells = self.grid[self.probabilities().multinomial(n, replacement=True)]
        width = torch.tensor(self.spacing, dtype=torch.float64, device=cells.device)
        return (cells + (torch.rand_like(cells) - 0.5) * width).to(self.masses.dtype)

    def exact(self) -> dict[str, float]:
        """log_z, means and standard deviations of x1 and x2, and the mass of every basin."""
        p = self.probabilities()
        mean = p @ self.grid
        sd = (p @ (self.grid - mean) ** 2).sqrt()
        label = self.label(self.grid)
        answers = {"log_z": self.log_z()}
        for axis in range(2):
            answers |= {f"mean_x{axis + 1}": mean[axis].item(), f"sd_x{axis + 1}": sd[axis].item()}
        return answers | {f"p_{name}": p[label == index].sum().item() for index, name in enumerate(self.basins)}
