"""Priors: one contract for all, and closed forms."""

import pytest
import torch

from predcg.errors import InputError
from predcg.priors import ARD, Flat, Gaussian, StudentT


@pytest.fixture
def decoder():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()


def weights(decoder):
    return torch.cat([theta.flatten() for theta in decoder.parameters() if theta.ndim == 2])


@pytest.mark.parametrize("kind", [Gaussian, ARD, StudentT])
def test_weight_multiplies_and_biases_do_not_enter(kind, decoder):
    value = kind(weight=1.0)(decoder)
    assert value.shape == () and kind(weight=0.25)(decoder).item() == pytest.approx(0.25 * value.item())
    with torch.no_grad():
        decoder[0].bias.add_(7.0)
    assert kind(weight=1.0)(decoder).item() == value.item()


@pytest.mark.parametrize("kind", [Gaussian, ARD, StudentT])
def test_smaller_weights_are_more_probable(kind, decoder):
    before = kind(weight=1.0)(decoder)
    with torch.no_grad():
        for theta in decoder.parameters():
            theta.mul_(0.1)
    assert kind(weight=1.0)(decoder) > before


@pytest.mark.parametrize("kind", [Gaussian, ARD, StudentT])
def test_negative_weights_are_refused(kind):
    with pytest.raises(InputError, match="weight: expected a number >= 0"):
        kind(weight=-1.0)


@pytest.mark.parametrize("kind", [Gaussian, ARD, StudentT])
def test_a_weight_left_open_is_one_over_the_frames(kind, decoder):
    prior, stated = kind(), kind(weight=0.5)
    with pytest.raises(InputError, match="there are none; give a number"):
        prior.fit(0)
    for one in (prior, stated):
        one.fit(50)
    assert (prior.weight, stated.weight) == (1 / 50, 0.5)
    assert prior(decoder).item() == pytest.approx(kind(weight=1.0)(decoder).item() / 50)


def test_flat_is_zero_whatever_the_weights(decoder):
    assert Flat()(decoder).item() == 0


def test_gaussian_is_the_log_density_of_the_weights(decoder):
    theta = weights(decoder)
    expected = (
        torch.distributions.Normal(0, 0.5).log_prob(theta).sum()
        - torch.distributions.Normal(0, 0.5).log_prob(torch.zeros_like(theta)).sum()
    )
    assert Gaussian(weight=1.0, tau=4.0)(decoder).item() == pytest.approx(expected.item())


def test_ard_expectation_is_the_posterior_mean_of_the_precision():
    """⟨τ⟩ under Gamma(τ; a0, b0) N(θ; 0, 1/τ), by quadrature over τ."""
    a0, b0, theta = 2.0, 0.5, 0.7
    tau = torch.linspace(1e-4, 60, 600_001, dtype=torch.double)
    log_weight = (a0 - 1) * tau.log() - b0 * tau + 0.5 * tau.log() - 0.5 * tau * theta**2
    expected = (log_weight.softmax(0) * tau).sum().item()
    assert ARD(1.0, a0, b0).precision(torch.tensor(theta)).item() == pytest.approx(expected, rel=1e-5)


def test_ard_penalty_is_bounded_and_differentiated_through():
    """The released form: (a0 + ½) θ² / (2 b0 + θ²), at most a0 + ½ nat per weight."""
    a0, b0 = 1e-5, 1e-2
    theta = torch.tensor([[0.0, 0.1, 100.0]], dtype=torch.double, requires_grad=True)
    value = ARD(1.0, a0, b0).log_prob(theta)
    expected = -((a0 + 0.5) * theta**2 / (2 * b0 + theta**2)).sum()
    assert value.item() == pytest.approx(expected.item())
    (gradient,) = torch.autograd.grad(value, theta)
    (reference,) = torch.autograd.grad(expected, theta)
    assert torch.allclose(gradient, reference)


def test_student_t_has_the_gradient_of_the_em_step():
    """d/dθ log p(θ) = -⟨τ⟩ θ with ⟨τ⟩ held fixed, and p is τ integrated out."""
    prior = StudentT(1.0, 1.5, 0.3)
    theta = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(prior.log_prob(theta), theta)
    assert torch.allclose(gradient, -prior.precision(theta.detach()) * theta.detach())
    tau = torch.linspace(1e-5, 100, 1_000_001, dtype=torch.double)
    marginal = [((1.5 - 1 + 0.5) * tau.log() - 0.3 * tau - 0.5 * tau * t**2).logsumexp(0).item() for t in (0.2, 1.1)]
    found = [prior.log_prob(torch.tensor([[t]], dtype=torch.double)).item() for t in (0.2, 1.1)]
    assert found[1] - found[0] == pytest.approx(marginal[1] - marginal[0], abs=1e-5)
