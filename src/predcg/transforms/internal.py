"""Bonds, angles and torsions: coordinates in which a molecule stays whole."""

import math

import torch
from torch import Size, Tensor
from torch.nn.functional import logsigmoid

from predcg.errors import InputError
from predcg.observables import Angles, Dihedrals, Distances
from predcg.transforms.transform import Transform

SOFT = 0.0025  # The map that keeps bonds positive is linear but for lengths as small as this: over many thermal widths.
BOUNDED = 0.15  # Rad: bounded torsions are so wide, which no single term of a force field states; our choice.


class InternalCoordinates(Transform):
    """Cartesian x to y = periodic torsions in rad, then bonds, angles and bounded torsions as real numbers of order 1,
    (..., 3n) to (..., 3n - 6).

    With thermal widths σ: a bond is r/r0 - δ r0/r = 1 - δ + σ y / r0, linear near r0 and positive everywhere; an angle
    or a bounded torsion is a logistic function onto its interval with slope σ at its centre. Periodic torsions are on
    (-π, π]. The volume element is dx = Π r² sin θ · dr dθ dτ · 8π² d(translation), in the gauge of RigidFrame. The
    density of what is outside of an interval, such as the wrong handedness, is zero.

    Args:
        frame: atoms (a, b, c), b bonded to both others.
        zmatrix: atoms, bonds, angles and ranges; see systems.zmatrix.

    Raises:
        InputError: an atom that is placed before those which it is placed from.

    >>> bonds, angles = [[0.1, 0.01], [0.15, 0.01], [0.1, 0.01]], [[1.7, 0.1], [1.7, 0.1]]
    >>> h2o2 = {"atoms": [[3, 2, 1, 0]], "bonds": bonds, "angles": angles, "ranges": [None]}
    >>> x = InternalCoordinates([0, 1, 2], h2o2).inv(torch.tensor([math.pi / 2, 0.0, 0.0, 0.0, 0.0, 0.0]))
    >>> Distances([[1, 2]])(x), Dihedrals([[0, 1, 2, 3]])(x)
    (tensor([0.1500]), tensor([1.5708]))
    """

    def __init__(self, frame: list[int], zmatrix: dict[str, list]):
        super().__init__()
        a, b, c = frame
        rows = zmatrix["atoms"]
        self.distances = Distances([[a, b], [b, c], *(row[:2] for row in rows)])
        self.angles = Angles([[a, b, c], *(row[:3] for row in rows)])
        self.dihedrals = Dihedrals(rows)
        periodic = torch.tensor([bounds is None for bounds in zmatrix["ranges"]], dtype=torch.bool)
        bounds = [bounds for bounds in zmatrix["ranges"] if bounds is not None]
        low, high = zip(
            *([0.0, math.pi] for _ in zmatrix["angles"]),
            *([centre - half, centre + half] for centre, half in bounds),
            strict=True,
        )
        centre, width = zip(*zmatrix["angles"], *([centre, BOUNDED] for centre, _ in bounds), strict=True)
        constants = {
            "length": [length for length, _ in zmatrix["bonds"]],
            "stretch": [width for _, width in zmatrix["bonds"]],
        }
        for name, values in (constants | {"low": low, "high": high, "centre": centre, "width": width}).items():
            self.register_buffer(f"_{name}", torch.tensor(values, dtype=torch.float64), persistent=False)
        self.register_buffer(
            "_torsions", torch.cat([periodic.nonzero(), (~periodic).nonzero()]).squeeze(-1), persistent=False
        )
        self.register_buffer("_back", self._torsions.argsort(), persistent=False)
        self.periodic = int(periodic.sum())
        self._place(rows, [a, b, c])

    def _place(self, rows: list[list[int]], frame: list[int]) -> None:
        """Sort the rows into levels that are placed at a time, each from atoms of levels before."""
        place, level = {atom: at for at, atom in enumerate(frame)}, dict.fromkeys(frame, 0)
        for i, j, k, l in rows:
            if not level.keys() >= {j, k, l}:
                raise InputError(
                    f"zmatrix: expected atoms placed after those they are placed from; found {[i, j, k, l]} too early;"
                    " sort the rows"
                )
            level[i] = 1 + max(level[j], level[k], level[l])
        self._levels = []
        for depth in range(1, 1 + max(level.values())):
            these = [at for at, row in enumerate(rows) if level[row[0]] == depth]
            self._levels.append(
                (
                    torch.tensor(these),
                    *(torch.tensor([place[rows[at][column]] for at in these]) for column in (1, 2, 3)),
                )
            )
            place |= {rows[at][0]: len(place) + count for count, at in enumerate(these)}
        self._order = torch.tensor([place[atom] for atom in range(len(place))])

    def width(self, size: int) -> int:
        if size != 3 * len(self._order):
            raise InputError(
                f"zmatrix: expected one row for each of {size // 3} atoms but three; found {len(self._order) - 3}"
            )
        return size - 6

    def forward_shape(self, shape: Size) -> Size:
        return Size((*shape[:-1], shape[-1] - 6))

    def inverse_shape(self, shape: Size) -> Size:
        return Size((*shape[:-1], shape[-1] + 6))

    def _constants(self, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            getattr(self, f"_{name}").to(y) for name in ("length", "stretch", "low", "high", "centre", "width")
        )

    def _call(self, x: Tensor) -> Tensor:
        return self._measure(x)[0]

    def _measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, and whether all bounded coordinates are inside of their intervals."""
        length, stretch, low, high, centre, width = self._constants(x)
        r = self.distances(x)
        stretched = (r / length - SOFT * length / r - (1 - SOFT)) * length / stretch
        free, bounded = self.dihedrals(x)[..., self._torsions].tensor_split([self.periodic], -1)
        values = torch.cat([self.angles(x), bounded], -1)
        # A torsion is known up to turns; the one next to its centre is taken.
        values = centre + torch.remainder(values - centre + math.pi, 2 * math.pi) - math.pi
        share, middle = (values - low) / (high - low), (centre - low) / (high - low)
        slope = width / ((high - low) * middle * (1 - middle))
        inside = ((share > 0) & (share < 1)).all(-1)
        return (
            torch.cat(
                [free, stretched, (torch.logit(share, eps=torch.finfo(x.dtype).eps) - torch.logit(middle)) / slope], -1
            ),
            inside,
        )

    def _inverse(self, y: Tensor) -> Tensor:
        return self.back_and_ladj(y)[0]

    def back_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        r, bends, turns, log_det = self._values(y)
        return self._build(r, bends, turns), log_det

    def _values(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bonds, angles, torsions in the order of the rows, and log|dx/dy|."""
        length, stretch, low, high, centre, width = self._constants(y)
        free, stretched, bounded = y.tensor_split([self.periodic, self.periodic + len(length)], -1)
        w = 1 - SOFT + stretched * stretch / length
        root = (w * w + 4 * SOFT).sqrt()
        r = 0.5 * length * (w + root)
        middle = (centre - low) / (high - low)
        slope = width / ((high - low) * middle * (1 - middle))
        logit = torch.logit(middle) + slope * bounded
        values = low + (high - low) * torch.sigmoid(logit)
        bends, turns = values.tensor_split([len(length) - 1], -1)
        log_det = (0.5 * stretch * (1 + w / root)).log().sum(-1) + (
            logsigmoid(logit) + logsigmoid(-logit) + (slope * (high - low)).log()
        ).sum(-1)
        # The sine of the angle itself rounds to a negative number next to π.
        sine = (math.pi * torch.sigmoid(-logit[..., : bends.shape[-1]].abs())).sin()
        log_det = log_det + 2 * r.log().sum(-1) + sine.log().sum(-1) + math.log(8 * math.pi**2)
        return r, bends, torch.cat([free, turns], -1)[..., self._back], log_det

    def _build(self, r: Tensor, bends: Tensor, turns: Tensor) -> Tensor:
        zero = torch.zeros_like(r[..., :1])
        back = r[..., 1:2] * torch.cat([bends[..., :1].sin(), zero[..., :1], -bends[..., :1].cos()], -1)
        top = torch.cat([zero, zero, r[..., :1]], -1)
        x = torch.stack([torch.zeros_like(top), top, top + back], -2)
        r, bends = r[..., 2:], bends[..., 1:]
        along, beside = -r * bends.cos(), r * bends.sin()
        local = torch.stack([along, beside * turns.cos(), beside * turns.sin()], -1)
        for rows, j, k, l in self._levels:
            axis, behind = x[..., j, :] - x[..., k, :], x[..., k, :] - x[..., l, :]
            axis = axis / axis.norm(dim=-1, keepdim=True)
            normal = torch.linalg.cross(behind, axis)
            normal = normal / normal.norm(dim=-1, keepdim=True)
            basis = torch.stack([axis, torch.linalg.cross(normal, axis), normal], -1)
            placed = x[..., j, :] + (basis @ local[..., rows, :].unsqueeze(-1)).squeeze(-1)
            x = torch.cat([x, placed], -2)
        return x[..., self._order, :].flatten(-2)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self._values(y)[-1]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log|dy/dx|, -inf outside."""
        y, inside = self._measure(x)
        return y, torch.where(inside, self.log_abs_det_jacobian(x, y), -math.inf)
