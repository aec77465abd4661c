"""Transforms: there and back, and log-determinants against autograd."""

import math

import mdtraj
import pytest
import torch

from predcg.errors import InputError
from predcg.observables import Angles, Distances
from predcg.systems import Peptide
from predcg.systems.chirality import census
from predcg.transforms import (
    Capped,
    Chain,
    Harmonics,
    Identity,
    InternalCoordinates,
    Matrix,
    RigidFrame,
    Superposition,
    Unit,
    Whitening,
)


def whitening(x):
    fitted = Whitening(x.shape[-1]).double()
    fitted.fit(x)
    return fitted


@pytest.fixture
def frames(ala2):
    return (ala2.start(80) + 0.01 * torch.randn(80, 66)).double()


ROWS = [[1.0 if i == 5 else -0.5 if i == 7 else 0.0 for i in range(66)], [0.1 * (i % 7) for i in range(66)]]


@pytest.fixture(
    params=["identity", "rigid_frame", "unit", "whitening", "chain", "superposition", "internal", "capped", "matrix"]
)
def transform(request, frames, ala2):
    return {
        "identity": lambda: Identity(),
        "rigid_frame": lambda: RigidFrame([6, 8, 14]),
        "unit": lambda: Unit(0.1),
        "whitening": lambda: whitening(frames),
        "chain": lambda: Chain(
            [RigidFrame([6, 8, 14]), Unit(0.1), whitening(Unit(0.1)(RigidFrame([6, 8, 14])(frames)))]
        ),
        "superposition": lambda: Superposition(frames[0].tolist()).double(),
        "internal": lambda: InternalCoordinates(ala2.frame_atoms, ala2.zmatrix),
        "capped": lambda: Capped(3.0),
        "matrix": lambda: Matrix(ROWS, 66),
    }[request.param]()


def test_there_and_back(transform, frames):
    y = transform(frames)
    assert y.shape == (80, transform.width(66))
    assert torch.allclose(transform(transform.inv(y)), y, atol=1e-9)


def test_batch_shape_does_not_matter(transform, frames):
    y = transform(frames)
    stacked = frames.view(4, 20, 66)
    assert torch.allclose(transform(stacked), y.view(4, 20, -1))
    log_det = transform.log_abs_det_jacobian(frames, y)
    assert log_det.shape == (80,)
    assert torch.allclose(transform.log_abs_det_jacobian(stacked, y.view(4, 20, -1)), log_det.view(4, 20))


@pytest.mark.parametrize("kind", ["identity", "unit", "whitening", "matrix"])
def test_log_determinant_of_square_maps_agrees_with_autograd(kind, frames):
    transform = {
        "identity": Identity(),
        "unit": Unit(0.1),
        "whitening": whitening(frames),
        "matrix": Matrix(ROWS, 66),
    }[kind]
    jacobian = torch.autograd.functional.jacobian(transform, frames[0])
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert transform.log_abs_det_jacobian(frames[0], transform(frames[0])).item() == pytest.approx(
        expected.item(), abs=1e-6
    )


def test_a_matrix_begins_with_the_given_rows_and_completes_them(frames):
    y = Matrix(ROWS, 66)(frames)
    assert torch.allclose(y[:, :2], frames @ torch.tensor(ROWS, dtype=torch.float64).T, atol=1e-12)
    rest = Matrix(ROWS, 66).matrix[2:]
    assert torch.allclose(rest @ rest.T, torch.eye(64, dtype=torch.float64), atol=1e-12)
    assert (rest @ torch.tensor(ROWS, dtype=torch.float64).T).abs().max() < 1e-12
    assert torch.equal(Matrix([[1.0, -1.0], [3.0, 1.0]], 2).matrix, torch.tensor([[1.0, -1.0], [3.0, 1.0]]).double())
    assert Matrix([[1.0, -1.0]], 2).matrix[1].tolist() == pytest.approx([0.5**0.5] * 2)


@pytest.mark.parametrize("rows", [[[1.0, -1.0], [2.0, -2.0]], [[0.0, 0.0]]])
def test_a_matrix_that_cannot_be_inverted_is_refused(rows):
    with pytest.raises(InputError, match="rows: expected linearly independent combinations, .* found "):
        Matrix(rows, 2)


@pytest.mark.parametrize("rows", [[], [[1.0]], [[1.0, 0.0], [0.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
def test_rows_of_other_lengths_are_refused(rows):
    with pytest.raises(InputError, match="rows: expected between 1 and 2 rows of 2 numbers; found"):
        Matrix(rows, 2)


def test_rigid_frame_freezes_the_six_coordinates_of_the_source(frames):
    y = RigidFrame([6, 8, 14])(frames)
    x = RigidFrame([6, 8, 14]).inv(y)
    assert x[:, [18, 19, 20, 24, 25, 43]].abs().max() == 0
    assert (x[:, 26] > 0).all() and (x[:, 42] > 0).all()
    assert torch.allclose(torch.pdist(x[0].view(22, 3)), torch.pdist(frames[0].view(22, 3)))


def test_rigid_frame_jacobian_is_the_volume_element_of_rigid_motion(frames):
    """|dx / d(y, translation, rotation)| by autograd, where rotations near the identity have Haar measure dω / 8π² ·
    8π².
    """
    transform = RigidFrame([6, 8, 14])
    y = transform(frames[0])

    def place(variables):
        inner, shift, omega = variables[:60], variables[60:63], variables[63:]
        zero = torch.zeros((), dtype=omega.dtype)
        a, b, c = omega
        generator = torch.stack([torch.stack([zero, -c, b]), torch.stack([c, zero, -a]), torch.stack([-b, a, zero])])
        rotation = torch.linalg.matrix_exp(generator)
        return (transform.inv(inner).view(22, 3) @ rotation.T + shift).flatten()

    jacobian = torch.autograd.functional.jacobian(place, torch.cat([y, torch.zeros(6, dtype=y.dtype)]))
    volume = torch.linalg.slogdet(jacobian).logabsdet + math.log(8 * math.pi**2)
    assert -transform.log_abs_det_jacobian(frames[0], y).item() == pytest.approx(volume.item(), abs=1e-9)


def test_rigid_frame_density_gives_the_exact_partition_function():
    """Three atoms held by springs: ∫ exp(-u) over shapes and rotations, by quadrature in y, equals the Gaussian
    integral.
    """
    transform, k = RigidFrame([0, 1, 2]), 3.0
    line = torch.linspace(0, 5, 121, dtype=torch.double)[1:]
    both_signs = torch.cat([-line.flip(0), torch.zeros(1, dtype=torch.double), line])
    y = torch.cartesian_prod(line, line, both_signs)  # z of atom 1, x and z of atom 2
    x = transform.inv(y)
    r = x.view(-1, 3, 3)
    u = 0.5 * k * sum(((r[:, i] - r[:, j]) ** 2).sum(-1) for i, j in ((0, 1), (0, 2), (1, 2)))
    step = 5 / 120
    log_z = (-u - transform.log_abs_det_jacobian(x, y)).logsumexp(0) + 3 * math.log(step)
    # relative positions of two atoms: precision k [[2, -1], [-1, 2]] in each dimension
    exact = 1.5 * math.log((2 * math.pi) ** 2 / (k**2 * 3))
    assert log_z.item() == pytest.approx(exact, abs=1e-3)


def test_whitened_data_have_unit_covariance(frames):
    inner = RigidFrame([6, 8, 14])(frames)
    y = whitening(inner)(inner)
    assert y.mean(0).abs().max() < 1e-8
    covariance = y.T @ y / len(y)
    assert (covariance.diagonal() <= 1 + 1e-6).all() and covariance.diagonal().max() == pytest.approx(1, abs=1e-6)


def test_whitening_survives_directions_without_variance():
    x = torch.randn(50, 3, dtype=torch.double) * torch.tensor([1.0, 2.0, 0.0])
    fitted = whitening(x)
    assert torch.isfinite(fitted(x)).all()
    assert torch.allclose(fitted.inv(fitted(x)), x, atol=1e-9)


def test_superposition_is_centred_and_closest(frames):
    reference = frames[0].view(22, 3) - frames[0].view(22, 3).mean(0)
    y = Superposition(frames[0].tolist()).double()(frames).view(80, 22, 3)
    assert y.mean(1).abs().max() < 1e-10
    best = ((y - reference) ** 2).sum((1, 2))
    turn = torch.linalg.matrix_exp(
        torch.tensor([[0.0, 0.02, 0.0], [-0.02, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.double)
    )
    assert (best <= ((y @ turn - reference) ** 2).sum((1, 2))).all()


def test_atoms_of_the_frame_are_checked():
    with pytest.raises(InputError, match="three different"):
        RigidFrame([1, 1, 2])
    with pytest.raises(InputError, match="below the number of atoms"):
        RigidFrame([0, 1, 9]).width(9)
    with pytest.raises(InputError, match="length_nm"):
        Unit(0.0)


@pytest.fixture(scope="module", params=["ACE-A-NME", "ACE-PFWIT-NME", "GMH"])
def peptide(request):
    """Free and capped ends, rings, side chains with two chiral centres."""
    return Peptide(request.param, ["amber14/protein.ff14SB.xml"], 300.0)


def test_internal_coordinates_go_there_and_back(peptide):
    internal = InternalCoordinates(peptide.frame_atoms, peptide.zmatrix)
    x = peptide.models.double() + 0.005 * torch.randn(20, peptide.size, dtype=torch.float64)
    back = internal.inv(internal(x))
    distances = Distances(torch.combinations(torch.arange(peptide.size // 3)).tolist())
    assert (distances(back) - distances(x)).abs().max() < 1e-8
    assert (
        RigidFrame(peptide.frame_atoms)(back).sub(RigidFrame(peptide.frame_atoms)(x)).abs().max() < 1e-8
    )  # handedness, too


def test_internal_volume_element_agrees_with_autograd(peptide):
    """Both gauges freeze the same six motions, so that between them only the Jacobian of the map is left."""
    internal, rigid = InternalCoordinates(peptide.frame_atoms, peptide.zmatrix), RigidFrame(peptide.frame_atoms)
    y = internal(peptide.models[0].double()) + 0.3 * torch.randn(peptide.size - 6, dtype=torch.float64)
    expected = torch.linalg.slogdet(torch.autograd.functional.jacobian(lambda y: rigid(internal.inv(y)), y)).logabsdet
    x, log_det = internal.back_and_ladj(y)
    assert (log_det - (expected - rigid.log_abs_det_jacobian(x, rigid(x)))).abs() < 1e-8
    assert torch.allclose(internal.call_and_ladj(x)[1], -log_det, atol=1e-8)


def test_torsions_are_those_of_mdtraj(peptide):
    internal = InternalCoordinates(peptide.frame_atoms, peptide.zmatrix)
    x = peptide.models.double()
    frame = mdtraj.Trajectory(x.view(1, -1, 3).numpy(), peptide.topology)
    rows = [
        row for row, bounds in zip(peptide.zmatrix["atoms"], peptide.zmatrix["ranges"], strict=True) if bounds is None
    ]
    assert len(rows) == len(peptide.zmatrix["folds"]) == internal.periodic
    found = torch.from_numpy(mdtraj.compute_dihedrals(frame, rows)).double()
    assert torch.allclose(internal(x)[:, : len(rows)], found, atol=1e-5)


def test_whatever_the_coordinates_the_molecule_stays_sane(peptide):
    zmatrix = peptide.zmatrix
    x = InternalCoordinates(peptide.frame_atoms, zmatrix).inv(
        3 * torch.randn(500, peptide.size - 6, dtype=torch.float64)
    )
    a, b, c = peptide.frame_atoms
    assert Distances([[a, b], [b, c], *(row[:2] for row in zmatrix["atoms"])])(x).min() > 0
    angles = Angles([[a, b, c], *(row[:3] for row in zmatrix["atoms"])])(x)
    assert 0 < angles.min() and angles.max() < math.pi
    assert census(peptide, x).all()


def test_the_volume_element_survives_straight_angles(ala2):
    """In single precision an angle 1e-8 rad below π is π, whose sine is negative."""
    internal = InternalCoordinates(ala2.frame_atoms, ala2.zmatrix)
    y = torch.zeros(60)
    y[internal.periodic + 21] = 150.0
    expected = internal.back_and_ladj(y.double())[1]
    assert internal.back_and_ladj(y)[1].item() == pytest.approx(expected.item(), abs=1e-3) and math.isfinite(expected)


def test_the_mirror_image_has_density_zero(ala2):
    internal = InternalCoordinates(ala2.frame_atoms, ala2.zmatrix)
    x = ala2.models.double()
    assert torch.isfinite(internal.call_and_ladj(x)[1]).all()
    assert (internal.call_and_ladj(-x)[1] == -math.inf).all()


def test_bonds_start_at_the_lengths_and_widths_of_the_force_field(ala2):
    """A step of a thousandth of a width, by finite differences."""
    internal, bonds = (
        InternalCoordinates(ala2.frame_atoms, ala2.zmatrix),
        torch.tensor(ala2.zmatrix["bonds"], dtype=torch.float64),
    )
    pairs = Distances([ala2.frame_atoms[:2], ala2.frame_atoms[1:], *(row[:2] for row in ala2.zmatrix["atoms"])])
    y = torch.zeros(60, dtype=torch.float64)
    step = y.clone()
    step[internal.periodic : internal.periodic + len(bonds)] = 1e-3
    middle, stretched = pairs(internal.inv(y)), pairs(internal.inv(step))
    assert torch.allclose(middle, bonds[:, 0], atol=1e-12)
    assert torch.allclose((stretched - middle) / 1e-3, bonds[:, 1], rtol=0.01)


def test_a_zmatrix_out_of_order_is_refused(ala2):
    zmatrix = ala2.zmatrix
    with pytest.raises(InputError, match="too early"):
        InternalCoordinates(ala2.frame_atoms, zmatrix | {"atoms": zmatrix["atoms"][::-1]})
    with pytest.raises(InputError, match="one row for each of 10 atoms"):
        InternalCoordinates(ala2.frame_atoms, zmatrix).width(30)


def test_harmonics_have_no_seam():
    seam = Harmonics([1])(torch.tensor([[math.pi, 5.0], [-math.pi, 5.0]], dtype=torch.float64))
    assert torch.allclose(seam[0], seam[1]) and Harmonics([1]).width(2) == 2


def test_long_gradients_are_shortened_to_the_cap_and_keep_their_direction():
    gradient = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [300.0, 400.0], [0.0, 0.0]])
    y = torch.zeros(5, 2, requires_grad=True)
    Capped(5.0).inv(y).backward(gradient)
    assert torch.equal(y.grad[[0, 1, 2, 4]], gradient[[0, 1, 2, 4]])  # the median is 2
    assert torch.allclose(y.grad[3], torch.tensor([6.0, 8.0]))
