"""Atoms along a tree of bonds: the gradient of mechanics against autograd through the same steps, and in each way it is
asked for.
"""

import math
from functools import partial

import pytest
import torch

from predcg.errors import InputError
from predcg.observables import Angles, Dihedrals, Distances
from predcg.systems import Peptide
from predcg.transforms import InternalCoordinates
from predcg.transforms.tree import Tree

FIELD = ["amber14/protein.ff14SB.xml"]
# Torsions that count from what the bond's other atom hangs on, from an atom beside it, and from one beside the first.
GIVEN = {
    "ACE-A-NME": [[7, 6, 8, 9], [15, 14, 8, 10]],
    "ACE-AAAAA-NME": [],
    "ACE-S-NME": [[14, 13, 10, 11], [11, 10, 8, 9]],
}


@pytest.fixture(scope="module", params=GIVEN)
def made(request):
    """Atoms of the frame and a Z-matrix."""
    peptide = Peptide(request.param, FIELD, 300.0)
    return peptide.frame_atoms, peptide.zmatrix_of(GIVEN[request.param])


@pytest.fixture
def internal(made):
    return InternalCoordinates(*made)


def by_autograd(internal: InternalCoordinates, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As back_and_ladj does it, without its own gradients."""
    lengths, bends, turns, log_det, *_ = internal.values(y)
    x = internal.tree.place(lengths, bends, internal.tree.azimuths(turns, bends))[0]
    return x.permute(2, 1, 0).flatten(1), log_det


def asked(internal: InternalCoordinates, n: int) -> torch.Tensor:
    return 2 * torch.randn(n, 3 * len(internal.tree.atoms) - 6, dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_gradients_are_those_of_autograd(internal, dtype, tolerance):
    """Of any function of x, one that is not the same for a molecule moved or turned as a whole, too."""
    y = asked(internal, 30).to(dtype).requires_grad_()
    for weight_x, weight_det in ((1.0, 0.0), (0.0, 1.0), (1.0, -0.7)):
        slopes = []
        for way in (internal.back_and_ladj, lambda y: by_autograd(internal, y)):
            x, log_det = way(y)
            loss = weight_x * (x * torch.arange(x.shape[-1]).sin()).sum() + (x**3).sum() + weight_det * log_det.sum()
            slopes.append(torch.autograd.grad(loss, y)[0])
        assert (slopes[0] - slopes[1]).abs().max() < tolerance * slopes[1].abs().max()


def test_gradients_are_those_of_finite_differences(internal):
    y, step = asked(internal, 4), 1e-6
    (slope,) = torch.autograd.grad(internal.inv(y.requires_grad_()).square().sum(), y)
    for at in range(y.shape[-1]):
        shift = torch.zeros_like(y)
        shift[:, at] = step
        with torch.no_grad():
            one, other = (internal.inv(y + sign * shift).square().sum(-1) for sign in (1, -1))
        assert torch.allclose((one - other) / (2 * step), slope[:, at], atol=1e-7)


def test_several_models_at_once_have_the_gradients_of_each(internal):
    y = asked(internal, 12).view(3, 4, -1)

    def loss(y):
        x, log_det = internal.back_and_ladj(y)
        return (x**3).sum() + log_det.sum()

    together = torch.func.vmap(torch.func.grad(loss))(y)
    alone = [torch.autograd.grad(loss(one.requires_grad_()), one)[0] for one in y.clone()]
    assert torch.allclose(together, torch.stack(alone), atol=1e-10)


def test_batch_shapes_are_kept(internal):
    y = asked(internal, 6)
    x, log_det = internal.back_and_ladj(y)
    stacked, both = internal.back_and_ladj(y.view(2, 3, -1))
    assert torch.equal(stacked.view(6, -1), x) and torch.equal(both.view(6), log_det)
    one, single = internal.back_and_ladj(y[0])
    assert torch.allclose(one, x[0], atol=1e-12) and single.shape == () and torch.allclose(single, log_det[0])
    none, empty = internal.back_and_ladj(y[:0])
    assert none.shape == (0, x.shape[-1]) and empty.shape == (0,)


def test_what_is_measured_is_what_observables_say(made, internal):
    (a, b, c), rows = made[0], made[1]["atoms"]
    x = internal.inv(asked(internal, 40))
    expected = [
        Distances([[a, b], [b, c], *(row[:2] for row in rows)]),
        Angles([[a, b, c], *(row[:3] for row in rows)]),
        Dihedrals(rows),
    ]
    for found, observable in zip(
        internal.tree.measure(x.unflatten(-1, (-1, 3)).permute(2, 1, 0)), expected, strict=True
    ):
        assert torch.allclose(found.T, observable(x), atol=1e-9)
    (slope,) = torch.autograd.grad(internal(x.requires_grad_()).sum(), x)
    assert slope.isfinite().all() and slope.any()


def test_the_frame_is_where_it_is_said_to_be(made, internal):
    x = internal.inv(asked(internal, 20)).view(20, -1, 3)
    a, b, c = made[0]
    assert x[:, a].abs().max() == 0 and x[:, b, :2].abs().max() == 0 and (x[:, b, 2] > 0).all()
    assert x[:, c, 1].abs().max() == 0 and (x[:, c, 0] > 0).all()


def test_a_torsion_counts_from_the_atom_that_its_row_says():
    """About 1-2 from an atom beside 3: frame 0-1-2, 3 and 4 on 2, 5 on 3."""
    rows = [[3, 2, 1, 0], [4, 2, 1, 3], [5, 3, 2, 4]]
    tree = Tree([0, 1, 2], rows)
    bends = math.pi * (0.2 + 0.6 * torch.rand(4, 50, dtype=torch.float64))
    turns = 2 * torch.rand(3, 50, dtype=torch.float64)
    x = tree.place(0.1 + torch.rand(5, 50, dtype=torch.float64), bends, tree.azimuths(turns, bends))[0]
    assert torch.allclose(Dihedrals(rows)(x.permute(2, 1, 0).flatten(1)), turns.T, atol=1e-9)


def test_three_atoms_are_a_molecule():
    water = {"atoms": [], "bonds": [[0.1, 0.01]] * 2, "angles": [[1.8, 0.1]], "ranges": []}
    internal = InternalCoordinates([1, 0, 2], water)
    y = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    x, log_det = internal.back_and_ladj(y)
    assert torch.allclose(internal(x), y, atol=1e-9) and torch.allclose(internal.call_and_ladj(x)[1], -log_det)
    slopes = [
        torch.autograd.grad(way(y)[0].square().sum(), y)[0]
        for way in (internal.back_and_ladj, partial(by_autograd, internal))
    ]
    assert torch.allclose(*slopes)


@pytest.mark.parametrize("rows", [[[3, 2, 0, 1]], [[3, 2, 1, 2]], [[3, 2, 1, 0], [4, 3, 2, 0]]])
def test_rows_of_another_form_are_refused(rows):
    with pytest.raises(InputError, match="zmatrix: expected rows along a tree of bonds; found"):
        Tree([0, 1, 2], rows)
