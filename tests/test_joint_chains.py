"""Metropolis-within-Gibbs against the linear-Gaussian model, whose joint density, correlation time and acceptance are
known.
"""

import math

import numpy as np
import pytest
import torch

from predcg.errors import InputError
from predcg.joint_chains import metropolis_within_gibbs

CHAINS = 50_000
SHIFT, WIDTH = 0.8, 2.0  # of the wrong encoder, in standard deviations of the posterior


def wrong(linear):
    """The model with an encoder that is shifted and too wide."""
    model = linear.model()
    with torch.no_grad():
        model.encoder.mean.bias.add_(SHIFT * linear.sigma / math.sqrt(linear.variance))
        model.encoder.scale.log_variance.add_(2 * math.log(WIDTH))
    return model


def expect_the_joint_density(linear, x, z):
    """Means and second moments of N(0, [[a² + σ², a], [a, 1]]) within five standard errors of independent draws."""
    x, z = x.double().flatten(), z.double().flatten()
    covariance = {"xx": linear.variance, "xz": linear.a, "zz": 1.0}
    found = {"x": x.mean(), "z": z.mean(), "xx": (x * x).mean(), "xz": (x * z).mean(), "zz": (z * z).mean()}
    for name, value in found.items():
        if len(name) == 1:
            exact, variance = 0.0, covariance[2 * name]
        else:
            exact, variance = (
                covariance[name],
                covariance[2 * name[0]] * covariance[2 * name[1]] + covariance[name] ** 2,
            )
        assert value.item() == pytest.approx(exact, abs=5 * math.sqrt(variance / len(x))), name


def test_the_exact_encoder_is_always_accepted(linear):
    draws = metropolis_within_gibbs(linear.model(), CHAINS, frames=2, stride=3)
    assert draws.acceptance == pytest.approx(1.0, abs=1e-5)
    x, z = draws.x.view(CHAINS, 2), draws.z.view(CHAINS, 2)
    for frame in range(2):
        expect_the_joint_density(linear, x[:, frame], z[:, frame])
    # z' = a x / (a² + σ²) + noise with x = a z + noise: a step has the autocorrelation a² / (a² + σ²)
    assert torch.corrcoef(z.T)[0, 1].item() == pytest.approx(
        (linear.a**2 / linear.variance) ** 3, abs=5 / math.sqrt(CHAINS)
    )


def test_a_wrong_encoder_is_corrected(linear):
    draws = metropolis_within_gibbs(wrong(linear), CHAINS, frames=1, stride=20)
    expect_the_joint_density(linear, draws.x, draws.z)
    # With z standardised by the posterior: ∫∫ min(p(t) q(t'), p(t') q(t)) dt dt', whatever x
    t = np.linspace(-20, 20, 4001)
    p, q = np.exp(-0.5 * t**2), np.exp(-0.5 * ((t - SHIFT) / WIDTH) ** 2)
    p, q = p / p.sum(), q / q.sum()
    flow = np.outer(p, q)
    assert draws.acceptance == pytest.approx(np.minimum(flow, flow.T).sum(), abs=0.002)


def test_burn_in_and_stride_count_the_same_steps(linear):
    torch.manual_seed(1)
    all_steps = metropolis_within_gibbs(wrong(linear), chains=3, frames=9)
    torch.manual_seed(1)
    some = metropolis_within_gibbs(wrong(linear), chains=3, frames=3, stride=2, burn_in=3)
    assert torch.equal(some.x.view(3, 3), all_steps.x.view(3, 9)[:, 4::2])
    assert torch.equal(some.z.view(3, 3), all_steps.z.view(3, 9)[:, 4::2])
    assert some.acceptance == all_steps.acceptance


def test_too_few_are_refused(linear):
    with pytest.raises(InputError, match="frames: expected at least 1; found 0"):
        metropolis_within_gibbs(linear.model(), chains=1, frames=0)
