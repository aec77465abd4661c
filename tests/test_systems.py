"""Systems: one contract for all, and the exact answers of each, computed independently."""

import inspect
import json
import math
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit
from torch import nn

from predcg.coarse import Coarse
from predcg.densities import FreeEnergySplines
from predcg.errors import InputError
from predcg.parts import check_figures
from predcg.systems import (
    DoubleWell,
    GaussianMixture,
    Harmonic,
    IsingChain,
    Molecule,
    MuellerBrown,
    Peptide,
    Regularised,
    System,
)
from predcg.systems.planar import Planar
from predcg.systems.trajectory import read_frames
from predcg.systems.writing import write_frame

SHARED = Path(__file__).parents[2] / "shared" / "data"


def test_energy_is_one_number_per_configuration_of_any_batch_shape(system):
    x = system.start(6)
    u = system(x)
    assert u.shape == (6,) and torch.isfinite(u).all()
    assert torch.equal(system(x.view(2, 3, -1)), u.view(2, 3))
    assert torch.equal(system(x[0]), u[0])


def test_gradient_agrees_with_finite_differences(system):
    x = (system.start(1).double() + 0.003 * torch.randn(1, system.size, dtype=torch.double)).requires_grad_()
    (gradient,) = torch.autograd.grad(system(x).sum(), x)
    direction = torch.nn.functional.normalize(torch.randn_like(x), dim=-1)
    step = 1e-5
    slope = (system(x + step * direction) - system(x - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx((gradient * direction).sum().item(), rel=1e-4, abs=1e-4)


def test_evaluations_are_counted(system):
    before = int(system.evaluations)
    system(system.start(5))
    assert int(system.evaluations) - before == 5


def test_another_number_of_coordinates_is_refused(system):
    with pytest.raises(InputError, match=f"expected {system.size} coordinates"):
        system(torch.zeros(2, system.size + 1))


def test_labels_number_the_basins(system):
    label = system.label(system.start(50))
    assert label.dtype == torch.long and label.min() >= -1 and label.max() < max(len(system.basins), 1)


def coarse(low=-1.0, intervals=4, seed=0):
    """Of an ensemble of free energies that is drawn by chance."""
    torch.manual_seed(seed)
    return Coarse(FreeEnergySplines(1, [low], [1.0], intervals=[intervals], periodic=[False], members=2))


VARIANTS = {
    "double_well": [lambda v=v: DoubleWell(**v) for v in ({}, {"a": 1.1}, {"b": 5.9}, {"c": 1.1}, {"d": 1.1})],
    "mueller_brown": [lambda v=v: MuellerBrown(beta=v) for v in (0.1, 0.2)],
    "harmonic": [lambda v=v: Harmonic(v) for v in ([1.0, 2.0], [1.0, 2.1], [1.0, 2.0, 1.0])],
    "gaussian_mixture": [
        lambda v=v: GaussianMixture(*v)
        for v in (
            ([[0.0], [1.0]], [1.0, 1.0], [1.0, 3.0]),
            ([[0.0], [1.1]], [1.0, 1.0], [1.0, 3.0]),
            ([[0.0], [1.0]], [1.0, 1.1], [1.0, 3.0]),
            ([[0.0], [1.0]], [1.0, 1.0], [1.0, 2.0]),
        )
    ],
    "ising_chain": [
        lambda v=v: IsingChain(**{"sites": 6, "coupling": 1.5, "reach": 2, "decay": 1.0, "field": 0.3, "beta": 0.5} | v)
        for v in (
            {},
            {"sites": 7},
            {"coupling": 1.4},
            {"reach": 1},
            {"decay": 2.0},
            {"field": 0.2},
            {"beta": 0.4},
            {"periodic": False},
        )
    ],
    "regularised": [lambda v=v: Regularised(Harmonic([v[0]]), v[1]) for v in ((1.0, 5.0), (1.5, 5.0), (1.0, 6.0))],
    "molecule": [
        lambda v=v: Molecule("ala2.pdb", v[0], v[1])
        for v in (
            (["amber96.xml", "amber96_obc.xml"], 330.0),
            (["amber96.xml", "amber96_obc.xml"], 331.0),
            (["amber96.xml", "implicit/hct.xml"], 330.0),
        )
    ],
    "peptide": [lambda v=v: Peptide(v, ["amber96.xml"], 300.0) for v in ("ACE-A-NME", "ACE-G-NME")],
    "coarse": [lambda v=v: coarse(**v) for v in ({}, {"low": -1.5}, {"intervals": 5}, {"seed": 1})],
}


def test_every_kind_of_system_has_variants():
    def kinds(kind):
        return {kind} | {
            one for child in kind.__subclasses__() if child.__module__.startswith("predcg.") for one in kinds(child)
        }

    assert {type(made()) for variants in VARIANTS.values() for made in variants} == {
        one for one in kinds(System) if not inspect.isabstract(one) and one is not Planar
    }


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_fingerprint_knows_all_that_the_energy_depends_on(kind):
    """Two of the same are the same, used or not; any other argument is another system."""
    prints = [made().fingerprint() for made in VARIANTS[kind]]
    assert len(set(prints)) == len(prints)
    again = VARIANTS[kind][0]()
    again(again.start(2))
    again.exact()
    assert again.fingerprint() == prints[0]


def test_fingerprints_are_those_of_earlier_versions():
    """Simulations that are kept are found again under their names. The numbers are of the version before parameters
    and inner modules counted.
    """
    found = {kind: VARIANTS[kind][0]().fingerprint()[:16] for kind in FINGERPRINTS}
    assert found == FINGERPRINTS


FINGERPRINTS = {
    "double_well": "a97dd771b308005e",
    "mueller_brown": "f46f95069ac8585b",
    "harmonic": "f5f9a7ea9b3d61ea",
    "gaussian_mixture": "8a965a9fa2311ed1",
    "ising_chain": "cb4c62782a30a2e3",
    "regularised": "fe174e1646e18f13",
}


class Learnt(System):
    """A potential that is made of other modules, as a learnt one is."""

    def __init__(self):
        super().__init__(1)
        self.net = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1))
        self.inner = nn.Module()
        self.inner.register_buffer("shift", torch.zeros(2))
        self.scale = nn.Parameter(torch.ones(()))
        self.terms, self.kind, self.table = [1.0, 2.0], "sum", {"a": torch.ones(2)}
        self._kept = object()

    def energy(self, x):
        return self.scale * self.net(x).squeeze(-1)


@pytest.mark.parametrize(
    "change",
    [
        lambda system: system.net[2].weight.add_(1e-3),
        lambda system: system.net[0].bias.add_(1e-3),
        lambda system: system.inner.shift.add_(1e-3),
        lambda system: system.scale.add_(1e-3),
        lambda system: system.terms.__setitem__(1, 2.5),
        lambda system: setattr(system, "kind", "product"),
        lambda system: system.table["a"].add_(1e-3),
        lambda system: setattr(system.inner, "order", 3),
        lambda system: setattr(system, "net", nn.Sequential(*system.net, nn.Identity())),
    ],
)
def test_a_fingerprint_sees_weights_and_attributes_of_every_module_inside(change):
    torch.manual_seed(1)
    system = Learnt()
    before = [system.fingerprint(), Regularised(system, 5.0).fingerprint()]
    system(torch.zeros(3, 1))
    system.eval()._kept = None  # counts, modes, and what is private are none of it
    assert [system.fingerprint(), Regularised(system, 5.0).fingerprint()] == before
    with torch.no_grad():
        change(system)
    assert system.fingerprint() != before[0] and Regularised(system, 5.0).fingerprint() != before[1]


def test_what_a_fingerprint_cannot_see_is_refused():
    system = Learnt()
    system.file = object()
    with pytest.raises(InputError, match="found file of object; begin its name with an underscore"):
        system.fingerprint()


def test_exact_samples_have_the_exact_moments(solvable):
    exact = solvable.exact()
    x = solvable.sample(200_000)
    for axis in range(solvable.size):
        if f"sd_x{axis + 1}" in exact:
            sd = exact[f"sd_x{axis + 1}"]
            assert x[:, axis].mean().item() == pytest.approx(exact[f"mean_x{axis + 1}"], abs=5 * sd / math.sqrt(len(x)))
            assert x[:, axis].std().item() == pytest.approx(sd, rel=0.01)
    label = solvable.label(x)
    for index, name in enumerate(solvable.basins):
        if f"p_{name}" in exact:
            p = exact[f"p_{name}"]
            assert (label == index).float().mean().item() == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / len(x)))


def test_log_z_agrees_with_importance_sampling(solvable):
    sample = solvable.sample(20_000)
    proposal = torch.distributions.MultivariateNormal(
        sample.mean(0), 2 * sample.T.cov() + 0.5 * torch.eye(solvable.size)
    )
    x = proposal.sample((400_000,))
    log_w = (-solvable(x) - proposal.log_prob(x)).double()
    log_z = log_w.logsumexp(0).item() - math.log(len(log_w))
    error = (log_w - log_z).exp().std().item() / math.sqrt(len(log_w))
    assert log_z == pytest.approx(solvable.exact()["log_z"], abs=5 * error)


def test_double_well_knows_the_answers_of_the_source():
    exact = DoubleWell().exact()
    axis = np.linspace(-7, 7, 200_001)
    weight = np.exp(-(0.25 * axis**4 - 3 * axis**2 + axis))
    z1 = np.trapezoid(weight, axis)
    mean = np.trapezoid(axis * weight, axis) / z1
    assert exact["log_z"] == pytest.approx(math.log(z1 * math.sqrt(2 * math.pi)), abs=1e-8)
    assert exact["log_z"] == pytest.approx(12.0649, abs=1e-4)
    assert exact["mean_x1"] == pytest.approx(mean, abs=1e-8)
    assert exact["sd_x1"] == pytest.approx(math.sqrt(np.trapezoid((axis - mean) ** 2 * weight, axis) / z1), abs=1e-8)
    right = np.where(axis > 0.1674, weight, 0)
    assert exact["p_right"] == pytest.approx(np.trapezoid(right, axis) / z1, rel=1e-3)
    assert DoubleWell().log_z(0.3) == pytest.approx(
        math.log(np.trapezoid(weight**0.3, axis) * math.sqrt(2 * math.pi / 0.3)), abs=1e-8
    )


def brute(system, beta: float, reach: float, points: int = 1501) -> dict[str, float]:
    """log Z and averages of exp(-βu) by the plain trapezoidal rule on a square far larger than any box."""
    axis = np.linspace(-reach, reach, points)
    x1, x2 = np.meshgrid(axis, axis, indexing="ij")
    u = system.energy(torch.from_numpy(np.stack([x1, x2], -1))).numpy()
    weight = np.exp(-beta * (u - u.min()))
    total = weight.sum()
    log_z = math.log(total * (axis[1] - axis[0]) ** 2) - beta * u.min()
    return {"log_z": log_z, "mean_x1": (weight * x1).sum() / total, "mean_x2": (weight * x2).sum() / total}


PLANAR = {
    "double well": (DoubleWell(), 100.0),
    "stiff": (DoubleWell(d=400.0), 20.0),
    "soft and asymmetric": (DoubleWell(b=2.0, c=0.5, d=0.25), 200.0),
    "Müller-Brown": (MuellerBrown(), 9.0),
    "Müller-Brown, hot": (MuellerBrown(beta=0.02), 9.0),
}


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("name", PLANAR)
def test_planar_systems_know_their_answers_at_every_temperature(name, beta):
    system, reach = PLANAR[name]
    expected = brute(system, beta, reach)
    assert system.log_z(beta) == pytest.approx(expected["log_z"], abs=1e-7)
    for points in ((800, 800), (3200, 200)):
        grid, log_weights, _ = system.quadrature(beta, points)
        means = (log_weights.softmax(0) @ grid).tolist()
        assert means == pytest.approx([expected["mean_x1"], expected["mean_x2"]], abs=1e-6)
    if beta == 1:
        assert {key: system.exact()[key] for key in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("coefficients", [{"a": -1.0}, {"d": 0.0}, {"b": -1.0}, {"c": 20.0}])
def test_a_double_well_has_two_wells(coefficients):
    with pytest.raises(InputError, match="expected a > 0, d > 0 and two wells"):
        DoubleWell(**coefficients)


def test_a_potential_that_confines_nothing_has_no_exact_answers():
    class Valley(DoubleWell):
        def energy(self, x):
            return x[..., 0] ** 2

    with pytest.raises(InputError, match="exp.* of Valley has no finite integral at β = 1"):
        Valley().exact()


def test_basins_end_at_the_barriers():
    """The double well's barrier is a stationary point; those of Müller-Brown's free energy by its own values."""
    x = torch.tensor([[DoubleWell().barrier, 0.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(DoubleWell()(x).sum(), x)
    assert slope.abs().max() < 1e-12
    system, s = MuellerBrown(), torch.linspace(-2.2, 0.6, 2801, dtype=torch.float64)
    f = system.pmf(s)
    top = s[1:-1][(f[1:-1] > f[:-2]) & (f[1:-1] > f[2:])]
    label = system.label(torch.stack([s, torch.zeros_like(s)], -1))
    ends = s[1:][label.diff() == 1]
    assert len(top) == 2 and (top - ends).abs().max() < 0.01


def test_mueller_brown_has_the_known_stationary_points():
    system = MuellerBrown(beta=1.0)
    minima = torch.tensor([[-0.558, 1.442], [0.623, 0.028], [-0.050, 0.467]], requires_grad=True)
    u = system(minima)
    assert u.tolist() == pytest.approx([-146.70, -108.17, -80.77], abs=0.02)
    (gradient,) = torch.autograd.grad(u.sum(), minima)
    assert gradient.abs().max() < 2.0  # coordinates are known to three digits, curvatures are of order 1000
    assert system.label(minima).tolist() == [0, 2, 1]


def test_mueller_brown_pmf_agrees_with_the_published_one():
    truth = SHARED / "mb_ground_truth.json"
    if not truth.exists():
        pytest.skip(
            f"the published free energy is not here ({truth.name}); test_mueller_brown_pmf_agrees_with_sampling needs"
            " nothing"
        )
    content = json.loads(truth.read_text())
    centres, reference = torch.tensor(content["s_center"]), np.array(content["F_minus_min_kT"])
    assert MuellerBrown().pmf(centres).numpy() == pytest.approx(reference, abs=1e-4)


def test_mueller_brown_pmf_agrees_with_sampling():
    system = MuellerBrown()
    s = system.cv(system.sample(2_000_000)).numpy()
    count, edges = np.histogram(s, bins=60, range=(-2.4, -1.6))
    pmf = system.pmf(torch.tensor(0.5 * (edges[1:] + edges[:-1])))
    p = torch.softmax(-pmf, 0).numpy() * count.sum()
    assert ((count - p) ** 2 / p).mean() < 2.0  # chi² per bin, 1 expected, plus the curvature inside a bin


def test_molecule_agrees_with_openmm_and_is_in_kt(ala2):
    pdb = app.PDBFile(str(Path(__file__).parents[1] / "src/predcg/systems/ala2.pdb"))
    system = app.ForceField("amber96.xml", "amber96_obc.xml").createSystem(pdb.topology, nonbondedMethod=app.NoCutoff)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    kt = 8.314462618e-3 * 330.0
    x = (ala2.start(3).double() + 0.005 * torch.randn(3, 66, dtype=torch.double)).requires_grad_()
    u = ala2(x)
    (gradient,) = torch.autograd.grad(u.sum(), x)
    for frame, energy, force in zip(x.detach().numpy(), u, gradient, strict=True):
        context.setPositions(frame.reshape(-1, 3))
        state = context.getState(energy=True, forces=True)
        assert energy.item() * kt == pytest.approx(
            state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), abs=1e-6
        )
        expected = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer).reshape(-1)
        assert -force.numpy() * kt == pytest.approx(expected, abs=1e-6)


def test_molecule_refuses_a_second_derivative(ala2):
    x = ala2.start(1).requires_grad_()
    (gradient,) = torch.autograd.grad(ala2(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(gradient.sum(), x)


def test_shipped_structure_is_l_alanine_with_a_model_in_each_basin(ala2):
    r = ala2.models.view(3, 22, 3)
    n, ca, cb, c, ha = (r[:, i] for i in (6, 8, 10, 14, 9))
    handedness = (torch.linalg.cross(c - n, cb - n) * (ha - n)).sum(-1)
    assert (handedness < 0).all()
    assert ala2.label(ala2.models).tolist() == [1, 2, 0]
    assert [atom.name for atom in ala2.topology.atoms][6:16] == [
        "N",
        "H",
        "CA",
        "HA",
        "CB",
        "HB1",
        "HB2",
        "HB3",
        "C",
        "O",
    ]
    assert ala2.frame_atoms == [6, 8, 14]


def test_basins_are_the_boxes_of_the_source(ala2):
    authors = SHARED / "schoberl_ala2_500.txt"
    if not authors.exists():
        pytest.skip(
            "the authors' frames are not here; test_shipped_structure_is_l_alanine_with_a_model_in_each_basin needs"
            " nothing"
        )
    label = ala2.label(read_frames(str(authors), ala2, "angstrom").x)
    assert [(label == index).sum().item() for index in (0, 1, 2, -1)] == [12, 256, 142, 90]


def test_basins_are_boxes_on_a_circle():
    """On random configurations, whose dihedrals are anywhere, against mdtraj's angles and all shifts by whole turns."""
    boxes = {
        "across": {"phi": [170, 40], "psi": [-175, 60]},
        "all psi": {"phi": [-60, 25], "psi": [0, 180]},
        "far": {"phi": [420, 20], "psi": [10, 90]},
    }
    molecule, x = Molecule("ala2.pdb", ["amber96.xml"], 300.0, boxes), 0.1 * torch.randn(4000, 66)
    frames = mdtraj.Trajectory(x.view(-1, 22, 3).numpy(), molecule.topology)
    angles = {
        "phi": np.degrees(mdtraj.compute_phi(frames)[1][:, 0]),
        "psi": np.degrees(mdtraj.compute_psi(frames)[1][:, 0]),
    }
    expected = np.full(4000, -1)
    for index, box in enumerate(boxes.values()):
        inside = [
            np.min([abs(angles[name] + turn - centre) for turn in (-720, -360, 0, 360, 720)], 0) <= half
            for name, (centre, half) in box.items()
        ]
        expected[inside[0] & inside[1]] = index
    assert (np.bincount(expected + 1, minlength=4) > 50).all()
    assert (molecule.label(x).numpy() == expected).mean() > 0.999  # but for rounding at the edges


def test_a_chain_has_its_frame_in_the_middle():
    chain = Peptide("ACE-AAA-NME", ["amber96.xml", "amber96_obc.xml"], 300.0)
    atoms = [chain.topology.atom(index) for index in chain.frame_atoms]
    assert [(atom.name, atom.residue.index) for atom in atoms] == [("N", 2), ("CA", 2), ("C", 2)]  # ACE is 0
    assert chain.topology.atom(chain.backbone.indices[0, 1]).residue.index == 1


def test_any_molecule_has_a_frame_of_three_bonded_atoms(tmp_path):
    pdb = tmp_path / "water.pdb"
    pdb.write_text(
        "ATOM      1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\n"
        "ATOM      2  H1  HOH A   1       0.957   0.000   0.000  1.00  0.00           H\n"
        "ATOM      3  H2  HOH A   1      -0.240   0.927   0.000  1.00  0.00           H\nEND\n"
    )
    water = Molecule(str(pdb), ["tip3p.xml"], 300.0)
    assert sorted(water.frame_atoms) == [0, 1, 2] and water.frame_atoms[1] == 0
    with pytest.raises(InputError, match="ramachandran is drawn of a Molecule with a backbone"):
        check_figures(["ramachandran"], water, {"training", "data"})
    assert water.basins == () and water(water.start(2)).shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.pdb", ["amber96.xml"], 300.0), "system.pdb: expected a PDB file; found nothing at 'missing.pdb'"),
        (("ala2.pdb", ["nonsense.xml"], 300.0), "system.forcefield"),
        (("ala2.pdb", ["amber96.xml"], 0.0), "temperature_kelvin: expected a positive number; found 0.0"),
        (("ala2.pdb", ["tip3p.xml"], 300.0), "ACE 1 .H1 CH3 H2 H3 C O.; ALA 2"),
    ],
)
def test_molecule_names_what_it_cannot_use(arguments, message):
    with pytest.raises(InputError, match=message):
        Molecule(*arguments)


def test_non_finite_energies_and_coordinates_are_never_passed_on(ala2):
    with pytest.raises(FloatingPointError, match="configuration 1"):
        Harmonic([1.0])(torch.tensor([[0.0], [math.inf]]))
    x = ala2.start(3)
    x[2, 5] = math.nan
    with pytest.raises(FloatingPointError, match="configuration 2"):
        ala2(x)


@pytest.mark.parametrize("scales", [[1.0, 0.0], [-1.0]])
def test_scales_are_positive(scales):
    with pytest.raises(InputError, match="positive"):
        Harmonic(scales)
    with pytest.raises(InputError, match="positive"):
        GaussianMixture([[0.0]] * len(scales), scales, [1.0] * len(scales))


def test_a_broken_configuration_spoils_no_other(system):
    whole, broken = (system.start(3).clone() for _ in range(2))
    broken[:2] = whole[:2]
    broken[2, 1] = math.nan
    expected = system(whole.requires_grad_())
    (slope,) = torch.autograd.grad(expected.sum(), whole)
    before = int(system.evaluations)
    u = system.unchecked(broken.requires_grad_())
    (found,) = torch.autograd.grad(u.sum(), broken)
    assert torch.equal(u[:2], expected[:2]) and torch.equal(found[:2], slope[:2]) and not u[2].isfinite()
    assert int(system.evaluations) - before == 3


def test_a_regularised_system_hands_on_what_is_not_finite():
    tamed, x = Regularised(Harmonic([1.0]), 8.0), torch.tensor([[2.0], [math.nan], [math.inf]])
    assert (
        tamed.unchecked(x).isfinite().tolist() == [True, False, False]
        and int(tamed.evaluations) == int(tamed.system.evaluations) == 3
    )
    with pytest.raises(FloatingPointError, match="configuration 1"):
        tamed(x)


def test_a_frame_is_written_as_pdb_where_it_can_be(ala2, tmp_path):
    x = ala2.start(1)[0]
    file = write_frame(tmp_path / "worst", ala2, x)
    back = mdtraj.load(str(file))
    assert file.name == "worst.pdb" and [atom.name for atom in back.topology.atoms] == [
        atom.name for atom in ala2.topology.atoms
    ]
    assert back.xyz.reshape(-1) == pytest.approx(x.numpy(), abs=1e-4)
    for system, broken in (
        (ala2, torch.full((66,), math.nan)),
        (ala2, torch.full((66,), -1e4)),
        (DoubleWell(), torch.ones(2)),
    ):
        file = write_frame(tmp_path / "worst", system, broken)
        assert file.name == "worst.npy" and np.array_equal(np.load(file), broken.numpy(), equal_nan=True)


def test_backbone_is_that_of_the_residue_that_is_asked_for():
    sequence, files = "ACE-GA-NME", ["amber96.xml", "amber96_obc.xml"]
    first, third = (Peptide(sequence, files, 300.0, residue=residue) for residue in (None, 3))
    frame = mdtraj.Trajectory(first.models.view(1, -1, 3).numpy(), first.topology)
    phi, psi = mdtraj.compute_phi(frame)[1][0], mdtraj.compute_psi(frame)[1][0]
    for molecule, index in ((first, 0), (third, 1)):
        assert molecule.backbone(first.models)[0].numpy() == pytest.approx([phi[index], psi[index]], abs=1e-4)
    with pytest.raises(InputError, match="system.residue: expected one that has both φ and ψ: 2, 3; found 1"):
        Peptide(sequence, files, 300.0, residue=1)
