"""Splines of the circle: against zuko's, against autograd, at their edges, and with rough parameters."""

import math

import pytest
import torch
from zuko.flows.spline import CircularRQSTransform
from zuko.transforms import MonotonicRQSTransform

from predcg.densities.circular_spline import circular_spline


def parameters(n: int, scale: float, bins: int = 8) -> list[torch.Tensor]:
    return [scale * torch.randn(n, count, dtype=torch.float64) for count in (bins, bins, bins - 1)]


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_it_is_the_spline_of_zuko(scale):
    """So that weights learned with that one mean the same."""
    free, x = parameters(5000, scale), 20 * torch.randn(5000, dtype=torch.float64)
    expected = CircularRQSTransform(*free).call_and_ladj(x)
    found = circular_spline(torch.remainder(x, 2 * math.pi) - math.pi, *free)
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def test_there_and_back_and_its_slope():
    free = parameters(3000, 2.0)
    x = math.pi * (2 * torch.rand(3000, dtype=torch.float64) - 1)
    y, log_slope = circular_spline(x.requires_grad_(), *free)
    back, log_back = circular_spline(y, *free, inverse=True)
    assert torch.allclose(back, x, atol=1e-9) and torch.allclose(log_back, -log_slope, atol=1e-7)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope.log(), log_slope, atol=1e-9)


def test_it_has_no_seam():
    """Value and slope are the same from both sides of ±π, and of the edge of each bin."""
    free = parameters(200, 3.0)
    ends = torch.tensor([[-math.pi], [math.pi]], dtype=torch.float64).expand(-1, 200)
    for inverse in (False, True):
        value, log_slope = circular_spline(ends, *free, inverse=inverse)
        assert torch.allclose(value, ends, atol=1e-12) and log_slope.abs().max() < 1e-9
    inner = MonotonicRQSTransform(*free, bound=math.pi).horizontal[:, 1:-1].T  # edges of bins, each of which is in one
    y, log_slope = circular_spline(inner, *free)
    for side in (-1e-9, 1e-9):
        near, log_near = circular_spline(inner + side, *free)
        assert (near - y).abs().max() < 1e-5 and (log_near - log_slope).abs().max() < 1e-3


@pytest.mark.parametrize("inverse", [False, True])
def test_single_precision_and_rough_parameters_have_no_nan(inverse):
    """zuko's inverse has one in 10,000 at the second scale: rounding makes its discriminant negative."""
    torch.manual_seed(3)
    for scale in (2.0, 8.0):
        free = [parameter.float().requires_grad_() for parameter in parameters(100_000, scale)]
        x = math.pi * (2 * torch.rand(100_000) - 1)
        x[::10] = circular_spline(x, *free)[0].detach()[::10]  # in flat and in steep bins
        y, log_slope = circular_spline(x, *free, inverse=inverse)
        assert y.isfinite().all() and y.abs().max() <= math.pi + 1e-6 and log_slope.isfinite().all()
        assert all(slope.isfinite().all() for slope in torch.autograd.grad(y.sum() + log_slope.sum(), free))


def test_members_of_an_ensemble_are_as_they_are_alone():
    free, x = [parameter.view(5, 4, -1) for parameter in parameters(20, 2.0)], torch.rand(5, 4, dtype=torch.float64)
    for one, other in zip(torch.func.vmap(circular_spline)(x, *free), circular_spline(x, *free), strict=True):
        assert torch.equal(one, other)
