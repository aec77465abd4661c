"""Observables agree with mdtraj to 1e-5, have a gradient, and do not care where the molecule is."""

from itertools import combinations

import mdtraj
import numpy as np
import pytest
import torch

from predcg.errors import InputError
from predcg.observables import (
    AlignedCoordinates,
    Angles,
    Combinations,
    Dihedrals,
    DistanceRMSD,
    Distances,
    RadiusOfGyration,
)

PAIRS, TRIPLES, QUADS = [[0, 1], [4, 20]], [[4, 6, 8], [6, 8, 14]], [[4, 6, 8, 14], [6, 8, 14, 16], [1, 4, 6, 8]]


@pytest.fixture(params=["distances", "angles", "dihedrals", "gyration", "aligned", "distance_rmsd"])
def pair(request, ala2):
    """An observable, and the same from mdtraj."""
    reference = ala2.models[1]
    masses = ala2.masses[::3].tolist()

    def superposed(trajectory):
        other = mdtraj.Trajectory(reference.view(1, -1, 3).numpy(), ala2.topology)
        other.center_coordinates()
        return trajectory.superpose(other).xyz.reshape(len(trajectory), -1)

    def gyration(trajectory):
        # mdtraj's own compute_rg measures from the centroid, not from the centre of mass, so only the latter is taken
        # from it
        from_com = trajectory.xyz - mdtraj.compute_center_of_mass(trajectory)[:, None]
        return np.sqrt(np.average((from_com**2).sum(-1), axis=1, weights=masses))[:, None]

    def distance_rmsd(trajectory):
        pairs = list(combinations(range(22), 2))
        other = mdtraj.Trajectory(reference.view(1, -1, 3).numpy(), ala2.topology)
        difference = mdtraj.compute_distances(trajectory, pairs) - mdtraj.compute_distances(other, pairs)
        return np.sqrt((difference**2).mean(1, keepdims=True))

    return {
        "distances": (Distances(PAIRS), lambda t: mdtraj.compute_distances(t, PAIRS)),
        "angles": (Angles(TRIPLES), lambda t: mdtraj.compute_angles(t, TRIPLES)),
        "dihedrals": (Dihedrals(QUADS), lambda t: mdtraj.compute_dihedrals(t, QUADS)),
        "gyration": (RadiusOfGyration(masses), gyration),
        "aligned": (AlignedCoordinates(reference.tolist()), superposed),
        "distance_rmsd": (DistanceRMSD(reference.tolist()), distance_rmsd),
    }[request.param]


@pytest.fixture
def frames(ala2):
    return ala2.start(12) + 0.01 * torch.randn(12, 66)


def test_agrees_with_mdtraj(pair, frames, ala2):
    observable, reference = pair
    expected = reference(mdtraj.Trajectory(frames.view(-1, 22, 3).numpy(), ala2.topology))
    difference = observable(frames).numpy() - expected
    if isinstance(observable, Dihedrals):
        difference = (difference + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(difference).max() < 1e-5


def test_shape_is_the_promised_width_for_any_batch(pair, frames):
    observable, _ = pair
    values = observable(frames)
    assert values.shape == (12, observable.width(66))
    assert torch.allclose(observable(frames.view(3, 4, 66)).flatten(0, 1), values, atol=1e-6)


def test_rigid_motion_changes_nothing(pair, frames):
    observable, _ = pair
    rotation = torch.linalg.qr(torch.randn(3, 3)).Q
    rotation = rotation * torch.linalg.det(rotation)
    moved = (frames.view(-1, 22, 3) @ rotation + torch.tensor([0.3, -0.2, 0.5])).flatten(1)
    assert torch.allclose(observable(moved), observable(frames), atol=2e-5)


def test_gradient(pair, ala2):
    x = (ala2.models[0] + 0.01 * torch.randn(66)).double().requires_grad_()
    assert torch.autograd.gradcheck(pair[0].double(), x, atol=1e-6)


def test_straight_angles_have_finite_values_and_gradients():
    x = torch.tensor([0.0, 0, 0, 1, 0, 0, 2, 0, 0], requires_grad=True)
    angle = Angles([[0, 1, 2]])(x)
    assert angle.item() == pytest.approx(np.pi)


def test_distance_rmsd_of_the_reference_is_zero_with_a_finite_gradient(ala2):
    x = ala2.models[1].clone().requires_grad_()
    value = DistanceRMSD(x.tolist())(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.item() == 0 and gradient.isfinite().all()


def test_distance_rmsd_of_many_atoms_far_from_the_origin_keeps_its_digits():
    x = 0.3 * torch.randn(50 * 3)
    assert DistanceRMSD(x.tolist())(x + 10.0).item() < 2e-6  # float32 is spaced by 1e-6 at 10 nm


@pytest.mark.parametrize("reference", [[0.0, 0, 0], [0.0] * 7])
def test_a_reference_without_pairs_or_with_broken_atoms_is_refused(reference):
    with pytest.raises(InputError, match=f"reference: expected three coordinates .* found {len(reference)} numbers"):
        DistanceRMSD(reference)


def test_rows_of_the_wrong_length_are_refused():
    with pytest.raises(InputError, match="rows of 4 atoms"):
        Dihedrals([[0, 1, 2]])


def test_linear_combinations_are_sums_with_weights_and_say_what_does_not_fit():
    observable = Combinations([[1.0, -1.0, 0.0], [0.0, 0.5, 2.0]])
    x = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 0.5]])
    assert observable.width(3) == 2
    assert observable(x).tolist() == [[-1.0, 7.0], [-1.0, 1.0]]
    with pytest.raises(InputError, match="weights: expected rows of 2 numbers, one for each coordinate; found 3"):
        observable(x[:, :2])
    for weights in ([], [[1.0], [1.0, 2.0]]):
        with pytest.raises(InputError, match="weights: expected rows of the same length"):
            Combinations(weights)
