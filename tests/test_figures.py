"""The numbers of figures, on models whose answer is known."""

import math
from functools import partial
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from predcg import figures
from predcg.batch import Batch, Data
from predcg.config import check_figures
from predcg.densities import FreeScale, GaussianMLP, StandardNormal, TrunkScale
from predcg.errors import InputError
from predcg.measures import evolution, exact
from predcg.measures.molecule import covered
from predcg.measures.networks import layers
from predcg.measures.runs import mean_over_seeds
from predcg.measures.structures import methyl_hydrogens, posed
from predcg.model import Model
from predcg.observables.observable import atoms
from predcg.posteriors import WeightPosterior
from predcg.priors import ARD, Flat
from predcg.results import Run
from predcg.systems import DoubleWell, Harmonic, Molecule
from predcg.transforms import Chain, RigidFrame, Unit

# Of alanine dipeptide: φ turns all from the alanine's HA on about N-CA, ψ its O and the methylamide about CA-C.
N, CA, C = 6, 8, 14
BEYOND = {"phi": [9, 10, 11, 12, 13, *range(14, 22)], "psi": [*range(15, 22)]}
METHYL = [0, 2, 3, 11, 12, 13, 19, 20, 21]


def turn(r: torch.Tensor, start: int, end: int, moved: list[int], radians: torch.Tensor) -> torch.Tensor:
    """Rodrigues' rotation of some atoms about the axis from one atom to another, (n, atoms, 3) by (n,)."""
    origin = r[:, start : start + 1]
    axis = torch.nn.functional.normalize(r[:, end : end + 1] - origin, dim=-1)
    v, cos, sin = r[:, moved] - origin, radians.cos()[:, None, None], radians.sin()[:, None, None]
    turned = (
        v * cos + torch.linalg.cross(axis.expand_as(v), v) * sin + axis * (axis * v).sum(-1, keepdim=True) * (1 - cos)
    )
    return r.index_copy(1, torch.tensor(moved), turned + origin)


@pytest.fixture
def hinge(ala2):
    """z to alanine dipeptide with φ = -60° - 20° z2 and ψ = 150° + 50° z1, all else as in its PDB file."""
    start = mdtraj.Trajectory(ala2.start(1).view(1, -1, 3).numpy(), ala2.topology)
    phi, psi = (torch.tensor(compute(start)[1].item()) for compute in (mdtraj.compute_phi, mdtraj.compute_psi))

    def decode(z: torch.Tensor) -> torch.Tensor:
        flat = z.reshape(-1, z.shape[-1])
        r = atoms(ala2.start(1)).expand(len(flat), -1, -1)
        r = turn(r, N, CA, BEYOND["phi"], torch.deg2rad(-60 - 20 * flat[:, 1]) - phi)
        r = turn(r, CA, C, BEYOND["psi"], torch.deg2rad(150 + 50 * flat[:, 0]) - psi)
        return r.reshape(*z.shape[:-1], -1)

    return decode


def run_of(system, x=None, **parts) -> Run:
    """A run of which figures may ask the model's `parts` and the frames x, training and held out alike."""
    batch = Batch.of(system.start(3) if x is None else x)
    model = SimpleNamespace(latent=StandardNormal(2), **parts)
    return Run(
        **dict.fromkeys(Run._fields)
        | {
            "name": "some/experiment",
            "system": system,
            "model": model,
            "data": Data(batch, batch),
        }
    )


def test_walk_counts_the_basins_on_its_paths(ala2, hinge):
    _, numbers = figures.decoder_walk([run_of(ala2, decode=hinge)])
    # Along z1, φ = -60° and ψ goes from -50° (α) over β-2; along z2, ψ = 150° and φ goes from 20° over β-2 to -140°
    # (β-1).
    assert numbers == {"basins_on_z1_path": 2, "basins_on_all_paths": 3}


def test_agreement_is_the_cosine_of_the_error(ala2, hinge):
    z = torch.randn(50, 2)
    _, numbers = figures.dihedral_maps(
        [run_of(ala2, hinge(z), decode=hinge, cv=lambda x: z + torch.tensor([0.6, 0.0]))]
    )
    assert numbers["phi_agreement"] == pytest.approx(1.0, abs=1e-5)
    assert numbers["psi_agreement"] == pytest.approx(math.cos(math.radians(30)), abs=1e-4)


def test_a_map_of_one_variable_does_not_change_upwards(ala2, hinge):
    z = torch.randn(50, 1)
    pad = partial(torch.nn.functional.pad, pad=(0, 1))
    run = run_of(ala2, hinge(pad(z)), decode=lambda z: hinge(pad(z)), cv=lambda x: z)
    run.model.latent = StandardNormal(1)
    picture, numbers = figures.dihedral_maps([run])
    assert numbers["psi_agreement"] == pytest.approx(1.0, abs=1e-5)
    degrees = picture.axes[1].collections[0].get_array()
    assert degrees.shape == (101, 101) and np.ptp(degrees[0]) > 100
    assert np.abs((degrees - degrees[:1] + 180) % 360 - 180).max() < 1e-3


def test_strip_measures_its_bonds_and_basins(ala2, hinge):
    _, numbers = figures.structure_strip([run_of(ala2, ala2.start(1), decode=lambda z: 1.01 * hinge(z))])
    bonds = [[a.index, b.index] for a, b in ala2.topology.bonds if a.name[0] != "H" and b.name[0] != "H"]
    longest = mdtraj.compute_distances(
        mdtraj.Trajectory(ala2.start(1).view(1, -1, 3).numpy(), ala2.topology), bonds
    ).max()
    assert numbers["strip_heavy_bond_error_nm"] == pytest.approx(0.01 * longest, rel=1e-3)
    assert numbers["basins_in_strip"] == 1  # φ = -60°, ψ = -25°, 25°, ... 125° and 175° (both β-2), ... 325°


def test_posed_structures_are_superposed_and_none_is_a_mirror_image(ala2, hinge):
    rotation = torch.linalg.qr(torch.randn(5, 3, 3)).Q
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    x = (atoms(hinge(torch.zeros(5, 2))) @ rotation + torch.randn(5, 1, 3)).flatten(1)
    r = posed(x, ala2, list(range(22)))
    assert torch.allclose(r, r[:1].expand_as(r), atol=1e-5)
    extent = r[0].var(0)
    assert extent[1] > extent[0] > extent[2]
    assert ala2.backbone(r.flatten(1)).rad2deg().numpy() == pytest.approx(np.tile([-60, 150], (5, 1)), abs=1e-2)


def test_methyl_hydrogens_are_told_from_the_others(ala2):
    assert np.flatnonzero(methyl_hydrogens(ala2)).tolist() == METHYL


def test_spread_is_that_of_the_decoder_in_nm(ala2):
    transform = Chain([RigidFrame([N, CA, C]), Unit(0.1)])
    decoder = GaussianMLP(2, 66, hidden=[4], activations=["Tanh"], scale=FreeScale, transform=transform)
    angstrom = torch.full((22, 3), 0.1)
    angstrom[METHYL] = 0.5
    free = [i for i in range(66) if i not in (18, 19, 20, 24, 25, 43)]
    decoder.scale.log_variance.data = 2 * angstrom.flatten()[free].log()
    run = run_of(ala2)._replace(model=Model(StandardNormal(2), decoder, None))
    _, numbers = figures.atom_spread([run])
    expected = {"spread_methyl_hydrogens_nm": 0.05, "spread_others_nm": 0.01, "spread_ratio_methyl_hydrogens": 5.0}
    assert numbers == pytest.approx(expected, rel=0.02)


def test_networks_of_the_source_have_its_numbers(ala2):
    decoder = GaussianMLP(2, 66, [100, 100, 50], ["Tanh"] * 3, FreeScale)
    encoder = GaussianMLP(66, 2, [50, 100, 100], ["SELU", "SELU", "LogSigmoid"], TrunkScale)
    _, numbers = figures.networks([run_of(ala2)._replace(model=Model(StandardNormal(2), decoder, encoder))])
    weights = 2 * 100 + 100 * 100 + 100 * 50 + 50 * 66
    assert numbers["decoder_weights"] == weights
    assert numbers["decoder_parameters"] == weights + 100 + 100 + 50 + 66 + 66
    assert numbers["encoder_parameters"] == 66 * 50 + 50 + 50 * 100 + 100 + 100 * 100 + 100 + 2 * (100 * 2 + 2)
    assert [row.activation for row in layers(encoder, 66, 2)] == ["SELU", "SELU", "LogSigmoid", "", ""]


def test_every_parameter_of_every_density_is_in_its_table(conditional):
    density = conditional(context=2, size=3)
    assert sum(row.parameters for row in layers(density, 2, 3)) == sum(p.numel() for p in density.parameters())


# A decoder that swells one structure: x = h x0 with h = centre + SWELL z1, so that every distance is Gaussian and no
# torsion moves.
SWELL = 0.1
SMALL = {"draws": 150, "frames": 300}


def swelling(ala2, z: int = 1, centre: float = 1.0, swell: float = SWELL) -> Model:
    decoder = GaussianMLP(z, 66, hidden=[1], activations=["Identity"], scale=partial(FreeScale, init=-40.0))
    with torch.no_grad():
        decoder.trunk[0].weight.zero_()[0, 0] = swell
        decoder.trunk[0].bias.fill_(centre)
        decoder.mean.weight.copy_(ala2.models[:1].T)
        decoder.mean.bias.zero_()
    return Model(StandardNormal(z), decoder, None)


def swelling_run(ala2, spread: float, h: torch.Tensor, frames: int = 10, seed: int = 0) -> Run:
    """Uncertain by `spread` in the mean of h, with held-out structures of these h."""
    data = Data(Batch.of(ala2.start(frames)), Batch.of(h[:, None] * ala2.models[0]))
    return run_of(ala2)._replace(
        model=swelling(ala2),
        posterior=WeightPosterior({"trunk.0": torch.tensor([[0.0, spread]])}),
        data=data,
        seed=seed,
    )


def gyration_radius(ala2) -> float:
    """Rg² = Σ_{i<j} m_i m_j d_ij² / M² of the structure that swells."""
    mass = np.array([atom.element.mass for atom in ala2.topology.atoms])
    r = ala2.models[0].view(-1, 3).double().numpy()
    square = ((r[:, None] - r) ** 2).sum(-1)
    return math.sqrt((mass[:, None] * mass * square).sum() / 2) / mass.sum()


def expected_band(h: torch.Tensor, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the band of h itself, on 22 bins over the held-out h: 4000 draws of its mean, each with its binomial
    counts.
    """
    rng, edges = np.random.default_rng(1), np.linspace(h.min().item(), h.max().item(), 23)
    below = norm.cdf(edges, 1 + spread * rng.standard_normal((4000, 1)), SWELL)
    counts = rng.binomial(SMALL["frames"], np.diff(below))
    return np.quantile(counts / SMALL["frames"] / np.diff(edges), [0.05, 0.95], axis=0)


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_band_is_as_wide_as_the_weights_are_uncertain(ala2, spread):
    h = 1 - SWELL * torch.randn(500).abs()  # half of the model's draws are beyond them
    low, high = expected_band(h, spread)
    _, numbers = figures.rg_bands([swelling_run(ala2, spread, h)], **SMALL)
    rg = gyration_radius(ala2)
    # The draws are few: 3 % at one standard error.
    assert numbers["rg_band_width"] == pytest.approx((high - low).mean() / rg, rel=0.1)
    assert numbers["rg_mean_nm_reference"] == pytest.approx(rg * h.mean().item(), rel=1e-4)
    assert numbers["rg_mean_nm"] == pytest.approx(
        rg, rel=5 * math.hypot(spread / SMALL["draws"] ** 0.5, SWELL / (SMALL["draws"] * SMALL["frames"]) ** 0.5)
    )
    assert numbers["rg_mean_off_percent"] == pytest.approx(
        100 * abs(numbers["rg_mean_nm"] / numbers["rg_mean_nm_reference"] - 1), rel=1e-6
    )


def test_band_covers_as_many_held_out_bins_as_it_says(ala2):
    # As many held-out frames as frames in each draw: bins are in the band with probability 0.9.
    own = [swelling_run(ala2, 0.0, 1 + SWELL * torch.randn(SMALL["frames"]), seed=seed) for seed in range(12)]
    _, numbers = figures.rg_bands(own, **SMALL)
    assert 0.85 < numbers["rg_coverage"] < 0.97
    assert 0 < numbers["rg_coverage_error"] < 0.03
    _, numbers = figures.rg_bands([swelling_run(ala2, 0.0, 1.8 + SWELL * torch.randn(5000))], **SMALL)
    assert numbers["rg_coverage"] < 0.2  # empty bins at its ends at most
    assert numbers["rg_mean_off_percent"] == pytest.approx(100 * (1 - 1 / 1.8), abs=0.5)


def test_more_frames_narrow_the_band(ala2):
    h = 1 + SWELL * torch.randn(500)
    runs = [
        swelling_run(ala2, 0.02, h, frames=20),
        swelling_run(ala2, 0.08, h, frames=5),
        swelling_run(ala2, 0.08, h, frames=5, seed=1),
    ]
    figure, numbers = figures.rg_bands(runs, **SMALL)
    widths = {
        spread: np.subtract(*expected_band(h, spread)[::-1]).mean() / gyration_radius(ala2) for spread in (0.02, 0.08)
    }
    assert [numbers["rg_band_width_n5"], numbers["rg_band_width_n20"]] == pytest.approx(
        [widths[0.08], widths[0.02]], rel=0.1
    )
    assert numbers["rg_band_narrowing_n20"] == numbers["rg_band_width_n20"] / numbers["rg_band_width_n5"]
    assert (
        "rg_band_width_n5_error" in numbers
        and "rg_band_width_n20_error" not in numbers
        and "rg_band_narrowing_n5" not in numbers
    )
    assert [axes.get_title() for axes in figure.axes] == ["5 training frames", "20 training frames"]


def test_bands_of_observables_are_those_of_their_names(ala2, hinge):
    h = 1 + SWELL * torch.randn(SMALL["frames"])
    run = swelling_run(ala2, 0.0, h)
    figure, numbers = figures.observable_bands([run], **SMALL)
    assert all(numbers[f"{name}_coverage"] > 0.7 for name in ("rg", "end_to_end", "distance_rmsd"))
    assert numbers["phi_coverage"] == numbers["psi_coverage"] == 1
    r = ala2.models[0].view(-1, 3).double().numpy()
    distance = np.linalg.norm(r[:, None] - r, axis=-1)[np.triu_indices(22, 1)]
    heavy = [atom.index for atom in ala2.topology.atoms if atom.name[0] != "H"]
    lengths = (gyration_radius(ala2), np.linalg.norm(r[heavy[-1]] - r[heavy[0]]))
    values = [length * h.numpy() for length in lengths] + [math.sqrt((distance**2).mean()) * np.abs(h.numpy() - 1)]
    for axes, of in zip(figure.axes, values, strict=False):
        edges = axes.patches[-1].get_data().edges  # they go from the least to the greatest held-out value
        assert [edges[0], edges[-1]] == pytest.approx([of.min(), of.max()], rel=1e-3, abs=1e-5)
    # ψ turned by 50°, that is by three bins: one bin that the model has and the frames lack, and one the other way
    # round.
    start = mdtraj.Trajectory(r.reshape(1, -1, 3), ala2.topology)
    phi, psi = (math.degrees(compute(start)[1].item()) for compute in (mdtraj.compute_phi, mdtraj.compute_psi))
    turned = hinge(torch.tensor([[(psi - 150) / 50 + 1, (-60 - phi) / 20]]))
    _, numbers = figures.observable_bands(
        [run._replace(data=Data(run.data.train, Batch.of(torch.cat([turned, 1.01 * turned]))))], **SMALL
    )
    assert [numbers["phi_coverage"], numbers["psi_coverage"]] == [1.0, 20 / 22]


def test_bands_need_a_molecule_with_a_posterior(ala2):
    for name in ("rg_bands", "observable_bands"):
        with pytest.raises(InputError) as refusal:
            check_figures([name], ala2, {"training"})
        assert (
            str(refusal.value)
            == f"figures: {name} is drawn of a posterior; choose posterior=laplace, or leave it out: figures=[]"
        )
        check_figures([name], ala2, {"training", "posterior"})
        with pytest.raises(InputError, match=f"{name} is drawn of a Molecule.* the system is a DoubleWell"):
            check_figures([name], DoubleWell(), {"training", "posterior"})
    check_figures(["rg_histogram"], ala2, {"training", "data"})


BASINS = ("α", "β-1", "β-2")


def mapped(label: np.ndarray, z: np.ndarray, prior=None) -> Run:
    """A run whose held-out frames carry their own basin and collective variables: x = (label, z)."""
    system = SimpleNamespace(label=lambda x: x[:, 0].long(), basins=BASINS)
    x = torch.tensor(np.column_stack([label, z]), dtype=torch.float32)
    return run_of(system, x, cv=lambda x: x[:, 1:])._replace(prior=prior or Flat())


def three_basins(size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """40, 30 and 20 frames of the basins on lines 0.01 apart, three frames of β-2 just beyond α's; among them all,
    frames of no basin.
    """
    lines = [start + 0.01 * np.arange(n) for start, n in ((0, 40), (3, 30), (6, 20))]
    z1 = np.concatenate([*lines, [0.45] * 3, *lines, *lines])
    label = np.repeat([0, 1, 2, -1], [40, 30, 23, 180])
    return label, np.column_stack([z1, *[0.001 * z1**2] * (size - 1)])


@pytest.mark.parametrize("size", [1, 2])
def test_map_counts_neighbours_and_variance_of_frames_in_basins(size):
    label, z = three_basins(size)
    _, numbers = figures.latent_map([mapped(label, z)])
    # The three have but each other and three of α near them, and no α has them near.
    assert numbers["latent_knn_accuracy"] == pytest.approx(90 / 93)
    assert numbers["latent_recall"] == pytest.approx((1 + 1 + 20 / 23) / 3)
    groups = [z[label == basin] for basin in range(3)]
    grand = np.concatenate(groups).mean(0)
    within = sum(((group - group.mean(0)) ** 2).sum() for group in groups)
    between = sum(len(group) * ((group.mean(0) - grand) ** 2).sum() for group in groups)
    assert numbers["latent_between"] == pytest.approx(between / (between + within), rel=1e-4)
    assert [numbers[f"test_frames_{name}"] for name in BASINS] == [40, 30, 23]


def test_least_spread_is_that_of_the_narrowest_axis():
    corners = np.array([[2.0, 0.3], [2.0, -0.3], [-2.0, 0.3], [-2.0, -0.3]] * 10)
    c, s = math.cos(0.5), math.sin(0.5)
    unbiased = math.sqrt(40 / 39)
    label = np.full(40, -1)
    label[:5] = 0  # too few to have five others
    for z, least in (
        (corners @ [[c, s], [-s, c]], 0.3),
        (corners[:, :1], 2.0),
        (corners * [1, 0.5], 0.15),
        (corners @ [[1, 1], [0, 0]], 0.0),
    ):
        _, numbers = figures.latent_map([mapped(label, z)])
        expected = {
            "latent_least_sd": least * unbiased,
            "latent_unused": float(least < 0.2),
            "test_frames_α": 5,
            "test_frames_β-1": 0,
            "test_frames_β-2": 0,
        }
        expected |= {"frames_in_no_basin_percent": 87.5}
        assert numbers == pytest.approx(expected, abs=1e-3)


def test_rates_are_counted_for_each_prior():
    label, z = three_basins()
    z = z / z.std()
    figure, numbers = figures.latent_map(
        [
            mapped(label, z, ARD()),
            mapped(label, 0.3 * z, Flat()),
            mapped(label, z, ARD()),
            mapped(label, 0.1 * z, ARD()),
        ]
    )
    expected = {
        "latent_separate_ARD": 2 / 3,
        "latent_unused_ARD": 1 / 3,
        "latent_separate_ARD_error": 1 / 3,
        "latent_separate_Flat": 0.0,
        "latent_unused_Flat": 0.0,
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)
    assert (
        numbers["latent_least_sd_Flat"] == pytest.approx(0.3, rel=0.01) and "latent_least_sd_Flat_error" not in numbers
    )
    assert numbers["latent_recall_ARD"] == numbers["latent_recall_Flat"]  # whatever the scale
    assert [axes.get_title().splitlines()[0] for axes in figure.axes] == ["prior: ARD", "prior: Flat"]
    # Separate are only basins that are found again.
    _, numbers = figures.latent_map([mapped(np.arange(len(z)) % 3, z)])
    assert numbers["latent_recall"] < 0.9 and numbers["latent_separate"] == 0


@pytest.mark.parametrize(("prior", "panels"), [(Flat(), 2), (ARD(), 3)])
def test_active_weights_are_counted_by_layer(prior, panels):
    def run(active: int) -> Run:
        decoder = GaussianMLP(2, 3, hidden=[4], activations=["Tanh"], scale=FreeScale)
        with torch.no_grad():
            for layer, n in ((decoder.trunk[0], active), (decoder.mean, 9)):
                layer.weight.fill_(-0.9e-4).view(-1)[:n] = -1.1e-4
                layer.bias.fill_(1.0)  # is not counted
        return run_of(SimpleNamespace(), torch.zeros(1, 3))._replace(
            model=Model(StandardNormal(2), decoder, None), prior=prior
        )

    figure, numbers = figures.precisions([run(2)])
    assert numbers == pytest.approx(
        {"active_share": 11 / 20, "active_share_trunk_0": 2 / 8, "active_share_mean": 9 / 12}
    )
    assert len(figure.axes) == panels
    _, numbers = figures.precisions([run(2), run(8)])
    assert numbers["active_share_trunk_0"] == pytest.approx(0.625) and numbers[
        "active_share_trunk_0_error"
    ] == pytest.approx(0.375)
    assert numbers["active_share_mean_error"] == 0


def test_gibbs_accepts_all_that_the_exact_encoder_proposes(linear):
    sizes = {"chains": 8000, "frames": 20, "stride": 5}
    run = run_of(SimpleNamespace(), torch.zeros(1, 1))._replace(model=linear.model(), seed=3)
    _, numbers = figures.gibbs_acceptance([run], **sizes)
    assert numbers["gibbs_acceptance"] == pytest.approx(1.0, abs=1e-5)
    # z1 is a Gaussian autoregression with r = (a² / (a² + σ²))^stride from frame to frame, and z1² one with r².
    square = (linear.a**2 / linear.variance) ** (2 * sizes["stride"])
    frames = sizes["frames"]
    error = math.sqrt(2 / frames * (1 + 2 * sum((1 - lag / frames) * square**lag for lag in range(1, frames))) / 8000)
    assert numbers["gibbs_var_z1_error"] == pytest.approx(error, rel=0.06)
    assert numbers["gibbs_var_z1"] == pytest.approx(1.0, abs=5 * error) and numbers["gibbs_var_z1_exact"] == 1
    with torch.no_grad():
        run.model.encoder.mean.bias.add_(2 * linear.sigma / math.sqrt(linear.variance))
    _, numbers = figures.gibbs_acceptance([run], **sizes)
    # 2 Φ(-δ/√2) of a shift of δ = 2 standard deviations.
    assert numbers["gibbs_acceptance"] == pytest.approx(math.erfc(1.0), abs=0.005)


def test_rg_of_several_numbers_of_variables(ala2):
    sizes = {"draws": 4000, "at_most": 200}
    h = {"train": torch.tensor([0.8, 1.1, 1.2]), "test": torch.tensor([0.9, 1.5])}
    data = Data(*(Batch.of(values[:, None] * ala2.models[0]) for values in h.values()))
    every, rg = torch.cat(list(h.values())), gyration_radius(ala2)
    models = {5: (1.1, 0.1), 1: (1.1, 0.05), 2: (1.2, 0.2), 3: (1.0, 0.1), 4: (1.3, 0.1)}
    runs = [run_of(ala2)._replace(model=swelling(ala2, z, *known), data=data) for z, known in models.items()]
    _, numbers = figures.rg_histogram(runs, **sizes)
    for z, (centre, swell) in models.items():
        assert numbers[f"rg_mean_nm_z{z}"] == pytest.approx(rg * centre, abs=5 * rg * swell / math.sqrt(4000))
        assert numbers[f"rg_sd_nm_z{z}"] == pytest.approx(rg * swell, rel=5 / math.sqrt(2 * 4000))
        assert numbers[f"rg_mean_nm_z{z}_reference"] == pytest.approx(rg * every.mean().item(), rel=1e-4)
        assert numbers[f"rg_sd_nm_z{z}_reference"] == pytest.approx(rg * every.std().item(), rel=1e-4)
    assert numbers["rg_mean_largest_difference_nm"] == pytest.approx(0.3 * rg, abs=0.02 * rg)
    assert len(numbers) == 5 * 5 + 1
    _, numbers = figures.rg_histogram(runs[:1] * 2, **sizes)
    assert set(numbers) == {
        "rg_mean_nm",
        "rg_mean_nm_error",
        "rg_mean_nm_reference",
        "rg_sd_nm",
        "rg_sd_nm_error",
        "rg_sd_nm_reference",
        "rg_covered",
        "rg_covered_error",
    }


def test_a_density_is_covered_where_it_is_within_the_scatter_of_draws():
    """Sets of 100 draws of a uniform density on ten bins: binomial with mean 10 and sd 3; held out, eight bins have 10
    % and two have 19 % and 1 %.
    """
    held_out = np.array([0.1] * 8 + [0.19, 0.01])
    found = covered(held_out, 10 * np.random.default_rng(0).random(20_000), np.arange(11.0), 100)
    assert found == 0.8
    assert covered(held_out, np.full(20_000, 0.5), np.arange(11.0), 100) == 0


def test_mean_over_seeds_has_the_error_of_the_mean():
    numbers = mean_over_seeds([{"a": a, "a_reference": 4.0} for a in (1.0, 2.0, 6.0)], "_b")
    # Deviations -2, -1, 3 from 3: a variance of 14 / 2, of the mean 7 / 3
    assert numbers == {"a_b": 3.0, "a_b_error": pytest.approx(math.sqrt(7 / 3)), "a_b_reference": 4.0}
    assert mean_over_seeds([{"a": 1.0}]) == {"a": 1.0}


def test_tempering_counts_rises_and_compares_log_z():
    """A history of four attempts: raised, not allowed, forced, raised to 1; then the last estimate."""

    def run(log_z: float) -> Run:
        made = [(0.1, 0.2, 0), (0.3, 0.0, 0), (0.3, 0.1, 1), (0.4, 0.6, 0)]
        history: list[dict] = [{"step": 0, "train/beta": 0.1}, {"step": 50, "train/beta": 1.0}]
        for step, (beta, rise, forced) in enumerate(made):
            history.append(
                {"step": 10 * step, "tempering/beta": beta, "tempering/rise": rise, "tempering/forced": forced}
            )
            history[-1] |= dict.fromkeys(["tempering/kl", "tempering/growth", "tempering/effective_sample_size"], 0.1)
            history[-1] |= {
                "sample/log_z": 3.0,
                "sample/log_z_error": 0.5,
                "sample/log_z_direct": 2.0,
                "sample/log_z_direct_error": 0.5,
            }
        last = {
            "sample/log_z": log_z,
            "sample/log_z_error": 0.03,
            "sample/log_z_direct": 12.07,
            "sample/log_z_direct_error": 0.02,
        }
        return run_of(DoubleWell(), torch.zeros(1, 2))._replace(
            history=[*history, {"step": 60, "tempering/beta": 1.0, "tempering/kl": 0.01} | last]
        )

    figure, numbers = figures.tempering([run(12.1)])
    exact = DoubleWell().exact()["log_z"]
    assert numbers == {
        "beta_rises": 3,
        "beta_rises_forced": 1,
        "log_z_tempering": 12.1,
        "log_z_tempering_error": 0.03,
        "log_z_tempering_exact": exact,
        "log_z_direct": 12.07,
        "log_z_direct_error": 0.02,
        "log_z_direct_exact": exact,
    }
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "raised: 2 times",
        "forced: 1 times",
        "not allowed: 1 times",
    ]
    _, numbers = figures.tempering([run(12.0), run(12.2)])
    assert numbers["log_z_tempering"] == pytest.approx(12.1) and numbers["log_z_tempering_error"] == pytest.approx(0.1)
    unfinished = run(12.1)
    _, numbers = figures.tempering([unfinished._replace(history=unfinished.history[:-1])])
    assert numbers == {"beta_rises": 3, "beta_rises_forced": 1}


class Straight:
    """x = (c1 + a z + s ε, s2 ε') with z ~ N(0, 1), and z | x ~ N(b (x1 - c1), t²): a model of the double well that is
    Gaussian, and all known.
    """

    def __init__(self, c1=-2.0, a=0.4, s=0.3, s2=1.1, b=1.6, t=0.6):
        self.c1, self.a, self.s, self.s2, self.b, self.t = c1, a, s, s2, b, t
        self.sd = math.hypot(a, s)

    def model(self) -> Model:
        linear = partial(GaussianMLP, hidden=[1], activations=["Identity"], scale=FreeScale)
        decoder, encoder = linear(1, 2), linear(2, 1)
        values = {
            decoder.trunk[0].weight: [[1.0]],
            decoder.mean.weight: [[self.a], [0.0]],
            decoder.mean.bias: [self.c1, 0.0],
            decoder.scale.log_variance: [2 * math.log(self.s), 2 * math.log(self.s2)],
            encoder.trunk[0].weight: [[1.0, 0.0]],
            encoder.mean.weight: [[self.b]],
            encoder.mean.bias: [-self.b * self.c1],
            encoder.scale.log_variance: [2 * math.log(self.t)],
        }
        with torch.no_grad():
            for parameter in [*decoder.parameters(), *encoder.parameters()]:
                parameter.zero_()
            for parameter, value in values.items():
                parameter.copy_(torch.tensor(value))
        return Model(StandardNormal(1), decoder, encoder)

    def posterior(self) -> "Straight":
        """The same with the exact encoder."""
        self.b, self.t = self.a / self.sd**2, self.s / self.sd
        return self

    def right(self) -> float:
        return norm.sf(DoubleWell().barrier, self.c1, self.sd)


def straight_run(folder=None, seed: int = 0, **known) -> Run:
    return run_of(DoubleWell())._replace(
        model=Straight(**known).posterior().model(), folder=folder, seed=seed, history=[]
    )


def u1(x: float) -> float:
    """u(x1, 0) of the double well."""
    return x**4 / 4 - 3 * x**2 + x


LEFT, BARRIER, RIGHT = np.sort(np.roots([1, 0, -6, 1]).real)  # u1' = 0


def well(beta: float, of) -> float:
    """E of a function of x1 under p_β of the double well, by adaptive quadrature in one dimension."""

    def integral(of) -> float:
        parts = ((-14, LEFT), (LEFT, BARRIER), (BARRIER, RIGHT), (RIGHT, 14))
        return sum(quad(lambda x: of(x) * math.exp(-beta * (u1(x) + 12)), *part)[0] for part in parts)

    return integral(of) / integral(lambda x: 1.0)


@pytest.mark.parametrize("beta", [1.0, 0.2, 0.01])
def test_answers_are_exact_at_every_temperature(beta):
    system = DoubleWell()
    found = exact.observed(exact.tempered(system, beta), system)
    mean = well(beta, lambda x: x)
    expected = {
        "mean_x1": mean,
        "sd_x1": math.sqrt(well(beta, lambda x: (x - mean) ** 2)),
        "mean_x2": 0.0,
        "sd_x2": beta**-0.5,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-9)
    right = well(beta, lambda x: float(x > BARRIER))
    assert [found["p_right"], found["p_left"]] == pytest.approx([right, 1 - right], abs=0.005)
    if beta == 1:
        assert found["p_right"] == pytest.approx(system.exact()["p_right"], rel=1e-3)


def test_what_is_observed_has_the_error_of_its_draws():
    system = DoubleWell()
    repeated = []
    for _ in range(300):
        x = torch.randn(400, 2) * torch.tensor([1.5, 1.0]) - torch.tensor([1.0, 0.0])
        repeated.append(exact.observed(exact.Weighted(x, 0.3 * x[:, 1]), system))
    right = norm.sf(system.barrier, -1.0, 1.5)  # weights of x2 alone change x2 alone: N(0.3, 1)
    expected = {"mean_x1": -1.0, "sd_x1": 1.5, "mean_x2": 0.3, "sd_x2": 1.0, "p_right": right, "p_left": 1 - right}
    for name, value in expected.items():
        values = np.array([numbers[name] for numbers in repeated])
        # Of order 1/400 is the bias of an sd.
        assert values.mean() == pytest.approx(value, abs=4 * values.std() / 300**0.5 + 0.005)
        assert np.mean([numbers[f"{name}_error"] for numbers in repeated]) == pytest.approx(values.std(), rel=0.2)


def test_target_tells_what_the_coefficients_say():
    _, numbers = figures.target([run_of(DoubleWell())])
    for name, at in (("left", LEFT), ("right", RIGHT)):
        assert numbers[f"minimum_{name}_x1"] == pytest.approx(at, abs=0.01)
        assert numbers[f"minimum_{name}_kt"] == pytest.approx(u1(at), abs=1e-3)
    assert numbers["barrier_x1"] == pytest.approx(BARRIER, abs=0.01) and numbers["barrier_kt"] == pytest.approx(
        u1(BARRIER) - u1(LEFT), abs=1e-3
    )
    log_z = math.log(quad(lambda x: math.exp(-u1(x)), -6, 6, points=[LEFT, RIGHT])[0] * math.sqrt(2 * math.pi))
    assert abs(numbers["log_z"] - log_z) < 4 * numbers["log_z_error"] < 0.2
    for name, value in {
        "mean_x1": well(1, lambda x: x),
        "p_right": well(1, lambda x: float(x > BARRIER)),
        "sd_x2": 1.0,
    }.items():
        assert numbers[f"{name}_exact"] == pytest.approx(value, rel=1e-2)
        assert abs(numbers[name] - value) < 4 * numbers[f"{name}_error"]


def test_bounds_of_a_gaussian_are_known():
    sizes = {"draws": 4000, "weighted": 40_000}
    known = {"c1": -2.0, "a": 0.8, "s": 0.8, "s2": 1.1}
    of = Straight(**known)
    _, numbers = figures.bounds([straight_run(**known)], **sizes)
    m, v = of.c1, of.sd**2
    fourth, second = m**4 + 6 * m**2 * v + 3 * v**2, m**2 + v
    energy = fourth / 4 - 3 * second + m + of.s2**2 / 2
    entropy = 1 + math.log(2 * math.pi) + math.log(of.sd * of.s2)
    assert numbers["log_z_lower"] == pytest.approx(entropy - energy, abs=4 * numbers["log_z_lower_error"])
    mean, square = well(1, lambda x: x), well(1, lambda x: x**2)
    cross = 0.5 * ((square - 2 * m * mean + m**2) / v + 1 / of.s2**2) + math.log(2 * math.pi * of.sd * of.s2)
    u = well(1, u1) + 0.5
    assert numbers["log_z_upper"] == pytest.approx(cross - u, abs=4 * numbers["log_z_upper_error"])
    assert numbers["log_z_gap"] == numbers["log_z_upper"] - numbers["log_z_lower"] > 1
    assert abs(numbers["p_right_model"] - of.right()) < 4 * numbers["p_right_model_error"]
    assert numbers["sd_x1_model"] == pytest.approx(of.sd, abs=4 * numbers["sd_x1_model_error"])
    for name in ("log_z", "mean_x1", "p_left", "sd_x2"):
        assert numbers[f"{name}_exact"] == pytest.approx(DoubleWell().exact()[name])
        assert abs(numbers[name] - numbers[f"{name}_exact"]) < 4 * numbers[f"{name}_error"]
    _, several = figures.bounds([straight_run(**known, seed=seed) for seed in (0, 1)], **sizes)
    assert several["log_z_lower_error"] > 0 and several["p_right_exact"] == numbers["p_right_exact"]
    assert min(numbers["p_right"], several["p_right"]) > 0 and several["p_right"] != numbers["p_right"]


def test_profile_measures_the_wells_of_the_model():
    """A decoder that jumps at z = 0.5 puts 31 % of its mass 5 to the right."""
    run = straight_run()
    decoder, encoder = run.model.decoder, run.model.encoder
    decoder.trunk[1] = torch.nn.Tanh()
    with torch.no_grad():
        decoder.trunk[0].weight.fill_(1e6)
        decoder.trunk[0].bias.fill_(-0.5e6)
        decoder.mean.weight.copy_(torch.tensor([[2.5], [0.0]]))
        decoder.mean.bias.zero_()
        for parameter in encoder.parameters():
            parameter.zero_()  # p(z) itself
    _, numbers = figures.profile([run])
    share = norm.sf(0.5)
    # Of 2,000 latent draws 5 % each.
    assert numbers["depth_gap_kt"] == pytest.approx(math.log((1 - share) / share), abs=0.15)
    assert numbers["depth_gap_kt_exact"] == pytest.approx(u1(RIGHT) - u1(LEFT), abs=0.02)
    assert numbers["barrier_kt_exact"] == pytest.approx(u1(BARRIER) - u1(LEFT), abs=0.02)
    between = -math.log(
        (norm.pdf(0, -2.5, 0.3) * (1 - share) + norm.pdf(0, 2.5, 0.3) * share) / (norm.pdf(0, 0, 0.3) * (1 - share))
    )
    assert numbers["barrier_kt"] == pytest.approx(between, abs=0.5)


def kept(folder, step: int, beta: float, **known) -> None:
    (folder / "snapshots").mkdir(exist_ok=True)
    content = {
        "model": Straight(**known).posterior().model().state_dict(),
        "beta": torch.tensor(beta),
        "evaluations": torch.tensor(10 * step),
    }
    torch.save(content, folder / f"snapshots/step={step}.pt")


WIDE, NEAR = {"c1": -0.5, "a": 1.5, "s": 1.5, "s2": 5.0}, {"c1": -2.2, "a": 1.1, "s": 1.1, "s2": 1.1}


@pytest.fixture
def told(tmp_path) -> Run:
    """Five snapshots: two at β = 0.01, of which the first knows nothing, one at 0.5, two at 1."""
    for step, beta, known in (
        (100, 0.01, NEAR),
        (90, 0.01, NEAR),
        (120, 0.01, WIDE),
        (200, 0.5, NEAR),
        (300, 1.0, WIDE),
        (1000, 1.0, NEAR),
    ):
        kept(tmp_path, step, beta, **known)
    return straight_run(tmp_path, c1=5.0)  # is not asked: the snapshots are


def test_moments_are_those_of_the_last_snapshot(told):
    figure, numbers = figures.moments([told], draws=300, last_draws=100_000)
    of, answers = Straight(**NEAR), DoubleWell().exact()
    model = {"mean_x1": of.c1, "sd_x1": of.sd, "mean_x2": 0.0, "sd_x2": of.s2, "p_right": of.right()}
    for name, value in model.items():
        assert abs(numbers[f"{name}_model"] - value) < 4 * numbers[f"{name}_model_error"] < 0.2
        assert abs(numbers[name] - answers[name]) < 4 * numbers[f"{name}_error"] < 0.5
        assert numbers[f"{name}_exact"] == numbers[f"{name}_model_exact"] == pytest.approx(answers[name], abs=1e-9)
    model_line, reweighted, at_beta = (line.get_data() for line in figure.axes[1].lines[:3])
    assert model_line[0].tolist() == [90, 100, 120, 200, 300, 1000]
    assert model_line[1] == pytest.approx(
        [of.sd] * 2 + [Straight(**WIDE).sd] + [of.sd, Straight(**WIDE).sd, of.sd], rel=0.2
    )
    mean = well(0.01, lambda x: x)
    assert at_beta[1][0] == pytest.approx(math.sqrt(well(0.01, lambda x: (x - mean) ** 2)), rel=1e-3)
    assert at_beta[1][-1] == pytest.approx(answers["sd_x1"], rel=1e-3) and reweighted[1][-1] == pytest.approx(
        numbers["sd_x1"], rel=1e-5
    )
    _, several = figures.moments([told, told._replace(seed=1)], draws=300, last_draws=100_000)
    assert several["p_right_error"] > 0 and several["p_right_exact"] == numbers["p_right_exact"]


def test_histograms_tell_where_tempering_begins_and_ends(told):
    figure, numbers = figures.histograms([told], draws=100_000)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [
        *(
            f"step {step}, β = {beta}"
            for step, beta in ((90, 0.01), (100, 0.01), (120, 0.01), (200, 0.5), (300, 1), (1000, 1))
        ),
        "target, exact draws",
    ]
    for name, beta, known in (("first", 0.01, WIDE), ("last", 1.0, NEAR)):
        of = Straight(**known)
        assert numbers[f"p_right_{name}"] == pytest.approx(of.right(), abs=2 / 100_000**0.5)
        smooth = math.hypot(of.sd, evolution.KERNEL)
        assert numbers[f"valley_{name}"] == pytest.approx(
            norm.pdf(BARRIER, of.c1, smooth) / norm.pdf(RIGHT, of.c1, smooth), rel=0.3
        )
        near, far = (
            well(beta, lambda x, at=at: math.exp(-(((x - at) / evolution.KERNEL) ** 2) / 2)) for at in (BARRIER, RIGHT)
        )
        assert numbers[f"valley_{name}_exact"] == pytest.approx(near / far, rel=0.02)
        assert numbers[f"p_right_{name}_exact"] == pytest.approx(well(beta, lambda x: float(x > BARRIER)), abs=0.005)


def test_few_snapshots_are_all_shown_and_many_are_thinned(tmp_path):
    for step in range(10, 200, 10):
        kept(tmp_path, step, min(1.0, step / 100), **NEAR)
    figure, _ = figures.histograms([straight_run(tmp_path)], draws=500)
    shown = [
        int(axes.get_title().split()[1].rstrip(",")) for axes in figure.axes if axes.get_title().startswith("step")
    ]
    assert shown == [10, 30, 50, 70, 90, 100, 190]
    assert evolution.thin([1, 2, 3], 3) == [1, 2, 3] and evolution.thin(list(range(100)), 25)[-1] == 99


def test_wells_are_recalled_where_the_decoder_leads_back():
    of = Straight(c1=-2.0, a=0.3, s=0.3).posterior()
    _, numbers = figures.encoded([straight_run(c1=-2.0, a=0.3, s=0.3)])
    # From where x1 - c1, which encoding and decoding shrink, stays beyond the barrier.
    border = of.c1 + (BARRIER - of.c1) / (of.a * of.b)
    right = well(1, lambda x: float(x > border)) / well(1, lambda x: float(x > BARRIER))
    assert (
        numbers["recall_left"] == 1
        and numbers["recall_right"] == pytest.approx(right, abs=4 / 160**0.5 / 2)
        and 0.2 < right < 0.8
    )
    mean = well(1, lambda x: x)
    spread = math.hypot(of.b * math.sqrt(well(1, lambda x: (x - mean) ** 2)), of.t)
    assert numbers["mean_z1"] == pytest.approx(of.b * (mean - of.c1), abs=0.02) and numbers["sd_z1"] == pytest.approx(
        spread, abs=0.05
    )
    assert [numbers["mean_z1_exact"], numbers["sd_z1_exact"]] == [0, 1]


def test_the_exact_encoder_gives_back_the_latent_density():
    _, numbers = figures.decoded([straight_run()])
    assert numbers["monotony_x1"] == pytest.approx(1.0)
    for name, value in (("mean", 0.0), ("sd", 1.0)):
        assert (
            abs(numbers[f"{name}_z1_again"] - value) < 4 * numbers[f"{name}_z1_again_error"]
            and numbers[f"{name}_z1_again_exact"] == value
        )
    of = Straight(b=1.0, t=0.1)
    _, numbers = figures.decoded([straight_run()._replace(model=of.model())])
    assert numbers["sd_z1_again"] == pytest.approx(math.hypot(of.b * of.sd, of.t), rel=0.03)


def test_figures_of_the_training_need_snapshots():
    for name in ("moments", "histograms"):
        with pytest.raises(InputError) as refusal:
            check_figures([name], DoubleWell(), {"training"})
        assert (
            str(refusal.value)
            == f"figures: {name} is drawn of snapshots; choose snapshots=<steps>, or leave it out: figures=[]"
        )
        check_figures([name], DoubleWell(), {"training", "snapshots"})


def test_the_error_of_one_run_is_not_that_of_several():
    one = {"a": 1.0, "a_error": 0.2, "a_exact": 4.0}
    assert mean_over_seeds([one], "_b") == {"a_b": 1.0, "a_b_error": 0.2, "a_b_exact": 4.0}
    assert mean_over_seeds([one, one | {"a": 3.0}], "_b") == {"a_b": 2.0, "a_b_error": 1.0, "a_b_exact": 4.0}


def test_gradient_noise_is_that_of_quadrature(linear, tmp_path):
    """x = a z + σ ε against β ½ (x/s)² and r = N(k x, t²), of the weights (a, its bias, the trunk's weight and bias,
    log σ²).
    """
    model, beta, s2 = linear.model(), 0.5, 4.0
    with torch.no_grad():
        model.encoder.mean.weight.mul_(0.8)
    a, sigma, k, t2 = linear.a, linear.sigma, model.encoder.mean.weight.item(), linear.sigma**2 / linear.variance
    nodes, weight = np.polynomial.hermite_e.hermegauss(12)  # exact: all are polynomials, their squares of degree 8
    z, noise = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    weight = np.outer(weight, weight).ravel() / (2 * np.pi)
    x = a * z + sigma * noise
    log_q = -(noise**2) / 2 - math.log(sigma) - z**2 / 2 - math.log(2 * np.pi)
    f = beta * x**2 / (2 * s2) + log_q + (z - k * x) ** 2 / (2 * t2) + 0.5 * math.log(2 * np.pi * t2)
    of_mean = np.stack([z, np.ones_like(z), a * z, np.full_like(z, a)])
    score = np.vstack([noise / sigma * of_mean, (noise**2 - 1) / 2])
    path = (beta * x / s2 - noise / sigma - k * (z - k * x) / t2) * np.vstack([of_mean, sigma * noise / 2])
    f_mean = weight @ f
    f_var = weight @ (f - f_mean) ** 2

    def trace(rows):
        return ((rows**2) @ weight - (rows @ weight) ** 2).sum()

    baseline = trace((f - f_mean) * score) + f_var / (250 - 1) * ((score**2) @ weight).sum()
    expected = {"score": trace(f * score), "baseline": baseline, "path": trace(path)}
    run = run_of(Harmonic([2.0]))._replace(model=model, folder=tmp_path, history=[{"step": 9, "train/beta": beta}])
    figure, numbers = figures.gradient_noise([run], blocks=100, draws=250)
    for name, value in expected.items():
        key = f"noise_{name}_over_reparametrised"
        assert numbers[key] == pytest.approx(math.sqrt(value / trace(score + path)), abs=5 * numbers[f"{key}_error"])
        assert numbers[f"{key}_error"] < 0.05 * numbers[key]
    mean = path @ weight
    assert mean == pytest.approx((f * score) @ weight, abs=1e-12)  # what the estimators estimate is the same
    assert numbers["gradient_norm"] == pytest.approx(np.linalg.norm(mean), abs=5 * numbers["gradient_norm_error"])
    assert [line.get_xdata().tolist() for line in figure.axes[0].lines[:2]] == [[9], [9]]


def test_gradient_noise_follows_the_snapshots(linear, tmp_path):
    model = linear.model()
    for step in range(1, 13):
        (tmp_path / "snapshots").mkdir(exist_ok=True)
        content = {"model": model.state_dict(), "beta": torch.tensor(1.0), "evaluations": torch.tensor(step)}
        torch.save(content, tmp_path / f"snapshots/step={step}.pt")
    system = Harmonic([math.sqrt(linear.variance)])
    figure, numbers = figures.gradient_noise([run_of(system)._replace(model=model, folder=tmp_path)], blocks=2)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [2, 4, 6, 8, 10, 12]
    # f is constant.
    assert numbers["noise_path_over_reparametrised"] < 1e-5 and numbers["noise_baseline_over_reparametrised"] < 1e-5
    assert numbers["noise_score_over_reparametrised"] == pytest.approx(abs(system.exact()["log_z"]), rel=1e-4)


def test_maps_without_two_basins_are_coloured_by_torsions(ala2, hinge):
    z = torch.randn(50, 2)
    run = run_of(ala2, hinge(z), cv=lambda x: z, decode=hinge)._replace(prior=Flat())
    assert "latent_knn_accuracy" in figures.latent_map([run])[1]
    for boxes in ({}, {"α": {"phi": [-60, 180]}}):
        bare = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0, boxes)
        figure, numbers = figures.latent_map([run._replace(system=bare)])
        assert set(numbers) == {"latent_least_sd", "latent_unused"}
        labels = [axes.get_ylabel() for axes in figure.axes if "degrees" in axes.get_ylabel()]
        assert labels == ["φ (degrees)", "ψ (degrees)"]
        assert figure.axes[0].collections[0].get_array().data == pytest.approx(-60 - 20 * z[:, 1].numpy(), abs=0.01)
        assert figures.decoder_walk([run._replace(system=bare)])[1] == {}
        assert "basins_in_strip" not in figures.structure_strip([run._replace(system=bare)])[1]


def test_ramachandran_compares_as_many_draws_as_frames(ala2, hinge):
    """Held out and drawn from the same density: the distance is that of the training frames, which are as many."""
    test, drawn = hinge(torch.randn(600, 2)), hinge(torch.randn(600, 2))
    run = run_of(ala2, generate=lambda n: drawn[:n])._replace(data=Data(Batch.of(drawn[:200]), Batch.of(test)))
    figure, numbers = figures.ramachandran([run])
    assert numbers["ramachandran_distance"] == numbers["ramachandran_distance_of_training"] > 0
    assert [axes.get_title() for axes in figure.axes[:2]] == ["600 held-out frames", "600 draws of the model"]
    maps = [axes.collections[0] for axes in figure.axes[:2]]
    frames = [mdtraj.Trajectory(x.view(len(x), -1, 3).numpy(), ala2.topology) for x in (test, drawn)]
    torsions = [
        np.rad2deg([compute(one)[1][:, 0] for compute in (mdtraj.compute_phi, mdtraj.compute_psi)]) for one in frames
    ]
    most = max(np.histogram2d(*both, bins=36, range=[[-180, 180]] * 2)[0].max() for both in torsions)
    for image in maps:  # of one frame as high in both, at the end of the scale
        assert image.get_array().max() == pytest.approx(math.log(most)) and image.get_clim() == pytest.approx(
            (0, math.log(most))
        )


def test_other_runs_are_not_pooled_and_seeds_are():
    one, other = straight_run(), straight_run(seed=1)
    assert "log_z_lower_error" in figures.bounds([one, other])[1]
    with pytest.raises(
        InputError,
        match=(
            "^bounds: expected runs that differ in their seeds alone; found 'some/experiment' and 'some/experiment"
            " prior-ard'; draw them"
        ),
    ):
        figures.bounds([one, other._replace(name="some/experiment prior-ard")])
