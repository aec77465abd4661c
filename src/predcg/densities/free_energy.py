"""A latent density that is known by its free energy, with the doubt about it."""

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from predcg.densities.box import Box
from predcg.densities.energy_based import EnergyBased
from predcg.densities.splines import Splines
from predcg.errors import InputError
from predcg.ranges import PositiveFloat, PositiveInt

CELLS = 8  # Quadrature and draws have so many cells per interval of splines.
FINE = {1: 256, 2: 128}  # Where there are no intervals, there are so many along each of one or of two coordinates.
CERTAIN = 0.25  # No weights are believed to have a smaller relative variance.
WALL = 30  # A side of the box is so many widths of its wall.


class FreeEnergy(EnergyBased):
    """p(z) ∝ exp(-F(z)) in a box, where F is the mean of an ensemble and the spread of its members is the doubt about
    it.

    Nothing of it is learnt by maximum likelihood: an objective fits the members to weights (objectives). Outside of the
    box, where p(z) is zero, F goes on as a wall: F(nearest point of the box) + ½ (30 distance / side)².

    Args:
        box: of one or two coordinates.
        counts: cells along each, for quadrature and draws.
    """

    def __init__(self, box: Box, counts: list[int]):
        super().__init__()
        self.box, self.counts = box, counts

    @abstractmethod
    def inside(self, z: Tensor) -> Tensor:
        """F of each of K members at z inside of the box, (..., d) to (K, ...)."""

    def mean_inside(self, z: Tensor) -> Tensor:
        """Their mean, (..., d) to (...,)."""
        return self.inside(z).mean(0)

    def members(self, z: Tensor) -> Tensor:
        """F of each of K members in kT, (..., d) to (K, ...)."""
        folded = self.box.folded(z)
        return self.inside(folded) + self._wall(z - folded)

    def potential(self, z: Tensor) -> Tensor:
        folded = self.box.folded(z)
        return self.mean_inside(folded) + self._wall(z - folded)

    def _wall(self, beyond: Tensor) -> Tensor:
        return 0.5 * (WALL * beyond / self.box.sides.to(beyond) * ~self.box.periodic).square().sum(-1)

    def doubt(self, z: Tensor) -> Tensor:
        """Standard deviation of F over the members in kT: (..., d) to (...,). Raises InputError where there is one."""
        return self._several(self.members(z)).std(0)

    def above_lowest(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """F above that of the lowest cell and the standard deviation of this difference over the members, kT: (..., d)
        to (...,) each. Raises InputError where there is one.
        """
        cells, _ = self.cells()
        lowest = cells[self.potential(cells).argmin()].to(z)
        apart = self._several(self.members(z)) - self.members(lowest).view(-1, *[1] * (z.ndim - 1))
        return self.potential(z) - self.potential(lowest), apart.std(0)

    def divergence(self) -> float:
        """The forward Kullback-Leibler divergence of exp(-F) from the truth that the doubt predicts, in nat: ½ E_k
        Var_p[F_k - F]. Raises InputError where there is one member.
        """
        f = self._several(self.members(self.cells()[0]))
        share, apart = (-f.mean(0)).softmax(0), f - f.mean(0)
        return 0.5 * (apart.square() @ share - (apart @ share).square()).sum().item() / (len(f) - 1)

    @staticmethod
    def _several(f: Tensor) -> Tensor:
        if len(f) < 2:
            raise InputError("latent.members: expected at least 2, whose spread is the doubt about F; found 1")
        return f

    def cells(self) -> tuple[Tensor, Tensor]:
        """Centres of the cells that fill the box, (n, d), and the sides of one, (d,), float64."""
        return self.box.cells(self.counts)

    def forward(self, c: Tensor | None = None) -> Distribution:
        return _InBox(self)


class FreeEnergySplines(FreeEnergy):
    """Members are cubic splines, F_k(z) = Σ_j θ_kj b_j(z), so that they can be fitted by Newton's method.

    They are θ_k = θ + draws of a Gaussian whose mean over the members is exactly 0; at first of a prior, under which
    first differences of θ along each axis have the standard deviation `slope` and third ones `bend`: where nothing is
    known they part, the more the farther away from what is.

    Args:
        size: d, one or two.
        low, high, periodic: see Box.
        intervals: of the splines along each coordinate.
        members: K.
        slope, bend: kT, from one knot to the next.

    Raises:
        InputError: besides those of Box and Splines, another number of coordinates, or a number out of its range.

    >>> flat = FreeEnergySplines(1, [0.0], [2.0], [8], members=1, slope=1e-9, bend=1e-9)
    >>> flat().log_prob(torch.tensor([[0.3]])).exp()
    tensor([0.5000])
    """

    def __init__(
        self,
        size: PositiveInt,
        low: list[float],
        high: list[float],
        intervals: list[PositiveInt],
        periodic: list[bool] | None = None,
        members: PositiveInt = 32,
        slope: PositiveFloat = 2.0,
        bend: PositiveFloat = 1.0,
    ):
        box = _box(size, low, high, periodic, members)
        splines = Splines(box, intervals)
        super().__init__(box, [CELLS * n for n in intervals])
        for name, number in {"slope": slope, "bend": bend}.items():
            if not number > 0:
                raise InputError(f"latent.{name}: expected a positive number; found {number}")
        self.splines, self.per = splines, CELLS
        self.register_buffer("precision", splines.roughness(slope, bend), persistent=False)
        noise = torch.randn(members, splines.size, dtype=torch.float64)
        self.register_buffer("noise", noise - noise.mean(0))
        self.register_buffer("theta", torch.zeros_like(noise))
        self.register_buffer("smoothness", torch.ones((), dtype=torch.float64))  # The prior's precision is so many P.
        # The prior leaves the constant open: as good as any precision of it, where it is taken away again.
        root = torch.linalg.cholesky(self.precision + 1 / splines.size)
        drawn = torch.linalg.solve_triangular(root.T, self.noise.T, upper=True).T
        self.theta += drawn - drawn.mean(1, keepdim=True)
        self.register_buffer("fitted", torch.zeros((), dtype=torch.long))  # F is fitted to so many evaluations.

    def inside(self, z: Tensor) -> Tensor:
        return self.splines.at(z.reshape(-1, z.shape[-1]), self.theta).view(len(self.theta), *z.shape[:-1])

    def mean_inside(self, z: Tensor) -> Tensor:
        return self.splines.at(z.reshape(-1, z.shape[-1]), self.theta.mean(0)).view(z.shape[:-1])


class FreeEnergyNetworks(FreeEnergy):
    """Members are multilayer perceptrons with sigmoid layers, F_k(z) = level + f_k(z), that see cosine and sine of
    circles and other coordinates on a scale where the box has variance 1.

    Args:
        size, low, high, periodic, members: see FreeEnergySplines.
        hidden: widths of the hidden layers.
        initial: `wide`, all weights and biases of a layer are N(0, σ²), with σ drawn from U(0.1, 3) for each, so that
            members differ where nothing is known; `xavier`, weights are U(-√(6 / (inputs + outputs)), ...) and biases 0
            (Glorot and Bengio 2010, equation 16). (Schopmans and Friederich 2024: of Müller-Brown and of alanine
            dipeptide.)

    Raises:
        InputError: see FreeEnergySplines.

    >>> FreeEnergyNetworks(1, [-1.0], [1.0]).members(torch.zeros(5, 1)).shape
    torch.Size([10, 5])
    """

    SIGMA = (0.1, 3.0)

    def __init__(
        self,
        size: PositiveInt,
        low: list[float],
        high: list[float],
        periodic: list[bool] | None = None,
        members: PositiveInt = 10,
        hidden: list[PositiveInt] = (64, 64),
        initial: Literal["wide", "xavier"] = "wide",
    ):
        box = _box(size, low, high, periodic, members)
        super().__init__(box, [FINE[size]] * size)
        widths = [size + int(box.periodic.sum()), *hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            if initial == "wide":
                sigma = torch.empty(members, 1, 1).uniform_(*self.SIGMA)
                weight, bias = (sigma * torch.randn(members, n, outputs) for n in (inputs, 1))
            else:
                limit = math.sqrt(6 / (inputs + outputs))
                weight = torch.empty(members, inputs, outputs).uniform_(-limit, limit)
                bias = torch.zeros(members, 1, outputs)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))
        self.register_buffer("level", torch.zeros(()))

    def inside(self, z: Tensor) -> Tensor:
        scaled = (z - self.box.low.to(z)) / self.box.sides.to(z) - 0.5
        circles, others = scaled[..., self.box.periodic] * 2 * math.pi, scaled[..., ~self.box.periodic] * math.sqrt(12)
        seen = torch.cat([circles.cos(), circles.sin(), others], -1)
        h = seen.reshape(-1, seen.shape[-1]).expand(len(self.weights[0]), -1, -1)
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias.to(z), h.sigmoid() if depth else h, weight.to(z))
        return self.level.to(z) + h.view(len(h), *z.shape[:-1])


def check_reachable(name: str, doubt: float, evaluations: int) -> None:
    """Raise InputError, with the name of the setting, on a doubt in kT that so many evaluations cannot reach: they
    leave at best √(¼ / N) about one number.
    """
    least = math.sqrt(CERTAIN / evaluations) if evaluations else 0.0
    if not doubt > least:
        raise InputError(
            f"{name}: expected more than {least:.2g} kT, which {evaluations} energy evaluations leave at best; found"
            f" {doubt}; choose more, or more rounds or steps"
        )


def _box(size: int, low: list[float], high: list[float], periodic: list[bool] | None, members: int) -> Box:
    if size not in FINE:
        raise InputError(f"latent.size: expected z = 1 or 2, for a free energy; found {size}")
    if len(low) != size:
        raise InputError(f"latent.low: expected z = {size} numbers; found {list(low)}")
    if members < 1:
        raise InputError(f"latent.members: expected at least 1; found {members}")
    return Box(low, high, periodic)


class _InBox(Distribution):
    """exp(-F), normalised by the mid-points of the cells."""

    arg_constraints = {}

    def __init__(self, density: FreeEnergy):
        super().__init__(Size(), Size([density.box.size]), validate_args=False)
        self.density = density
        self.centres, self.sides = density.cells()
        self.f = density.potential(self.centres)
        self.log_z = (-self.f).logsumexp(0) + self.sides.log().sum()

    @torch.no_grad()
    def sample(self, shape: Size = ()) -> Tensor:
        """Draws: a cell by its mass, a place in it at random, kept with a probability ∝ exp(F(centre) - F(place)); so
        exact as long as F falls by less than log 2 from the centre of a cell.
        """
        n = math.prod(shape)
        drawn = self.centres.new_empty(0, len(self.sides))
        share = (-self.f).softmax(0)
        while len(drawn) < n:
            cell = share.multinomial(2 * n + 16, replacement=True)
            z = self.centres[cell] + (torch.rand(len(cell), len(self.sides)).to(share) - 0.5) * self.sides
            kept = torch.rand(len(cell)).to(share) < 0.5 * (self.f[cell] - self.density.potential(z)).exp()
            drawn = torch.cat([drawn, z[kept]])
        # Rounding must not lead out of the box.
        return self.density.box.folded(drawn[:n].view(*shape, len(self.sides)).to(torch.get_default_dtype()))

    def log_prob(self, z: Tensor) -> Tensor:
        log_prob = -self.density.potential(z) - self.log_z.to(z)
        return torch.where(self.density.box.holds(z), log_prob, -torch.inf)
