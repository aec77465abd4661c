"""Figures of free energies of torsions, drawn of runs whose F and truth are known, without any training."""

import math
from types import SimpleNamespace

import pytest
import torch
from test_bins import Waves, torsion_run

from predcg import figures
from predcg.batch import Batch, Data
from predcg.benchmarks.visits import Visits
from predcg.densities import FreeEnergySplines
from predcg.errors import InputError
from predcg.figures import free_energy_speed
from predcg.files import write_json
from predcg.measures import bins
from predcg.objectives import FreeEnergyMatching, Sum

TRUTH = Waves(3.0)
# 30 steps a unit of n · KL: constant from the first mark on.
DYNAMICS = Visits(
    [1000, 2000, 4000],
    [30.0, 15.0, 7.5],
    [20.0, 10.0, 5.0],
    [125, 250, 500],
    torch.tensor([[240.0] * 4 + [260.0] * 4, [120.0] * 4 + [130.0] * 4, [60.0] * 4 + [65.0] * 4]),
    5e-6,
)


@pytest.fixture
def runs(ala2, tmp_path):
    """Two runs for the truth; a grid of two seeds at two budgets; one that has gone round three times."""

    def run(name, latent, n, **fields):
        folder = tmp_path / name.replace("/", "-")
        write_json(folder / "summary.json", {"wall_time_s": 10.0})
        return torsion_run(ala2, latent, name, n, folder=folder, **fields)

    truths = [
        run(f"ala2/free_energy_truth seed-{seed}", Waves(3.0, tilt=0.01 * (2 * seed - 1)), 10**6) for seed in (0, 1)
    ]
    grid = [
        run(f"ala2/free_energy{steps} seed-{seed}", Waves(height + 0.01 * seed), n)
        for steps, height, n in (("", 2.8, 2000), (" steps-9", 2.97, 9000))
        for seed in (0, 1)
    ]
    name = "ala2/free_energy_active seed-0"
    early = [run(name, Waves(height), n, number=k) for k, (height, n) in enumerate(((2.0, 500), (2.4, 1000)), 1)]
    for one in early[:1]:
        one.acquired.train.z.mul_(0.3)
    active = run(name, Waves(2.9, spread=2.0), 1500, number=3, planned=9, load=lambda round: early[round - 1])
    return SimpleNamespace(truths=truths, grid=grid, active=active._replace(folder=active.folder / "rounds/3"))


def test_maps_show_the_truth_and_three_rounds_with_doubt_and_what_was_asked(runs):
    picture, numbers = figures.free_energy_maps([*runs.truths, *runs.grid[:2], runs.active])
    titles = [axes.get_title() for axes in picture.axes[:5]]
    assert titles[0] == "the truth\n2,000,000 evaluations"
    assert titles[1].startswith("ala2/free_energy\n2,000 evaluations, KL 0.0")
    assert [title.split("\n")[0][-7:] for title in titles[2:]] == ["round 1", "round 2", "round 3"]
    shown = picture.axes[4].lines[0].get_xydata()
    assert shown == pytest.approx(runs.active.acquired.train.z.rad2deg().numpy(), abs=1e-4)
    # The doubt 2 |k| |cos φ| of the members k is 0.2 kT near φ = ±90 degrees.
    (contour,) = [one for one in picture.axes[4].collections if hasattr(one, "levels")]
    assert contour.get_paths()[0].vertices[:, 0] == pytest.approx(
        [math.copysign(90, at) for at in contour.get_paths()[0].vertices[:, 0]], abs=12
    )
    height = picture.axes[0].collections[0].get_array()
    assert height.max() == pytest.approx(12, abs=0.1) and height.min() == 0
    expected = bins.kl(bins.log_masses(TRUTH), bins.log_masses(Waves(2.805)))
    assert numbers["forward_kl_ala2/free_energy"] == pytest.approx(expected, rel=0.05)
    assert numbers["truth_evaluations"] == 2e6 and 0 < numbers["truth_kl"] < 1e-3
    assert "p_phi_positive_off_ala2/free_energy_active" in numbers


def test_a_map_of_one_run_needs_no_truth(runs):
    picture, numbers = figures.free_energy_maps([runs.grid[0]])
    assert numbers.keys() == {"predicted_kl", "evaluations", "p_phi_positive"}
    assert picture.axes[0].get_xlabel() == "φ (degrees)" and picture.axes[0].get_ylabel() == "ψ (degrees)"
    everywhere = [runs.grid[0]._replace(number=k, load=lambda round: everywhere[round - 1]) for k in (1, 2, 3)]
    picture, _ = figures.free_energy_maps(everywhere[2:])
    assert [axes.get_title().split("\n")[0] for axes in picture.axes[:2]] == ["ala2/free_energy", "standard error of F"]
    line = FreeEnergySplines(1, [-3.0], [3.0], [8])
    one = runs.grid[0]._replace(model=SimpleNamespace(latent=line, encoder=None))
    with pytest.raises(InputError, match="drawn of two collective variables; found z = 1; leave it out"):
        figures.free_energy_maps([one])


def test_budgets_tell_rates_beside_dynamics(runs, monkeypatch):
    monkeypatch.setattr(free_energy_speed, "visits", lambda *_: DYNAMICS)
    picture, numbers = figures.free_energy_budgets([*runs.truths, *runs.grid, runs.active])
    lines = {line.get_label(): line.get_xydata() for line in picture.axes[0].lines}
    assert lines["ala2/free_energy"][:, 0].tolist() == [2000, 9000]
    assert lines["ala2/free_energy_active"][:, 0].tolist() == [500, 1000, 1500]
    found = [bins.errors(run, bins.log_truth(run, runs.truths)) for run in runs.grid]
    mean = sum(one["forward_kl"] for one in found[2:]) / 2
    assert lines["ala2/free_energy"][1, 1] == pytest.approx(mean)
    assert numbers["forward_kl_ala2/free_energy steps-9"] == pytest.approx(mean)
    rate = sum(one["forward_kl"] < 1e-3 for one in found[:2]) / 2
    assert numbers["success_rate_ala2/free_energy"] == rate < 1
    assert numbers["success_rate_ala2/free_energy steps-9"] == numbers["found_rate_ala2/free_energy steps-9"] == 1
    assert numbers["ended_by_itself_ala2/free_energy_active"] == 1 and numbers["md_constant"] == 30_000
    assert numbers["wall_time_s_ala2/free_energy_active"] == 10
    assert lines["molecular dynamics"][-1].tolist() == [4000, 7.5]


def test_the_speed_up_is_the_constant_over_divergence_and_evaluations(runs, monkeypatch):
    monkeypatch.setattr(free_energy_speed, "visits", lambda *_: DYNAMICS)
    monkeypatch.setattr(free_energy_speed, "seconds_per_evaluation", lambda *_: 50e-6)
    picture, numbers = figures.free_energy_speed_up([*runs.truths, *runs.grid])
    for name, n in (("ala2/free_energy", 2000), ("ala2/free_energy steps-9", 9000)):
        equal = 30_000 / numbers[f"forward_kl_{name}"]
        assert numbers[f"speed_up_{name}"] == pytest.approx(equal / n)
        assert numbers[f"speed_up_time_{name}"] == pytest.approx(equal * 5 / (50 * n))
        assert numbers[f"speed_up_wall_{name}"] == pytest.approx(equal * 5e-6 / 10)
    assert numbers["speed_up_measured"] == 4000 / 2000 and numbers["md_constant_change"] == 1
    assert numbers["md_constant_reverse"] == 20_000
    assert numbers["md_constant_error"] == pytest.approx(500 * 2.5 * (8 / 7) ** 0.5 / 8**0.5)
    texts = [text.get_text() for text in picture.axes[1].texts]
    assert f"{numbers['speed_up_ala2/free_energy']:,.0f}" in texts and "216" in texts


def test_estimators_are_judged_by_the_truth(runs, monkeypatch):
    """Of log-normal weights least squares is off by half of their variance, here 2 cos² ψ, where means are not."""
    objective = FreeEnergyMatching()
    torch.manual_seed(0)
    z = (2 * torch.rand(60_000, 2) - 1) * math.pi
    spread = z[:, 1].cos().abs() * 2
    log_w = -TRUTH.potential(z) + spread * torch.randn(len(z)) - spread**2 / 2
    objective.record(z=z, log_w=log_w, batches=torch.arange(len(z)).int() // 256)
    latent = FreeEnergySplines(2, [-math.pi] * 2, [math.pi] * 2, [12, 12], [True, True])
    model = SimpleNamespace(latent=latent, encoder=runs.grid[0].model.encoder)
    one = runs.grid[0]._replace(model=model, recall=lambda: Sum({"free_energy": objective}, {"free_energy": 1.0}))
    picture, numbers = figures.estimators([*runs.truths, one])
    assert numbers["kl_gamma"] < 3e-2 < 0.1 < numbers["kl_log_least_squares"]
    assert numbers["gain_log_least_squares"] == numbers["kl_log_least_squares"] / numbers["kl_gamma"]
    maps = [axes for axes in picture.axes[2:6]]
    assert [axes.get_title() for axes in maps] == ["mean in bins", "least squares", "gamma", "gamma, weighted"]
    psi = torch.linspace(-math.pi, math.pi, 101)[:-1] + math.pi / 100
    column = (
        maps[1].collections[0].get_array()[:, 65].data
    )  # φ near 1, where F is low: half of the variance and a constant
    expected = 2 * psi.cos().square().numpy()
    assert column - column.mean() == pytest.approx(expected - expected.mean(), abs=0.35)
    with pytest.raises(InputError, match="estimators are drawn of the weights that objective=conditional has recorded"):
        figures.estimators([*runs.truths, one._replace(recall=lambda: torch.nn.Identity())])


def test_predicted_divergences_are_compared_with_true_ones(runs):
    picture, numbers = figures.predicted_divergence([*runs.truths, *runs.grid])
    log_p = bins.log_truth(runs.grid[0], runs.truths)
    told = [bins.errors(run, log_p) for run in runs.grid]
    ratios = [one["predicted_kl"] / one["forward_kl"] for one in told]
    assert numbers["ratio"] == pytest.approx(math.prod(ratios) ** 0.25)
    assert [numbers["ratio_least"], numbers["ratio_most"]] == pytest.approx([min(ratios), max(ratios)])
    pairs = [(ratios[0] * ratios[1]) ** 0.5, (ratios[2] * ratios[3]) ** 0.5]
    assert [numbers["budget_ratio_least"], numbers["budget_ratio_most"]] == pytest.approx(sorted(pairs))
    assert numbers["ratio_ala2/free_energy steps-9"] == pytest.approx(pairs[1])
    assert numbers["within_factor_2"] == sum(0.5 <= ratio <= 2 for ratio in ratios) / 4
    drawn = picture.axes[0].lines[0].get_xydata()
    assert drawn == pytest.approx(torch.tensor([[one["forward_kl"], one["predicted_kl"]] for one in told]).numpy())


def test_a_simulation_is_drawn_beside_what_it_was_judged_by(runs, ala2, hinge, tmp_path, monkeypatch):
    """Every E[w|z] / w is 2, but in one basin, where it is 1/2."""
    x = hinge(torch.randn(600, 2))
    Batch.of(x, ala2(x)).save(tmp_path / "simulation/frames.npz")
    write_json(tmp_path / "summary.json", {"energy_evaluations": 99})
    reference = torsion_run(ala2, name="ala2/replica_exchange seed-0", evaluations=0)._replace(
        folder=tmp_path, history=[], data=Data(Batch.of(x), Batch.of(x))
    )
    label = ala2.label(x)
    ratio = torch.where(label == 2, 0.5, 2.0).double().log()
    monkeypatch.setattr("predcg.measures.generator.log_ratios", lambda *_: ratio)
    picture, numbers = figures.two_sided([*runs.truths, reference])
    share = (label == 2).double().mean().item()
    assert numbers["two_sided"] == pytest.approx(2 - 1.5 * share) and numbers["frames"] == 600
    assert numbers["two_sided_β-2"] == pytest.approx(0.5)
    assert numbers["largest_log_weight"] == pytest.approx(math.log(2)) and numbers["outside_percent"] == 0
    assert numbers["evaluations_reference"] == 99 and "frames_error" not in numbers
    labels = [text.get_text().split("\n")[0] for text in picture.axes[1].get_xticklabels()]
    assert labels[0] == "all frames" and "β-2" in labels


def test_the_whole_model_is_drawn_against_evaluations(runs, monkeypatch):
    told = {"ess": 0.5, "elbo_gap": 0.1, "eubo_gap": 0.2}
    told |= {f"tv_100{kind}": 0.1 for kind in ("", "_model", "_floor", "_of_f")}
    seen = []

    def of_all(model, system, truth, draws):
        seen.append((model, sorted(truth), draws))
        return None, dict(told)

    monkeypatch.setattr("predcg.figures.generator.of_all", of_all)
    picture, numbers = figures.full_space([*runs.truths, *runs.grid], draws=50)
    assert len(seen) == 4 and all(there[1:] == ([64, 100], 50) for there in seen)
    assert numbers["ess_ala2/free_energy steps-9"] == 0.5
    assert [numbers[f"evaluations_ala2/free_energy{steps}"] for steps in ("", " steps-9")] == [2000, 9000]
    assert picture.axes[0].lines[0].get_xdata().tolist() == [2000, 2000, 9000, 9000]
