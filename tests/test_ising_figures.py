"""The numbers of the figures of spins, on models and data whose answer is known."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from predcg import figures
from predcg.batch import Batch, Data
from predcg.densities import Majority, MajorityBlocks, SpinBlocks, SpinChain, log_evidence
from predcg.errors import InputError
from predcg.measures.ising import what_varies
from predcg.model import Model
from predcg.objectives import ExactEM
from predcg.parts import check_figures
from predcg.posteriors import CompleteData, Joint, ObservedData
from predcg.priors import Flat, Gaussian, StudentT
from predcg.results import Run
from predcg.systems import DoubleWell, IsingChain
from predcg.training import Newton


def run_of(
    field=0.9,
    theta=2.0,
    agreement=0.8,
    frames=20,
    seed=0,
    coarse=4,
    summed=False,
    posterior=None,
    decoder=None,
    prior=None,
    **latent,
) -> Run:
    """A run on a ring of eight, with these parameters."""
    system = IsingChain(8, 1.0, 1, 1.0, field, 0.3)
    chain = SpinChain(coarse, **{"reach": 1, "linear": False, "triple": False, "field": field, "beta": 0.3} | latent)
    with torch.no_grad():
        chain.energy.weight.copy_(torch.as_tensor(theta, dtype=torch.float32).view(1, -1).expand(1, len(chain.names)))
    model = Model(chain, decoder or SpinBlocks(coarse, 8, agreement), Majority(8, coarse))
    torch.manual_seed(seed)
    batch = Batch.of(system.sample(frames))
    history = [
        {
            "step": step,
            **({"train/log_evidence": -1.0} if summed else {}),
            **{f"train/theta_{name}": 1.0 for name in chain.names},
        }
        for step in (0, 5)
    ]
    prior = prior or Flat()
    weights = posterior()(model, prior, batch) if posterior else None
    folder = Path(f"{field}/{frames}/{coarse}/{seed}/{latent}")
    return Run("name", folder, system, model, prior, weights, Data(batch, batch), history, seed, 5)


def learn(model: Model, batch: Batch, prior) -> None:
    stand_in = SimpleNamespace(model=model, prior=prior)
    for _ in range(40):
        model.zero_grad()
        (ExactEM()(model, None, batch).loss - prior(model.latent, model.decoder)).backward()
        Newton().on_before_optimizer_step(None, stand_in, None)
        with torch.no_grad():
            for parameter in (model.latent.energy.weight, model.decoder.logit):
                parameter -= parameter.grad


def test_parameters_over_the_field_are_compared_pair_by_pair():
    def theta(field, seed, summed):
        noise = {0: 0.1, 1: -0.1, 2: 0.3}[seed]
        return abs(field) + 10 * noise + (0.0 if summed else noise / 10)

    runs = [
        run_of(field, theta(field, seed, summed), 0.6 + 0.1 * abs(field) + 1e-4 * seed, seed=seed, summed=summed)
        for field in (-2.0, -1.0, 1.0, 2.0)
        for seed in (0, 1, 2)
        for summed in (False, True)
    ]
    _, numbers = figures.spin_parameters(runs)
    assert numbers["theta_1_1"] == pytest.approx(1 + 1.01, abs=1e-5) and numbers["theta_1_2"] == pytest.approx(
        2 + 1.01, abs=1e-5
    )
    noises = np.array([0.01, -0.01, 0.03] * 2)
    assert numbers["theta_1_sampled_z"] == pytest.approx(noises.mean() / (noises.std(ddof=1) / 6**0.5), rel=1e-3)
    assert numbers["theta_1_symmetry_z"] == pytest.approx(0.0, abs=1e-4)
    assert numbers["theta_1_rising"] == numbers["agreement_rising"] == 1.0
    assert numbers["agreement_1"] == pytest.approx(0.7001, abs=1e-5) and math.isnan(numbers["agreement_sampled_z"])


def test_magnetisation_is_told_by_method():
    fields = (-0.9, 0.9)
    runs = [run_of(field) for field in fields] + [run_of(field, decoder=MajorityBlocks(4, 8)) for field in fields]
    _, numbers = figures.spin_magnetisation(runs)
    exact = runs[1].system.magnetisation()
    drawn = {
        name: run.model.generate(200_000).mean().item()
        for name, run in (("[010]", runs[1]), ("relative_entropy", runs[3]))
    }
    for name, value in drawn.items():
        assert numbers[f"mean_ratio_{name}"] == pytest.approx(value / exact, abs=0.01)
        assert numbers[f"deviation_{name}"] == pytest.approx(abs(value - exact), abs=0.005)
    assert {type(number) for number in numbers.values()} == {float}


def test_correlations_and_errors_are_those_of_drawn_configurations():
    runs = [
        run_of(field, frames=frames, theta=theta, seed=seed)
        for field in (0.0, 0.9)
        for frames, theta in ((10, 1.0), (40, 2.0))
        for seed in (0, 1)
    ]
    _, numbers = figures.spin_errors(runs)
    exact = runs[0].system.correlations().numpy()
    x = next(run for run in runs if run.system.field == 0 and len(run.data.train.x) == 40).model.generate(400_000)
    found = np.array([(x * x.roll(-lag, -1)).mean().item() for lag in (1, 2, 3, 4)])
    off = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert numbers["correlation_off_0040_frames"] == pytest.approx(off, abs=0.02) and numbers[
        "correlation_off_0040_frames_error"
    ] == pytest.approx(0, abs=1e-9)
    slope = np.log(numbers["correlation_off_0040_frames"] / numbers["correlation_off_0010_frames"]) / np.log(4)
    assert numbers["correlation_off_slope"] == pytest.approx(slope, abs=1e-6)
    _, at_zero = figures.spin_correlations([run for run in runs if not run.system.field])
    assert at_zero["correlation_off_0010_frames"] == pytest.approx(numbers["correlation_off_0010_frames"])


def test_bands_cover_what_they_are_about():
    """Of the model that made the data the bands cover; of one far off, none."""
    grid = (0.0, 0.9, 1.5)
    near = [run_of(field, frames=60, linear=True) for field in grid]
    for index, run in enumerate(near):
        learn(run.model, run.data.train, run.prior)
        near[index] = run._replace(posterior=ObservedData()(run.model, run.prior, run.data.train))
    far = [run_of(field, theta=-3.0, agreement=0.6, frames=2000, posterior=CompleteData) for field in grid]
    with pytest.raises(InputError, match="drawn of a posterior"):
        check_figures(["spin_bands"], near[0].system, {"training"})
    _, numbers = figures.spin_bands(near + far)
    assert numbers["magnetisation_coverage_0060_frames"] == 1.0 and numbers["correlation_coverage_0060_frames"] >= 0.75
    assert numbers["magnetisation_coverage_2000_frames"] == 0.0
    assert numbers["band_width_2000_frames"] < numbers["band_width_0060_frames"]
    assert {type(number) for number in numbers.values()} == {float}


@pytest.mark.parametrize(
    ("change", "name"), [({"frames": 40}, "0040_frames"), ({"coarse": 2}, "blocks_of_04"), ({"linear": True}, "[110]")]
)
def test_groups_are_named_by_what_varies(change, name):
    runs = [run_of(), run_of(**change)]
    assert [what_varies(runs)(run) for run in runs][1] == name


def test_a_path_says_what_the_sparse_prior_leaves():
    terms = {"linear": True, "triple": True, "frames": 50, "posterior": ObservedData}
    flat = run_of(theta=[0.5, 2.0, 0.1], prior=Flat(), **terms)
    sparse = [
        run_of(theta=theta, seed=seed, prior=StudentT(weight=0.02), **terms)
        for seed, theta in enumerate(([0.6, 2.0, 0.0], [0.001, 2.0, 0.4]))
    ]
    _, numbers = figures.coupling_path([flat, *sparse])
    assert (numbers["kept_lin"], numbers["kept_1"], numbers["kept_3rd"], numbers["kept_one_odd"]) == (
        0.5,
        1.0,
        0.5,
        1.0,
    )
    deviation = (flat.posterior.spread["joint"] @ flat.posterior.spread["joint"].T)[1, 1].sqrt().item()
    assert numbers["flat_z_1"] == pytest.approx(2.0 / deviation) and numbers["flat_lin"] == pytest.approx(0.5)


def test_a_fit_is_told_with_errors_and_beside_the_exact_answers():
    run = run_of(0.9, theta=2.0, agreement=0.8, posterior=CompleteData)
    _, numbers = figures.spin_fit([run])
    assert numbers["theta_1"] == 2.0 and numbers["agreement"] == pytest.approx(0.8)
    # Of 160 spins that agree or not.
    assert numbers["agreement_error"] == pytest.approx((0.8 * 0.2 / (20 * 8)) ** 0.5, rel=1e-5)
    assert numbers["theta_1_error"] == pytest.approx(
        (20 * run.model.latent.information()["energy.weight"].item()) ** -0.5, rel=1e-5
    )
    x = run.model.generate(400_000)
    assert numbers["magnetisation"] == pytest.approx(x.mean().item(), abs=0.005)
    assert numbers["correlation_3"] == pytest.approx((x * x.roll(-3, -1)).mean().item(), abs=0.01)
    assert numbers["magnetisation_exact"] == run.system.exact()["magnetisation"]
    _, bare = figures.spin_fit([run_of(0.9, decoder=MajorityBlocks(4, 8))])
    assert "agreement" not in bare and "theta_1_error" not in bare


def test_figures_of_spins_are_drawn_of_spins_only():
    with pytest.raises(InputError, match="spin_correlations is drawn of an IsingChain; the system is a DoubleWell"):
        check_figures(["spin_correlations"], DoubleWell(), set())


@pytest.mark.parametrize(
    "name", ["spin_parameters", "spin_magnetisation", "spin_errors", "spin_bands", "spin_correlations"]
)
def test_an_empty_grid_of_fields_is_refused(name):
    with pytest.raises(InputError, match="grid of fields|at μ = 0|every field of a grid"):
        getattr(figures, name)([])


@pytest.mark.parametrize(
    ("field", "message"),
    [(0.0, "expected runs at a grid of fields μ; found none but μ = 0"), (0.9, "expected runs at μ = 0")],
)
def test_errors_need_a_grid_and_its_centre(field, message):
    with pytest.raises(InputError, match=message):
        figures.spin_errors([run_of(field)])


def test_speed_is_told_for_every_length(capsys):
    _, numbers = figures.ising_speed([], sites=[8, 16], spins=256)
    assert set(numbers) == {
        "updates_per_s_1_thread",
        "updates_per_s_2_threads",
        "updates_per_s_loop",
        "ratio_to_loop",
        "exponent_gibbs",
        "exponent_em",
        "exponent_em_exact",
    }
    assert "site after site in NumPy" in capsys.readouterr().out


# Posteriors of spins


def fitted(frames=400, prior=None):
    """A model at the maximum of its posterior, and the frames."""
    torch.manual_seed(4)
    system = IsingChain(8, 1.0, 1, 1.0, 0.9, 0.3)
    model = Model(SpinChain(4, 1, False, False, 0.9, 0.3), SpinBlocks(4, 8, 0.75), Majority(8, 4))
    batch = Batch.of(system.sample(frames))
    learn(model, batch, prior or Flat())
    return model, batch


def covariance(weights: Joint) -> torch.Tensor:
    return weights.spread["joint"] @ weights.spread["joint"].T


def test_the_observed_curvature_is_that_of_the_likelihood():
    """Against the likelihood on a grid of finite differences, summed over all coarse states."""
    model, batch = fitted(100)

    def log_likelihood(shift):
        model.latent.energy.weight.data += shift[0]
        model.decoder.logit.data += shift[1]
        with torch.no_grad():
            value = log_evidence(model.latent.double(), model.decoder.double(), batch.x.double()).sum().item()
        model.latent.energy.weight.data -= shift[0]
        model.decoder.logit.data -= shift[1]
        return value

    step, units = 1e-3, np.eye(2)
    hessian = np.array(
        [
            [
                sum(a * b * log_likelihood(step * (a * units[i] + b * units[j])) for a in (1, -1) for b in (1, -1))
                / (4 * step**2)
                for j in range(2)
            ]
            for i in range(2)
        ]
    )
    found = covariance(ObservedData()(model, Flat(), batch)).numpy()
    assert found == pytest.approx(np.linalg.inv(-hessian), rel=1e-3)
    complete = covariance(CompleteData()(model, Flat(), batch))
    theta = model.decoder.agreement.item()
    assert complete[1, 1].item() == pytest.approx(1 / (100 * 8 * theta * (1 - theta)), rel=1e-5) and complete[0, 1] == 0
    assert complete[0, 0] < found[0, 0] and complete[1, 1] < found[1, 1]  # as if more were seen


@pytest.mark.parametrize("kind", [CompleteData, ObservedData])
def test_weights_of_frames_count_like_copies(kind):
    """Up to how many frames there are: Kish's number (Σ w)² / Σ w² under weights; and a prior is as strong as one of so
    many frames.
    """
    model, batch = fitted(60)
    w = torch.tensor([5.0] * 20 + [1.0] * 40)
    copies, kish = Batch.of(torch.cat([batch.x[:20].repeat(5, 1), batch.x[20:]])), (100 + 40) ** 2 / (20 * 25 + 40)
    one, other = (covariance(kind()(model, Flat(), frames)).inverse() for frames in (Batch(batch.x, w), copies))
    assert torch.allclose(one / kish, other / 140, rtol=1e-6)
    held = covariance(kind()(model, Gaussian(weight=1 / kish, tau=30.0), Batch(batch.x, w))).inverse()
    assert torch.allclose(held - one, torch.diag(torch.tensor([30.0, 0.0], dtype=torch.float64)), rtol=1e-6, atol=1e-5)
    if kind is ObservedData:
        even = covariance(kind()(model, Flat(), batch)).inverse()
        assert not torch.allclose(one / kish, even / 60, rtol=1e-3)  # without the weights it would be another curvature


def test_a_prior_narrows_the_posterior_and_weights_are_kept(tmp_path):
    prior = Gaussian(tau=30.0)
    prior.fit(400)
    model, batch = fitted(prior=prior)
    free, held = (covariance(ObservedData()(model, one, batch)) for one in (Flat(), prior))
    assert torch.allclose(
        held.inverse() - free.inverse(),
        torch.diag(torch.tensor([30.0, 0.0], dtype=torch.float64)),
        rtol=1e-6,
        atol=1e-5,
    )
    weights = ObservedData()(model, prior, batch)
    weights.save(tmp_path / "posterior.npz")
    assert torch.equal(Joint.load(tmp_path / "posterior.npz").spread["joint"], weights.spread["joint"])


def test_draws_have_the_covariance_and_leave_the_model_alone():
    model, batch = fitted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = ObservedData()(model, Flat(), batch)
    drawn = torch.stack(
        [
            torch.cat([m.latent.energy.weight[0], m.decoder.logit.view(1)]).detach().clone()
            for m in weights.models(model, 4000)
        ]
    ).double()
    assert torch.allclose(drawn.T.cov(), covariance(weights), rtol=0.15, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    x = next(weights.predict(model, draws=1, frames=50))
    assert x.shape == (50, 8) and set(x.unique().tolist()) <= {-1.0, 1.0}


def test_a_direction_that_the_data_leave_open_has_a_bounded_width():
    model, _ = fitted(20)
    with torch.no_grad():
        model.decoder.logit.fill_(30.0)
    assert covariance(ObservedData()(model, Flat(), Batch.of(torch.ones(20, 8)))).isfinite().all()
