"""Measures and figures of planar systems, on models whose answer is known."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from conftest import run_of
from scipy.integrate import quad
from scipy.stats import norm

from predcg import figures
from predcg.densities import FreeScale, GaussianMLP, StandardNormal
from predcg.errors import InputError
from predcg.measures import evolution, exact
from predcg.model import Model
from predcg.parts import check_figures
from predcg.results import Run
from predcg.systems import DoubleWell, Harmonic


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
    torch.save(content, folder / f"snapshots/step-{step}.pt")


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


def test_a_lost_well_has_a_valley_that_is_finite(tmp_path):
    kept(tmp_path, 1, 1.0, c1=-3.0, a=0.1, s=0.1, s2=1.0)
    _, numbers = figures.histograms([straight_run(tmp_path)], draws=200)
    assert numbers["p_right_last"] == numbers["valley_last"] == 0


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
        torch.save(content, tmp_path / f"snapshots/step-{step}.pt")
    system = Harmonic([math.sqrt(linear.variance)])
    figure, numbers = figures.gradient_noise([run_of(system)._replace(model=model, folder=tmp_path)], blocks=2)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [2, 4, 6, 8, 10, 12]
    # f is constant.
    assert numbers["noise_path_over_reparametrised"] < 1e-5 and numbers["noise_baseline_over_reparametrised"] < 1e-5
    assert numbers["noise_score_over_reparametrised"] == pytest.approx(abs(system.exact()["log_z"]), rel=1e-4)


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
