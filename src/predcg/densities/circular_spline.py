"""Monotonic rational-quadratic splines of the circle."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

# Logarithms of the ratio of two bins, and of each slope, are at most so large: zuko's choice.
REACH = -math.log(1e-3)


def circular_spline(
    x: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """y(x) on [-π, π], increasing, with y(±π) = ±π and dy/dx = 1 there; and log dy/dx. Inverse: x(y) and log dx/dy.

    Rational quadratic in each bin (Durkan et al. 2019, equation 4; on a circle Rezende et al. 2020). Bins share their
    edges, so that each x is in one of them, and the inverse has neither a root nor a denominator that cancels: nothing
    is NaN for finite parameters.

    Args:
        x: (...), rad, on [-π, π].
        widths, heights: of the bins, (..., bins), any real numbers.
        slopes: at the inner edges, (..., bins - 1), any real numbers; with 0 everywhere the map is the identity.

    >>> zero = torch.zeros(8)
    >>> y, log_slope = circular_spline(torch.tensor(2.5), zero, zero, zero[:-1])
    >>> round(y.item(), 5), round(abs(log_slope.item()), 5)
    (2.5, 0.0)
    """
    across, up = _edges(widths), _edges(heights)
    steep = pad(bounded(slopes, REACH), (1, 1)).exp()
    # In which bin: inner edges alone are looked at, so that there is no outside.
    at = (x.unsqueeze(-1) >= (up if inverse else across)[..., 1:-1]).sum(-1, keepdim=True)
    x0, x1, y0, y1, d0, d1 = (
        edges.expand(*at.shape[:-1], -1).gather(-1, at + end).squeeze(-1)
        for edges in (across, up, steep)
        for end in (0, 1)
    )
    width, height = x1 - x0, y1 - y0
    s = height / width
    bent = d0 + d1 - 2 * s
    if inverse:
        rise = ((x - y0) / height).clamp(0, 1)
        a, b = s - d0 + bent * rise, d0 - bent * rise
        root = torch.where(a < 0, (s + a) ** 2 - 4 * a * s * (1 - rise), b**2 + 4 * a * s * rise).sqrt()
        far = b.abs() + root
        share = torch.where(b < 0, far / (2 * torch.where(b < 0, a, 1.0)), 2 * s * rise / far)
    else:
        share = (x - x0) / width
    share = share.clamp(0, 1)
    beside = share * (1 - share)
    bottom = s + bent * beside
    log_slope = (d1 * share**2 + 2 * s * beside + d0 * (1 - share) ** 2).log() + 2 * (s.log() - bottom.log())
    if inverse:
        return x0 + width * share, -log_slope
    return y0 + height * (s * share**2 + d0 * beside) / bottom, log_slope


def bounded(free: Tensor, reach: float) -> Tensor:
    """Any real number, as one between -reach and reach."""
    return free / (1 + (free / reach).abs())


def _edges(sizes: Tensor) -> Tensor:
    """Of the bins: (..., bins + 1), from -π to π."""
    inner = 2 * math.pi * bounded(sizes, REACH / 2).softmax(-1).cumsum(-1)[..., :-1] - math.pi
    return pad(pad(inner, (1, 0), value=-math.pi), (0, 1), value=math.pi)
