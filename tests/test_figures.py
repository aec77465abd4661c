"""The numbers of figures, on models whose answer is known."""

import math
from functools import partial
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch
from scipy.stats import norm

from predcg import figures
from predcg.batch import Batch, Data
from predcg.config import check_figures
from predcg.densities import FreeScale, GaussianMLP, StandardNormal, TrunkScale
from predcg.errors import InputError
from predcg.figures import bands, chains, molecule
from predcg.figures.networks import layers
from predcg.figures.structures import methyl_hydrogens, posed
from predcg.figures.style import mean_over_seeds
from predcg.model import Model
from predcg.observables.observable import atoms
from predcg.posteriors import Weights
from predcg.priors import ARD, Flat
from predcg.results import Run
from predcg.systems import DoubleWell
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
    turned = v * cos + torch.linalg.cross(axis.expand_as(v), v) * sin + axis * (axis * v).sum(-1, keepdim=True) * (1 - cos)
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
    return Run(**dict.fromkeys(Run._fields) | {"system": system, "model": model, "data": Data(batch, batch)})


def test_walk_counts_the_basins_on_its_paths(ala2, hinge):
    _, numbers = figures.decoder_walk([run_of(ala2, decode=hinge)])
    # Along z1, φ = -60° and ψ goes from -50° (α) over β-2; along z2, ψ = 150° and φ goes from 20° over β-2 to -140° (β-1).
    assert numbers == {"basins_on_z1_path": 2, "basins_on_all_paths": 3}


def test_agreement_is_the_cosine_of_the_error(ala2, hinge):
    z = torch.randn(50, 2)
    _, numbers = figures.dihedral_maps([run_of(ala2, hinge(z), decode=hinge, cv=lambda x: z + torch.tensor([0.6, 0.0]))])
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
    longest = mdtraj.compute_distances(mdtraj.Trajectory(ala2.start(1).view(1, -1, 3).numpy(), ala2.topology), bonds).max()
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


# A decoder that swells one structure: x = h x0 with h = centre + SWELL z1, so that every distance is Gaussian and no torsion moves.
SWELL = 0.1
SMALL = {"DRAWS": 150, "FRAMES": 300}


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
    return run_of(ala2)._replace(model=swelling(ala2), weights=Weights({"trunk.0": torch.tensor([[0.0, spread]])}), data=data, seed=seed)


def gyration_radius(ala2) -> float:
    """Rg² = Σ_{i<j} m_i m_j d_ij² / M² of the structure that swells."""
    mass = np.array([atom.element.mass for atom in ala2.topology.atoms])
    r = ala2.models[0].view(-1, 3).double().numpy()
    square = ((r[:, None] - r) ** 2).sum(-1)
    return math.sqrt((mass[:, None] * mass * square).sum() / 2) / mass.sum()


def expected_band(h: torch.Tensor, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the band of h itself, on 22 bins over the held-out h: 4000 draws of its mean, each with its binomial counts."""
    rng, edges = np.random.default_rng(1), np.linspace(h.min().item(), h.max().item(), 23)
    below = norm.cdf(edges, 1 + spread * rng.standard_normal((4000, 1)), SWELL)
    counts = rng.binomial(SMALL["FRAMES"], np.diff(below))
    return np.quantile(counts / SMALL["FRAMES"] / np.diff(edges), [0.05, 0.95], axis=0)


@pytest.fixture
def few_draws(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(bands, name, value)


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_band_is_as_wide_as_the_weights_are_uncertain(ala2, few_draws, spread):
    h = 1 - SWELL * torch.randn(500).abs()  # half of the model's draws are beyond them
    low, high = expected_band(h, spread)
    _, numbers = figures.rg_bands([swelling_run(ala2, spread, h)])
    rg = gyration_radius(ala2)
    assert numbers["rg_band_width"] == pytest.approx((high - low).mean() / rg, rel=0.1)  # the draws are few: 3 % at one standard error
    assert numbers["rg_mean_nm_reference"] == pytest.approx(rg * h.mean().item(), rel=1e-4)
    assert numbers["rg_mean_nm"] == pytest.approx(rg, rel=5 * math.hypot(spread / SMALL["DRAWS"] ** 0.5, SWELL / (SMALL["DRAWS"] * SMALL["FRAMES"]) ** 0.5))
    assert numbers["rg_mean_off_percent"] == pytest.approx(100 * abs(numbers["rg_mean_nm"] / numbers["rg_mean_nm_reference"] - 1), rel=1e-6)


def test_band_covers_as_many_held_out_bins_as_it_says(ala2, few_draws):
    # As many held-out frames as frames in each draw: bins are in the band with probability 0.9.
    own = [swelling_run(ala2, 0.0, 1 + SWELL * torch.randn(SMALL["FRAMES"]), seed=seed) for seed in range(12)]
    _, numbers = figures.rg_bands(own)
    assert 0.85 < numbers["rg_coverage"] < 0.97
    assert 0 < numbers["rg_coverage_error"] < 0.03
    _, numbers = figures.rg_bands([swelling_run(ala2, 0.0, 1.8 + SWELL * torch.randn(5000))])
    assert numbers["rg_coverage"] < 0.2  # empty bins at its ends at most
    assert numbers["rg_mean_off_percent"] == pytest.approx(100 * (1 - 1 / 1.8), abs=0.5)


def test_more_frames_narrow_the_band(ala2, few_draws):
    h = 1 + SWELL * torch.randn(500)
    runs = [swelling_run(ala2, 0.02, h, frames=20), swelling_run(ala2, 0.08, h, frames=5), swelling_run(ala2, 0.08, h, frames=5, seed=1)]
    figure, numbers = figures.rg_bands(runs)
    widths = {spread: np.subtract(*expected_band(h, spread)[::-1]).mean() / gyration_radius(ala2) for spread in (0.02, 0.08)}
    assert [numbers["rg_band_width_n5"], numbers["rg_band_width_n20"]] == pytest.approx([widths[0.08], widths[0.02]], rel=0.1)
    assert numbers["rg_band_narrowing_n20"] == numbers["rg_band_width_n20"] / numbers["rg_band_width_n5"]
    assert "rg_band_width_n5_error" in numbers and "rg_band_width_n20_error" not in numbers and "rg_band_narrowing_n5" not in numbers
    assert [axes.get_title() for axes in figure.axes] == ["5 training frames", "20 training frames"]


def test_bands_of_observables_are_those_of_their_names(ala2, hinge, few_draws):
    h = 1 + SWELL * torch.randn(SMALL["FRAMES"])
    run = swelling_run(ala2, 0.0, h)
    figure, numbers = figures.observable_bands([run])
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
    # ψ turned by 50°, that is by three bins: one bin that the model has and the frames lack, and one the other way round.
    start = mdtraj.Trajectory(r.reshape(1, -1, 3), ala2.topology)
    phi, psi = (math.degrees(compute(start)[1].item()) for compute in (mdtraj.compute_phi, mdtraj.compute_psi))
    turned = hinge(torch.tensor([[(psi - 150) / 50 + 1, (-60 - phi) / 20]]))
    _, numbers = figures.observable_bands([run._replace(data=Data(run.data.train, Batch.of(torch.cat([turned, 1.01 * turned]))))])
    assert [numbers["phi_coverage"], numbers["psi_coverage"]] == [1.0, 20 / 22]


def test_bands_need_a_molecule_with_a_posterior(ala2):
    for name in ("rg_bands", "observable_bands"):
        with pytest.raises(InputError) as refusal:
            check_figures([name], ala2)
        assert str(refusal.value) == f"figures: {name} is drawn of a posterior; choose posterior=laplace, or take it out of figures=[...]"
        check_figures([name], ala2, posterior=True)
        with pytest.raises(InputError, match=f"{name} is drawn of a Molecule.* the system is a DoubleWell"):
            check_figures([name], DoubleWell(), posterior=True)
    check_figures(["rg_histogram"], ala2)


BASINS = ("α", "β-1", "β-2")


def mapped(label: np.ndarray, z: np.ndarray, prior=None) -> Run:
    """A run whose held-out frames carry their own basin and collective variables: x = (label, z)."""
    system = SimpleNamespace(label=lambda x: x[:, 0].long(), basins=BASINS)
    x = torch.tensor(np.column_stack([label, z]), dtype=torch.float32)
    return run_of(system, x, cv=lambda x: x[:, 1:])._replace(prior=prior or Flat())


def three_basins(size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """40, 30 and 20 frames of the basins on lines 0.01 apart, three frames of β-2 just beyond α's; among them all, frames of no basin."""
    lines = [start + 0.01 * np.arange(n) for start, n in ((0, 40), (3, 30), (6, 20))]
    z1 = np.concatenate([*lines, [0.45] * 3, *lines, *lines])
    label = np.repeat([0, 1, 2, -1], [40, 30, 23, 180])
    return label, np.column_stack([z1, *[0.001 * z1**2] * (size - 1)])


@pytest.mark.parametrize("size", [1, 2])
def test_map_counts_neighbours_and_variance_of_frames_in_basins(size):
    label, z = three_basins(size)
    _, numbers = figures.latent_map([mapped(label, z)])
    assert numbers["latent_knn_accuracy"] == pytest.approx(90 / 93)  # the three have but each other and three of α near them, and no α has them near
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
    for z, least in ((corners @ [[c, s], [-s, c]], 0.3), (corners[:, :1], 2.0), (corners * [1, 0.5], 0.15), (corners @ [[1, 1], [0, 0]], 0.0)):
        _, numbers = figures.latent_map([mapped(label, z)])
        expected = {"latent_least_sd": least * unbiased, "latent_unused": float(least < 0.2), "test_frames_α": 5, "test_frames_β-1": 0, "test_frames_β-2": 0}
        assert numbers == pytest.approx(expected, abs=1e-3)


def test_rates_are_counted_for_each_prior():
    label, z = three_basins()
    z = z / z.std()
    figure, numbers = figures.latent_map([mapped(label, z, ARD()), mapped(label, 0.3 * z, Flat()), mapped(label, z, ARD()), mapped(label, 0.1 * z, ARD())])
    expected = {"latent_separate_ARD": 2 / 3, "latent_unused_ARD": 1 / 3, "latent_separate_ARD_error": 1 / 3, "latent_separate_Flat": 0.0, "latent_unused_Flat": 0.0}
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)
    assert numbers["latent_least_sd_Flat"] == pytest.approx(0.3, rel=0.01) and "latent_least_sd_Flat_error" not in numbers
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
        return run_of(SimpleNamespace(), torch.zeros(1, 3))._replace(model=Model(StandardNormal(2), decoder, None), prior=prior)

    figure, numbers = figures.precisions([run(2)])
    assert numbers == pytest.approx({"active_share": 11 / 20, "active_share_trunk_0": 2 / 8, "active_share_mean": 9 / 12})
    assert len(figure.axes) == panels
    _, numbers = figures.precisions([run(2), run(8)])
    assert numbers["active_share_trunk_0"] == pytest.approx(0.625) and numbers["active_share_trunk_0_error"] == pytest.approx(0.375)
    assert numbers["active_share_mean_error"] == 0


def test_gibbs_accepts_all_that_the_exact_encoder_proposes(linear, monkeypatch):
    monkeypatch.setattr(chains, "CHAINS", 8000)
    run = run_of(SimpleNamespace(), torch.zeros(1, 1))._replace(model=linear.model(), seed=3)
    _, numbers = figures.gibbs_acceptance([run])
    assert numbers["gibbs_acceptance"] == pytest.approx(1.0, abs=1e-5)
    # z1 is a Gaussian autoregression with r = (a² / (a² + σ²))^stride from frame to frame, and z1² one with r².
    square = (linear.a**2 / linear.variance) ** (2 * chains.STRIDE)
    frames = chains.FRAMES
    error = math.sqrt(2 / frames * (1 + 2 * sum((1 - lag / frames) * square**lag for lag in range(1, frames))) / 8000)
    assert numbers["gibbs_var_z1_error"] == pytest.approx(error, rel=0.06)
    assert numbers["gibbs_var_z1"] == pytest.approx(1.0, abs=5 * error) and numbers["gibbs_var_z1_exact"] == 1
    with torch.no_grad():
        run.model.encoder.mean.bias.add_(2 * linear.sigma / math.sqrt(linear.variance))
    _, numbers = figures.gibbs_acceptance([run])
    assert numbers["gibbs_acceptance"] == pytest.approx(math.erfc(1.0), abs=0.005)  # 2 Φ(-δ/√2) of a shift of δ = 2 standard deviations


def test_rg_of_several_numbers_of_variables(ala2, monkeypatch):
    monkeypatch.setattr(molecule, "DRAWS", 400)
    h = {"train": torch.tensor([0.8, 1.1, 1.2]), "test": torch.tensor([0.9, 1.5])}
    data = Data(*(Batch.of(values[:, None] * ala2.models[0]) for values in h.values()))
    every, rg = torch.cat(list(h.values())), gyration_radius(ala2)
    models = {5: (1.1, 0.1), 1: (1.1, 0.05), 2: (1.2, 0.2), 3: (1.0, 0.1), 4: (1.3, 0.1)}
    runs = [run_of(ala2)._replace(model=swelling(ala2, z, *known), data=data) for z, known in models.items()]
    _, numbers = figures.rg_histogram(runs)
    for z, (centre, swell) in models.items():
        assert numbers[f"rg_mean_nm_z{z}"] == pytest.approx(rg * centre, abs=5 * rg * swell / math.sqrt(4000))
        assert numbers[f"rg_sd_nm_z{z}"] == pytest.approx(rg * swell, rel=5 / math.sqrt(2 * 4000))
        assert numbers[f"rg_mean_nm_z{z}_reference"] == pytest.approx(rg * every.mean().item(), rel=1e-4)
        assert numbers[f"rg_sd_nm_z{z}_reference"] == pytest.approx(rg * every.std().item(), rel=1e-4)
    assert numbers["rg_mean_largest_difference_nm"] == pytest.approx(0.3 * rg, abs=0.02 * rg)
    assert len(numbers) == 4 * 5 + 1
    _, numbers = figures.rg_histogram(runs[:1] * 2)
    assert set(numbers) == {"rg_mean_nm", "rg_mean_nm_error", "rg_mean_nm_reference", "rg_sd_nm", "rg_sd_nm_error", "rg_sd_nm_reference"}


def test_mean_over_seeds_has_the_error_of_the_mean():
    numbers = mean_over_seeds([{"a": a, "a_reference": 4.0} for a in (1.0, 2.0, 6.0)], "_b")
    # Deviations -2, -1, 3 from 3: a variance of 14 / 2, of the mean 7 / 3
    assert numbers == {"a_b": 3.0, "a_b_error": pytest.approx(math.sqrt(7 / 3)), "a_b_reference": 4.0}
    assert mean_over_seeds([{"a": 1.0}]) == {"a": 1.0}
