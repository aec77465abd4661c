"""The numbers of figures, on models whose answer is known."""

import math
from functools import partial
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch
from conftest import CA, C, N, run_of
from scipy.stats import norm

from predcg import figures
from predcg.batch import Batch, Data
from predcg.densities import FreeScale, GaussianMLP, StandardNormal, TrunkScale
from predcg.errors import InputError
from predcg.measures.molecule import covered
from predcg.measures.networks import layers
from predcg.measures.runs import mean_over_seeds
from predcg.measures.structures import methyl_hydrogens, posed
from predcg.model import Model
from predcg.observables.observable import atoms
from predcg.parts import check_figures
from predcg.posteriors import WeightPosterior
from predcg.priors import ARD, Flat
from predcg.results import Run
from predcg.systems import DoubleWell
from predcg.transforms import Chain, RigidFrame, Unit

METHYL = [0, 2, 3, 11, 12, 13, 19, 20, 21]


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


def test_the_error_of_one_run_is_not_that_of_several():
    one = {"a": 1.0, "a_error": 0.2, "a_exact": 4.0}
    assert mean_over_seeds([one], "_b") == {"a_b": 1.0, "a_b_error": 0.2, "a_b_exact": 4.0}
    assert mean_over_seeds([one, one | {"a": 3.0}], "_b") == {"a_b": 2.0, "a_b_error": 1.0, "a_b_exact": 4.0}


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
