"""Bonds, angles and torsions: coordinates in which a molecule stays whole."""

import math

import torch
from torch import Size, Tensor
from torch.autograd.function import once_differentiable

from predcg.errors import InputError
from predcg.observables import Angles, Distances
from predcg.transforms.transform import Transform
from predcg.transforms.tree import Tree

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
        InputError: rows that are not those of a tree; see transforms.tree.

    >>> from predcg.observables import Dihedrals
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
        self.tree = Tree(frame, rows)
        periodic = torch.tensor([bounds is None for bounds in zmatrix["ranges"]], dtype=torch.bool)
        bounds = [bounds for bounds in zmatrix["ranges"] if bounds is not None]
        sides = [[0.0, math.pi] for _ in zmatrix["angles"]] + [
            [centre - half, centre + half] for centre, half in bounds
        ]
        centred = [*zmatrix["angles"], *([centre, BOUNDED] for centre, _ in bounds)]
        (length, stretch), (low, high), (centre, width) = (
            torch.tensor(rows, dtype=torch.float64).T for rows in (zmatrix["bonds"], sides, centred)
        )
        middle = (centre - low) / (high - low)
        slope = width / ((high - low) * middle * (1 - middle))
        # In columns: y of a bond or of a bounded value is first scaled and shifted.
        shifts = torch.cat([torch.full_like(length, 1 - SOFT), torch.logit(middle)])
        affine, range_of = [shifts, torch.cat([stretch / length, slope])], [low, high - low, centre]
        for name, values in {"_affine": affine, "_range": range_of, "_length": [length]}.items():
            self.register_buffer(name, torch.stack(values).unsqueeze(-1), persistent=False)
        scales = (stretch / length).log().sum() + (slope * (high - low)).log().sum()
        self.scale = scales.item() + math.log(8 * math.pi**2)
        self.register_buffer(
            "_torsions", torch.cat([periodic.nonzero(), (~periodic).nonzero()]).squeeze(-1), persistent=False
        )
        self.register_buffer("_back", self._torsions.argsort(), persistent=False)
        self.periodic = int(periodic.sum())

    def width(self, size: int) -> int:
        if size != 3 * len(self.tree.atoms):
            raise InputError(
                f"zmatrix: expected one row for each of {size // 3} atoms but three; found {len(self.tree.atoms) - 3}"
            )
        return size - 6

    def forward_shape(self, shape: Size) -> Size:
        return Size((*shape[:-1], shape[-1] - 6))

    def inverse_shape(self, shape: Size) -> Size:
        return Size((*shape[:-1], shape[-1] + 6))

    def _call(self, x: Tensor) -> Tensor:
        return self._measure(x)[0]

    def _measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, and whether all bounded coordinates are inside of their intervals."""
        (shift, slope), (low, side, centre), (length,) = self._affine.to(x), self._range.to(x), self._length.to(x)
        flat = x.reshape(-1, x.shape[-1]).unflatten(1, (-1, 3)).permute(2, 1, 0).contiguous()
        lengths, bends, turns = self.tree.measure(flat)
        free, bounded = turns.index_select(0, self._torsions).tensor_split([self.periodic])
        # A torsion is known up to turns; the one next to its centre is taken.
        values = torch.cat([bends, bounded])
        values = centre + torch.remainder(values - centre + math.pi, 2 * math.pi) - math.pi
        share, ratio = (values - low) / side, lengths / length
        others = torch.cat([ratio - SOFT / ratio, torch.logit(share, eps=torch.finfo(x.dtype).eps)])
        inside = ((share > 0) & (share < 1)).all(0)
        y = torch.cat([free, (others - shift) / slope]).mT
        return y.reshape(self.forward_shape(x.shape)), inside.view(x.shape[:-1])

    def _inverse(self, y: Tensor) -> Tensor:
        return self.back_and_ladj(y)[0]

    def back_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det, *_ = _Back.apply(y.reshape(-1, y.shape[-1]), self)
        return x.view(self.inverse_shape(y.shape)), log_det.view(y.shape[:-1])

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self.values(y.reshape(-1, y.shape[-1]))[3].view(y.shape[:-1])

    def values(self, y: Tensor) -> tuple[Tensor, ...]:
        """Lengths, angles and torsions in the order of the rows, (k, B) each, of y, (B, N), and log|dx/dy|, (B,); then
        what the way back goes by.
        """
        (shift, slope), (low, side, _), (length,) = self._affine.to(y), self._range.to(y), self._length.to(y)
        n = len(length)
        free, others = y.mT.contiguous().tensor_split([self.periodic])
        w, logit = torch.addcmul(shift, slope, others).tensor_split([n])
        root = (w * w + 4 * SOFT).sqrt()
        lengths = 0.5 * length * (w + root)
        share = logit.sigmoid()
        values = torch.addcmul(low, side, share)
        # The sine of the angle itself rounds to a negative number next to π.
        rim = (-logit.abs()).sigmoid()
        sine, steep = (math.pi * rim[: n - 1]).sin(), rim * (1 - rim)
        log_det = torch.cat([lengths**3 / root, steep, sine]).log().sum(0) + self.scale
        turns = torch.cat([free, values[n - 1 :]]).index_select(0, self._back)
        return lengths, values[: n - 1], turns, log_det, w, root, share, steep, sine

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log|dy/dx|, -inf outside."""
        y, inside = self._measure(x)
        return y, torch.where(inside, self.log_abs_det_jacobian(x, y), -math.inf)


class _Back(torch.autograd.Function):
    """x, (B, D), and log|dx/dy| of y, with the gradient of mechanics; not twice differentiable."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, internal: InternalCoordinates) -> tuple[Tensor, ...]:
        lengths, bends, turns, log_det, *rest = internal.values(y)
        x, *bases = internal.tree.place(lengths, bends, internal.tree.azimuths(turns, bends))
        return x.permute(2, 1, 0).flatten(1), log_det, x, *bases, lengths, bends, turns, *rest

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, InternalCoordinates], output: tuple[Tensor, ...]) -> None:
        ctx.internal = inputs[1]
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor | None, scale: Tensor | None, *_: None) -> tuple[Tensor, None]:
        x, axis, bases, lengths, bends, turns, w, root, share, steep, sine = ctx.saved_tensors
        internal, tree = ctx.internal, ctx.internal.tree
        scale = lengths.new_zeros(x.shape[-1:]) if scale is None else scale
        slope = torch.zeros_like(x) if slope is None else slope.unflatten(1, (-1, 3)).permute(2, 1, 0).contiguous()
        along, bent, about = tree.pull(slope, x, axis, bases)
        turned, more = tree.turned_from(turns, bends, about)
        free, turned = turned.index_select(0, internal._torsions).tensor_split([internal.periodic])
        stretched = (lengths * along + scale * (3 - w / root)) / root
        value = torch.cat([bent + more + scale * bends.cos() / sine, turned])
        bounded = internal._range.to(x)[1] * steep * value + scale * (1 - 2 * share)
        others = internal._affine.to(x)[1] * torch.cat([stretched, bounded])
        return torch.cat([free, others]).mT, None
