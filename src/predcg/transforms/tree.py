"""Atoms placed along a tree of bonds, with the gradient of mechanics: forces and torques on what a coordinate moves."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from predcg.errors import InputError


class Tree(nn.Module):
    """Which atom hangs on which: b on a and a on b, c on b, and each other one, i of a row [i, j, k, l], on j.

    Atom i has a distance to j, an angle i-j-k and an azimuth about k-j, which is its torsion if l is what k hangs on,
    or c about a-b. Atom a is at the origin, b on the z axis, c in the x-z plane with x > 0.

    Args:
        frame: atoms (a, b, c).
        rows: of each other atom; k is what j hangs on, l that which has the azimuth 0, or another atom on j or on k.

    Raises:
        InputError: a row before those which it is placed from, or of another form.
    """

    def __init__(self, frame: list[int], rows: list[list[int]]):
        super().__init__()
        a, b, c = frame
        parent, depth = {a: b, b: a, c: b}, {a: 0, b: 0, c: 1}
        bond = {c: 0}  # Of each atom but a and b, its number among these.
        siblings, skew, askew = {}, {}, []
        for i, j, k, l in rows:
            if not parent.keys() >= {j, k, l}:
                raise InputError(
                    f"zmatrix: expected atoms placed after those they are placed from; found {[i, j, k, l]} too early;"
                    " sort the rows"
                )
            zero = c if j in (a, b) else parent[k]
            beside = parent[l] == j and l not in siblings or parent[l] == k and l != j
            if parent[j] != k or l != zero and not beside:
                raise InputError(
                    f"zmatrix: expected rows along a tree of bonds; found {[i, j, k, l]}; leave zmatrix out"
                )
            if l != zero and parent[l] == j:
                siblings[i] = l
            elif l != zero:
                skew[i] = len(askew)
                askew.append([bond.get(j, -1), bond[l]])
            parent[i], depth[i], bond[i] = j, depth[j] + 1, len(bond)
        # What others hang on is placed first, level by level, and then all the rest at once.
        carrying = set(map(parent.get, bond))
        order = sorted(bond, key=lambda i: (i not in carrying, depth[i]))
        place = {atom: number for number, atom in enumerate([a, b, *order])}
        inner = [i for i in order if i in carrying]
        self.inner, self.levels, before = len(inner), [], 0
        for level in sorted({depth[i] for i in inner}):
            here = [i for i in inner if depth[i] == level]
            self.levels.append((place[here[0]] - 2, len(here), f"level{level}"))
            self._keep(f"level{level}", [place[parent[i]] - before for i in here])
            before = place[here[0]]
        moved = torch.zeros(len(place) - 1, len(place), dtype=torch.float64)
        for atom in place:
            above = atom
            while above != a:
                moved[place[above] - 1, atom] = 1
                above = a if above == b else parent[above]
        self.register_buffer("moved", moved, persistent=False)
        # What `measure` goes by: i and j of b, c and the rows, k of c and the rows, l of the rows.
        self._keep("outer", [b, *bond])
        self._keep("inward", [parent[i] for i in (b, *bond)])
        self._keep("far", [a, *(row[2] for row in rows)])
        self._keep("last", [row[3] for row in rows])
        self._keep("order", [bond[i] for i in order])
        self._keep("back", [place[i] - 2 for i in bond])
        self._keep("atoms", [place[i] for i in range(len(place))])
        self._keep("parents", [place[parent[i]] for i in order])
        self._keep("hinges", [parent[i] for i in order])
        self._keep("sibling", [bond[siblings[i]] - 1 if i in siblings else len(rows) for i, *_ in rows])
        self._keep("skew", [skew.get(siblings.get(i, i), len(askew)) for i in bond])
        self._keep("askew", askew)
        # Of a and b: along the bond that leads there, towards c, and normal to both; and where, in lengths of a-b.
        ends = [
            [[0, 0], [0, 0], [-1, 1]],
            [[1, 1], [0, 0], [0, 0]],
            [[0, 0], [-1, 1], [0, 0]],
            [[0, 0], [0, 0], [0, 1]],
        ]
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.float64).unsqueeze(-1), persistent=False)

    def _keep(self, name: str, indices: list) -> None:
        self.register_buffer(name, torch.tensor(indices, dtype=torch.long), persistent=False)

    def azimuths(self, turns: Tensor, bends: Tensor) -> Tensor:
        """Of c and the rows, (n - 2, B) in rad, given the rows' torsions, (n - 3, B), and all angles, (n - 2, B)."""
        zero = turns.new_zeros(1, turns.shape[-1])
        own = torch.cat([zero, turns + torch.cat([turns, zero]).index_select(0, self.sibling)])
        if not len(self.askew):
            return own
        # Where l is beside j on k: its azimuth about k-j by that of both about the bond on which k hangs.
        j, l = self.askew.T
        bend, other = torch.cat([bends, zero])[j], bends[l]
        turn = own[l] - torch.cat([own, zero + math.pi])[j]  # a and b are opposite to each other
        across = bend.sin() * other.cos() - bend.cos() * other.sin() * turn.cos()
        return own + torch.cat([torch.atan2(other.sin() * turn.sin(), across), zero])[self.skew]

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lengths, (n - 1, B), of a-b, b-c and the rows, angles, (n - 2, B), and the rows' torsions, (n - 3, B), of
        positions, (3, n, B).
        """
        j, k = x.index_select(1, self.inward), x.index_select(1, self.far)
        bond, axis = x.index_select(1, self.outer) - j, k - j[:, 1:]
        normal = _cross(bond[:, 1:], axis)
        angle = torch.atan2(_dot(normal, normal).sqrt(), _dot(bond[:, 1:], axis))
        axis, normal = axis[:, 1:], [part[1:] for part in normal]
        other = _cross(axis, x.index_select(1, self.last) - k[:, 1:])
        sine = _dot(bond[:, 2:], other) * _dot(axis, axis).sqrt()
        return _dot(bond, bond).sqrt(), angle, torch.atan2(-sine, -_dot(normal, other))

    def turned_from(self, turns: Tensor, bends: Tensor, slope: Tensor) -> tuple[Tensor, Tensor | float]:
        """Slopes along the torsions and the angles that `azimuths` go by, of that along these."""
        if len(self.askew):
            return torch.func.vjp(self.azimuths, turns, bends)[1](slope)
        own = slope[1:]
        return own + slope.new_zeros(slope.shape).index_add(0, self.sibling, own)[:-1], 0.0

    def place(self, lengths: Tensor, bends: Tensor, azimuths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, (3, n, B) in nm, of lengths, (n - 1, B), of a-b, b-c and the rows, angles and azimuths; and what
        `pull` goes by: axes that atoms turn about, (3, n - 2, B), and directions of their bonds and of the normals of
        their angles, (2, 3, n - 2, B), in an order of their own.
        """
        bends, azimuths = bends.index_select(0, self.order), azimuths.index_select(0, self.order)
        c, s, cos, sin = -bends.cos(), bends.sin(), azimuths.cos(), azimuths.sin()
        # In the basis of j, which is along k-j, across in the plane with what k hangs on, and normal to it, that of i:
        parts = [c, s * cos, s * sin, -s, c * cos, c * sin, torch.zeros_like(c), -sin, cos]
        local = torch.stack(parts).unflatten(0, (3, 3))
        step, ends = lengths[1:].index_select(0, self.order), self.ends.to(c)
        bases, x = [ends[:3].expand(-1, -1, -1, c.shape[-1])], [ends[3] * lengths[0]]
        for start, count, name in self.levels:
            here, parents = slice(start, start + count), getattr(self, name)
            bases.append(_turned(bases[-1].index_select(2, parents), local[:, :, here]))
            x.append(torch.addcmul(x[-1].index_select(1, parents), step[here], bases[-1][0]))
        bases, x, parents = torch.cat(bases, 2), torch.cat(x, 1), self.parents[self.inner :]
        outer = _turned(bases.index_select(2, parents), local[::2, :, self.inner :])
        outer_x = torch.addcmul(x.index_select(1, parents), step[self.inner :], outer[0])
        axis, bases = bases[0].index_select(1, self.parents), torch.cat([bases[::2, :, 2:], outer], 2)
        return torch.cat([x, outer_x], 1).index_select(1, self.atoms), axis, bases

    def pull(self, slope: Tensor, x: Tensor, axis: Tensor, bases: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slopes along lengths, angles and azimuths of that along x: a torsion turns all beyond its bond about it, an
        angle about the normal of its plane, a length shifts along, so that it is the torque, or the force, along that.
        """
        moved = self.moved.to(x)
        # By components, which saves copies.
        force = [moved @ part for part in slope]
        torque = [moved @ part for part in _cross(x, slope)]
        pull = [part[1:] for part in force]
        about = _cross(pull, x.index_select(1, self.hinges), [part[1:] for part in torque])
        length, bend, turn = (
            _dot(one, other).index_select(0, self.back)
            for one, other in ((bases[0], pull), (bases[1], about), (axis, about))
        )
        return torch.cat([force[2][:1], length]), -bend, turn


def _turned(bases: Tensor, vectors: Tensor) -> Tensor:
    """k vectors, (k, 3, m, B), in bases of three vectors, (3, 3, m, B), as they are in space, (k, 3, m, B)."""
    x, y, z = vectors.unsqueeze(2).unbind(1)
    return torch.addcmul(torch.addcmul(bases[0] * x, bases[1], y), bases[2], z)


def _cross(one: Sequence[Tensor], other: Sequence[Tensor], more: Sequence[Tensor] | None = None) -> list[Tensor]:
    """The components of one × other, of which three are given of each, and of what is added."""
    (a, b, c), (u, v, w) = one, other
    pairs = [(b, w, c, v), (c, u, a, w), (a, v, b, u)]
    first = (
        [torch.addcmul(m, p, q) for m, (p, q, _, _) in zip(more, pairs, strict=True)]
        if more
        else [p * q for p, q, _, _ in pairs]
    )
    return [torch.addcmul(m, r, t, value=-1) for m, (_, _, r, t) in zip(first, pairs, strict=True)]


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    (a, b, c), (u, v, w) = one, other
    return torch.addcmul(torch.addcmul(a * u, b, v), c, w)
