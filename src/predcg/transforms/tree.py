"""Atoms placed along a tree of bonds, with the gradient of mechanics: forces and torques on what a coordinate moves."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
        zero = torch.zeros_like(turns[:1])
        own = torch.cat([zero, turns + torch.cat([turns, zero]).index_select(0, self.sibling)])
        if not len(self.askew):
            return own
        # Where l is beside j on k: its azimuth about k-j by that of both about the bond on which k hangs.
        j, l = self.askew.T
        bend, other = torch.cat([bends, zero])[j], bends[l]
        turn = own[l] - torch.cat([own, zero + math.pi])[j]  # a and b are opposite to each other
        across = bend.sin() * other.cos() - bend.cos() * other.sin() * turn.cos()
        return own + torch.cat([torch.atan2(other.sin() * turn.sin(), across), zero])[self.skew]

    def place(self, lengths: Tensor, bends: Tensor, azimuths: Tensor) -> Tensor:
        """Positions, (3, n, B) in nm, of lengths, (n - 1, B), of a-b, b-c and the rows, angles and azimuths."""
        return _Placed.apply(lengths, bends, azimuths, self)[0]


class _Placed(torch.autograd.Function):
    """The tree's positions. A torsion turns all beyond its bond about it, an angle about the normal of its plane, a
    length shifts along: the slope is the torque, or the force, of what is moved, along that axis. Not twice
    differentiable.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(lengths: Tensor, bends: Tensor, azimuths: Tensor, tree: Tree) -> tuple[Tensor, ...]:
        bends, azimuths = bends.index_select(0, tree.order), azimuths.index_select(0, tree.order)
        c, s, cos, sin = bends.cos(), bends.sin(), azimuths.cos(), azimuths.sin()
        # In the basis of j, which is along k-j, across in the plane with what k hangs on, and normal to it, that of i:
        parts = [-c, s * cos, s * sin, -s, -c * cos, -c * sin, torch.zeros_like(c), -sin, cos]
        local = torch.stack(parts).unflatten(0, (3, 3))
        step, ends = lengths[1:].index_select(0, tree.order), tree.ends.to(c)
        bases, x = [ends[:3].expand(-1, -1, -1, c.shape[-1])], [ends[3] * lengths[0]]
        for start, count, name in tree.levels:
            here, parents = slice(start, start + count), getattr(tree, name)
            bases.append(_turned(bases[-1].index_select(2, parents), local[:, :, here]))
            x.append(torch.addcmul(x[-1].index_select(1, parents), step[here], bases[-1][0]))
        bases, x, parents = torch.cat(bases, 2), torch.cat(x, 1), tree.parents[tree.inner :]
        outer = _turned(bases.index_select(2, parents), local[:, :, tree.inner :])
        outer_x = torch.addcmul(x.index_select(1, parents), step[tree.inner :], outer[0])
        axis, bases = bases[0].index_select(1, tree.parents), torch.cat([bases[:, :, 2:], outer], 2)
        return torch.cat([x, outer_x], 1).index_select(1, tree.atoms), axis, bases

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        ctx.tree = inputs[-1]
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        tree, (x, axis, bases) = ctx.tree, ctx.saved_tensors
        moved = tree.moved.to(x)
        # By components, which saves copies.
        force = [moved @ part for part in slope]
        torque = [moved @ part for part in _cross(x, slope)]
        pull = [part[1:] for part in force]
        moment = _cross(x.index_select(1, tree.hinges), pull)
        about = [part[1:] - other for part, other in zip(torque, moment, strict=True)]
        length, bend, turn = (
            _dot(one, other).index_select(0, tree.back)
            for one, other in ((bases[0], pull), (bases[2], about), (axis, about))
        )
        return torch.cat([force[2][:1], length]), -bend, turn, None


def _turned(bases: Tensor, vectors: Tensor) -> Tensor:
    """k vectors, (k, 3, m, B), in bases of three vectors, (3, 3, m, B), as they are in space, (k, 3, m, B)."""
    x, y, z = vectors.unsqueeze(2).unbind(1)
    return torch.addcmul(torch.addcmul(bases[0] * x, bases[1], y), bases[2], z)


def _cross(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
    """The components of one × other, of which three are given of each."""
    (a, b, c), (u, v, w) = one, other
    return [torch.addcmul(p * q, r, t, value=-1) for p, q, r, t in ((b, w, c, v), (c, u, a, w), (a, v, b, u))]


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    (a, b, c), (u, v, w) = one, other
    return torch.addcmul(torch.addcmul(a * u, b, v), c, w)
