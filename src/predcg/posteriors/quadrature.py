"""Integrals over the collective variables given a frame, z ~ p(z|x), by adaptive Gauss-Hermite quadrature."""

import itertools

import numpy as np
import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.model import Model

NODES, MOST = 5, 729  # Nodes per variable, and the most in all: 5 for one to four variables, 3 for five and six.
# Newton's method makes at most so many steps, and ends at one so small: far less than a width of p(z|x) matters.
STEPS, CLOSE = 30, 1e-8


def latent_nodes(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes z and weights w with E[f(z)|x] ≈ Σ_k w_k f(z_k), (N, K, d) and (N, K), for frames (N, D).

    Nodes are those of N(m, H⁻¹), with m the maximum of p(z|x), found from cv(x), and H its curvature there; weights are
    corrected for what p(z|x) is not Gaussian. Exact where p(x|z) is linear and Gaussian and f a polynomial of degree
    below ten (Liu and Pierce 1994).

    Raises:
        InputError: more than six variables, for which there would be too many nodes.
    """
    mode, curvature = _modes(model, x)
    size = mode.shape[-1]
    if size > 6:
        raise InputError(
            f"posterior: integrates over up to 6 collective variables; found {size}; choose"
            " posterior=conditional_laplace"
        )
    each = NODES if NODES**size <= MOST else 3
    points, shares = np.polynomial.hermite_e.hermegauss(each)
    grid = torch.tensor(list(itertools.product(points, repeat=size)), dtype=x.dtype).reshape(each**size, size)
    share = torch.tensor(list(itertools.product(shares, repeat=size)), dtype=x.dtype).reshape(each**size, size).prod(-1)
    factor = torch.linalg.cholesky(curvature)
    z = mode.unsqueeze(1) + torch.linalg.solve_triangular(factor.mT, grid.T.expand(len(x), -1, -1), upper=True).mT
    log_w = model.log_joint(x.unsqueeze(1), z) + 0.5 * grid.square().sum(-1) + share.log()
    return z, log_w.softmax(-1)


def _modes(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of log p(x, z) over z for each frame, (N, d), and minus its second derivative there, (N, d, d), made
    positive.
    """
    z, length = model.cv(x), x.new_ones(len(x), 1)
    value, slope, curvature = _derivatives(model, x, z)
    for _ in range(STEPS):
        step = length * torch.linalg.solve(curvature, slope)
        if not (step.abs() > CLOSE).any():
            break
        ahead = z + step
        found = _derivatives(model, x, ahead)
        better = (found[0] >= value).unsqueeze(-1)
        length = torch.where(better, (2 * length).clamp_max(1.0), 0.25 * length)
        z, slope = torch.where(better, ahead, z), torch.where(better, found[1], slope)
        value, curvature = (
            torch.where(better.squeeze(-1), found[0], value),
            torch.where(better.unsqueeze(-1), found[2], curvature),
        )
    return z, curvature


def _derivatives(model: Model, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x, z), its slope, and minus its second derivative by z with eigenvalues made positive."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = model.log_joint(x, z)
        slope = torch.autograd.grad(value.sum(), z, create_graph=True)[0]
        rows = [torch.autograd.grad(slope[:, i].sum(), z, retain_graph=True)[0] for i in range(z.shape[-1])]
    curvature = -torch.stack(rows, 1) if rows else z.new_zeros(len(x), 0, 0)
    values, vectors = torch.linalg.eigh(curvature)
    return value.detach(), slope.detach(), (vectors * values.abs().clamp_min(0.1).unsqueeze(1)) @ vectors.mT
