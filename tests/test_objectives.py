"""Objectives and importance weights, against the exact answers of a linear-Gaussian model."""

import math

import pytest
import torch

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.importance import Weighted, draw, log_z_bounds
from predcg.model import Model
from predcg.objectives import ForwardKL, Mixed, ReverseKL
from predcg.systems import Harmonic


def system_of(linear):
    """The harmonic system whose density is exactly the model's marginal."""
    return Harmonic([math.sqrt(linear.variance)])


@pytest.fixture(params=["forward", "reverse", "mixed"])
def objective(request):
    return {
        "forward": ForwardKL(samples=4),
        "reverse": ReverseKL(samples=4000),
        "mixed": Mixed(0.3, ForwardKL(samples=4), ReverseKL(samples=4000)),
    }[request.param]


def test_is_minus_the_exact_log_evidence_where_model_and_posterior_are_exact(objective, linear):
    """With the true posterior as encoder both bounds are tight: forward -E log p(x), reverse -log Z."""
    system, batch = system_of(linear), Batch.of(system_of(linear).sample(20_000))
    forward = -linear.log_prob(batch.x).mean().item()
    reverse = -system.exact()["log_z"]
    expected = {ForwardKL: forward, ReverseKL: reverse, Mixed: 0.3 * forward + 0.7 * reverse}[type(objective)]
    assert objective(linear.model(), system, batch).loss.item() == pytest.approx(expected, abs=1e-4)


def test_gradient_vanishes_at_the_optimum_and_points_downhill_elsewhere(objective, linear):
    system, batch, model = system_of(linear), Batch.of(system_of(linear).sample(50_000)), linear.model()
    slope = model.decoder.mean.weight

    def gradient():
        (value,) = torch.autograd.grad(objective(model, system, batch).loss, slope)
        return value.item()

    assert abs(gradient()) < 0.05
    with torch.no_grad():
        slope.add_(0.5)
    assert gradient() > 0.1


def test_weights_of_the_batch_act_as_repetition(linear):
    model, system = linear.model(), system_of(linear)
    x = torch.tensor([[0.5], [-1.0]])
    weighted = Batch(x, torch.tensor([3.0, 1.0]))
    repeated = Batch.of(torch.tensor([[0.5], [0.5], [0.5], [-1.0]]))
    assert ForwardKL()(model, system, weighted).loss.item() == pytest.approx(ForwardKL()(model, system, repeated).loss.item(), abs=1e-5)


def test_beta_scales_the_energy(linear):
    model, system = linear.model(), system_of(linear)
    objective = Mixed(0.0, ForwardKL(), ReverseKL(200_000))
    losses = {}
    for beta in (0.2, 1.0):
        objective.temper(beta)
        torch.manual_seed(3)
        losses[beta] = objective(model, system, Batch.of(torch.zeros(0, 1))).loss.item()
    assert losses[1.0] - losses[0.2] == pytest.approx(0.8 * 0.5, abs=0.01)  # mean energy of a harmonic coordinate: ½ kT


def test_mixed_needs_no_data_at_zero_and_no_energy_at_one(linear):
    model, system = linear.model(), system_of(linear)
    nothing = Batch.of(torch.zeros(0, 1))
    assert torch.isfinite(Mixed(0.0, ForwardKL(), ReverseKL()).forward(model, system, nothing).loss)
    before = int(system.evaluations)
    Mixed(1.0, ForwardKL(), ReverseKL())(model, system, Batch.of(system.sample(3)))
    assert int(system.evaluations) == before
    with pytest.raises(InputError, match="there are none"):
        ForwardKL()(model, system, nothing)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_outside_the_unit_interval_is_refused(alpha):
    with pytest.raises(InputError, match=r"alpha: expected a number in \[0, 1\]"):
        Mixed(alpha, ForwardKL(), ReverseKL())


def wrong(linear) -> Model:
    """The exact model with an encoder that is too wide and off."""
    model = linear.model()
    with torch.no_grad():
        model.encoder.mean.weight.mul_(0.8)
        model.encoder.scale.log_variance.add_(0.5)
    return model


def test_estimates_of_log_prob_bracket_the_exact_one(linear):
    model, n = wrong(linear), 100_000
    z = model.latent().sample((n,))
    x = model.decoder(z).sample()
    exact = linear.log_prob(x)
    below, above = model.log_prob(x, 2) - exact, model.log_prob(x, 2, z) - exact
    assert below.mean() < -3 * below.std() / math.sqrt(n)
    assert above.mean() > 3 * above.std() / math.sqrt(n)
    inverse = (-above).exp()  # E[p(x) / estimate] = 1, for two draws as for many
    assert inverse.mean().item() == pytest.approx(1, abs=4 * inverse.std().item() / math.sqrt(n))


def test_bounds_bracket_log_z(linear):
    system = Harmonic([2.0])
    bounds = log_z_bounds(wrong(linear), system, system.sample(50_000), 50_000, samples=4)
    exact = system.exact()["log_z"]
    assert bounds["log_z_lower"] < exact - 0.01 and bounds["log_z_upper"] > exact + 0.01


def test_importance_weights_recover_the_systems_averages_and_log_z(linear):
    system = Harmonic([1.2])
    weighted = draw(wrong(linear), system, 200_000, samples=4)
    mean, error = weighted.mean(weighted.x[:, 0] ** 2)
    assert mean == pytest.approx(1.44, abs=5 * error) and error < 0.02
    log_z, error = weighted.log_z
    assert log_z == pytest.approx(system.exact()["log_z"], abs=5 * error) and error < 0.01
    assert 0.3 < weighted.effective_sample_size < 1


def test_effective_sample_size_of_equal_and_of_one_weight():
    assert Weighted(torch.zeros(8, 1), torch.full((8,), -3.0)).effective_sample_size == pytest.approx(1)
    assert Weighted(torch.zeros(8, 1), torch.tensor([0.0] + [-1e4] * 7)).effective_sample_size == pytest.approx(1 / 8)
