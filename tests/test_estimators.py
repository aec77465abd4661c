"""Estimators of a free energy side by side, of weights whose free energy is known on a torus."""

import math

import pytest
import torch

from predcg.densities import FreeEnergySplines
from predcg.measures.estimators import ESTIMATORS, gamma, log_mean_exp
from predcg.objectives.free_energy import fit

BINS = [40, 40]


def exact(z: torch.Tensor) -> torch.Tensor:
    """Two wells 5 kT apart, over a floor 13 kT up, which is corrugated: (..., 2) to (...,)."""
    phi, psi = z.double().unbind(-1)
    wells = [(6, -1.4, 4, 2.6, 0.0), (7, -1.3, 6, -0.6, 0.7), (9, 1.0, 5, 0.7, 5.0)]
    depths = [a * ((phi - p).cos() - 1) + b * ((psi - q).cos() - 1) - up for a, p, b, q, up in wells]
    return -torch.stack([*depths, (2 * psi).cos() - 13]).logsumexp(0)


def history(n: int, seed: int = 0, tail: float = 0.1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draws of a flow that learns: log-normal weights whose spread falls with time and differs by place, and rare heavy
    ones that hold a share of the mean.
    """
    torch.manual_seed(seed)
    candidates = (2 * torch.rand(4 * n, 2) - 1) * math.pi
    tempered = (-0.4 * exact(candidates).clamp_max(20)).softmax(0).multinomial(n, replacement=True)
    z = torch.where(torch.rand(n, 1) < 0.3, candidates[:n], candidates[tempered])
    batches = torch.arange(n) // 256
    age = batches / batches.max()
    spread = (0.3 + 0.2 * (z[:, 0] - 0.5).cos()) * (1 + 15 * (-25 * age).exp() + (-3 * age).exp())
    noise = torch.randn(n).double()
    log_w = (2 * spread).sqrt() * noise - spread + math.log(1 - tail)
    rare = torch.rand(n) < 2e-3
    return z, torch.where(rare, math.log(max(tail, 1e-9) / 2e-3) + noise / 2 - 1 / 8, log_w) - exact(z), batches.int()


def divergence(f: torch.Tensor, bins: list[int] = BINS) -> float:
    """Forward Kullback-Leibler divergence over the bins, whose exact masses are sums over 25 points."""
    latent = torus()
    fine = exact(latent.box.cells([5 * n for n in bins])[0]).view(bins[0], 5, bins[1], 5).transpose(1, 2).flatten(2)
    p, q = (-fine).logsumexp(2).flatten().log_softmax(0), (-f).log_softmax(0)
    return (p.exp() * (p - q)).sum().item()


def torus(knots: int = 16, **more) -> FreeEnergySplines:
    return FreeEnergySplines(2, [-math.pi] * 2, [math.pi] * 2, [knots] * 2, [True, True], **more)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_finds_the_free_energy_of_many_equal_weights(name):
    z = (2 * torch.rand(200_000, 2) - 1) * math.pi
    latent = torus(24)
    before = latent.theta.clone()
    f = ESTIMATORS[name](z, -exact(z), torch.zeros(len(z)).int(), latent, BINS)
    assert f.shape == (1600,) and f.dtype == torch.float64 and divergence(f) < 5e-3
    assert torch.equal(latent.theta, before) and not latent.fitted


def test_the_gamma_likelihood_is_far_better_than_means_of_bins_and_of_logarithms():
    """Mean divergence over three histories of 5e4 draws, and of what is better by how much."""
    found = {name: 0.0 for name in ESTIMATORS}
    for seed in range(3):
        drawn = history(50_000, seed)
        for name, estimate in ESTIMATORS.items():
            found[name] += divergence(estimate(*drawn, torus(), BINS)) / 3
    assert found["gamma"] < 0.2 * found["log_mean_exp"] and found["gamma"] < 0.3 * found["log_least_squares"]
    assert found["gamma"] < 0.8 * found["gamma_unweighted"] and found["gamma"] < 4e-3


@pytest.mark.parametrize(("n", "knots"), [(20_000, 16), (80_000, 24)])
@pytest.mark.parametrize("tail", [0.0, 0.1])
def test_divergence_and_doubt_of_a_fit_are_its_errors_within_a_factor_of_two(n, knots, tail):
    found = torch.zeros(2)
    for seed in range(2):
        latent = torus(knots)
        fit(latent, *history(n, seed, tail))
        cells = latent.box.cells([5 * n for n in BINS])[0]
        truth, f = exact(cells), latent.potential(cells)
        p, q = (-truth).log_softmax(0), (-f).log_softmax(0)
        found += torch.tensor([latent.divergence(), (p.exp() * (p - q)).sum()])
        deep = truth - truth.min() < 10
        off = (f - truth)[deep]
        error = ((off - off.median()) / latent.doubt(cells)[deep]).square().mean().sqrt()
        assert 0.6 < error < 1.6
    assert 0.5 < found[0] / found[1] < 2.0


def test_a_bin_without_weights_has_no_mass():
    z, log_w = torch.tensor([[0.1, 0.1], [0.2, 0.2], [-0.5, -0.5]]), torch.tensor([0.0, 1.0, -torch.inf])
    f = log_mean_exp(z, log_w, torch.zeros(3), torus(), [2, 2])
    assert f.isinf().tolist() == [True, True, True, False] and f[3].item() == pytest.approx(-math.log((1 + math.e) / 2))
    assert gamma(z, log_w, torch.zeros(3).int(), torus(), [2, 2]).isfinite().all()
