"""Energy-based densities: an ensemble's free energy, its doubt, and splines, against other ways to compute the same."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from predcg.config import compose
from predcg.densities import EnergyBased, FreeEnergy, FreeEnergyNetworks, FreeEnergySplines, SpinChain
from predcg.densities.box import Box
from predcg.densities.splines import Cells, Splines
from predcg.errors import InputError
from predcg.parts import build

ONE, TWO = {"size": 1, "low": [-2.0], "high": [1.0]}, {"size": 2, "low": [-math.pi, 0.0], "high": [math.pi, 2.0]}
MAKERS = {
    "splines": lambda **more: FreeEnergySplines(**ONE | {"intervals": [12]} | more),
    "splines_circle": lambda **more: FreeEnergySplines(**ONE | {"intervals": [12], "periodic": [True]} | more),
    "splines_2d": lambda **more: FreeEnergySplines(**TWO | {"intervals": [8, 6], "periodic": [True, False]} | more),
    "networks": lambda **more: FreeEnergyNetworks(**ONE | {"hidden": [8, 8]} | more),
    "networks_2d": lambda **more: FreeEnergyNetworks(**TWO | {"hidden": [16], "periodic": [True, False]} | more),
}


@pytest.fixture(params=MAKERS)
def maker(request):
    return MAKERS[request.param]


def fine_grid(density: FreeEnergy) -> tuple[torch.Tensor, float]:
    """Mid-points of another grid than the density's own, and their volume."""
    counts = [(1111,), (211, 133)][density.box.size - 1]
    sides = [
        torch.linspace(a, b, n + 1).double() for a, b, n in zip(density.box.low, density.box.high, counts, strict=True)
    ]
    grid = torch.cartesian_prod(*((side[1:] + side[:-1]) / 2 for side in sides)).view(-1, density.box.size)
    return grid, math.prod((side[1] - side[0]).item() for side in sides)


def test_a_free_energy_is_the_mean_of_its_members_and_its_doubt_their_spread(maker):
    density, z = maker(members=3), torch.rand(5, 2, 2)[..., : maker().box.size]
    one, two, three = density.members(z)
    assert density.potential(z).shape == (5, 2)
    assert torch.allclose(density.potential(z), (one + two + three) / 3, atol=1e-5)
    mean = (one + two + three) / 3
    spread = (((one - mean) ** 2 + (two - mean) ** 2 + (three - mean) ** 2) / 2).sqrt()
    assert torch.allclose(density.doubt(z), spread, atol=1e-4) and density.doubt(z).min() > 0


@torch.no_grad()
def test_its_density_integrates_to_one_and_is_that_of_its_potential(maker):
    density = maker(members=4)
    grid, volume = fine_grid(density)
    log_p = density().log_prob(grid)
    assert (log_p.exp().sum() * volume).item() == pytest.approx(1, abs=2e-3)
    assert torch.allclose(log_p - log_p[0], density.potential(grid[:1]) - density.potential(grid), atol=1e-4)
    outside = density.box.high.float() + 0.1
    expected = density.box.periodic.all().item()
    assert density().log_prob(outside).isfinite().item() is expected


@torch.no_grad()
def test_draws_have_its_density(maker):
    """Means of waves over the box, against quadrature."""
    density, n = maker(members=4), 100_000
    grid, _ = fine_grid(density)
    z = density().sample((n,))
    assert z.shape == (n, density.box.size) and density.box.holds(z).all()
    p = (-density.potential(grid)).softmax(0)
    for k in range(1, 9):
        for axis in range(density.box.size):
            wave, exact = ((k * 5.0 * place[:, axis]).cos() for place in (z, grid))
            assert wave.mean().item() == pytest.approx((p @ exact).item(), abs=4 * wave.std().item() / math.sqrt(n))


def test_the_predicted_divergence_is_the_mean_over_members_of_that_of_a_truth_which_is_one_of_them(maker):
    """For a small spread KL(e^-F_k || e^-F) is ½ Var[F_k - F], and a member has K / (K - 1) of it left out."""
    density = maker(members=5)
    with torch.no_grad():
        if isinstance(density, FreeEnergySplines):
            density.theta.mul_(0.02)
        else:
            density.weights[-1].mul_(0.01)
            density.biases[-1].mul_(0.01)
        grid, _ = fine_grid(density)
        members = density.members(grid)
        log_p, log_q = (-members).log_softmax(-1), (-members.mean(0)).log_softmax(-1)
        kl = (log_p.exp() * (log_p - log_q)).sum(-1)
    assert density.divergence() == pytest.approx(kl.sum().item() / 4, rel=0.1) and density.divergence() > 1e-7


def test_an_ensemble_of_one_has_no_doubt(maker):
    density = maker(members=1)
    density.potential(torch.zeros(1, density.box.size))
    for doubt in (lambda: density.doubt(torch.zeros(1, density.box.size)), density.divergence):
        with pytest.raises(InputError, match=r"^latent.members: expected at least 2, .*; found 1$"):
            doubt()


def test_a_free_energy_is_smooth_on_circles_and_ends_in_walls(maker):
    density = maker()
    for axis, circle in enumerate(density.box.periodic.tolist()):
        low = (0.3 * density.box.low + 0.7 * density.box.high).clone()
        low[axis] = density.box.low[axis]
        side = density.box.sides[axis].item()
        step = torch.zeros_like(low)
        step[axis] = 1.0
        if circle:
            path = [low + h * step for h in (-2e-3, -1e-3, 1e-3, 2e-3)]
            f = torch.stack([density.members(z) for z in path]).double().detach()
            assert torch.allclose(density.members(low), density.members(low + side * step), atol=1e-4)
            slopes = (f[1:] - f[:-1]) / torch.tensor([1e-3, 2e-3, 1e-3]).unsqueeze(-1)
            assert torch.allclose(slopes[0], slopes[2], atol=0.02 * (1 + slopes[0].abs().max().item()))
        else:
            rise = density.members(low - side / 10 * step) - density.members(low)
            assert torch.allclose(rise, torch.full_like(rise, 4.5), atol=1e-3)  # ½ (30 / 10)²


def test_forces_are_those_of_finite_differences(maker):
    density = maker()
    z = (0.4 * density.box.low + 0.6 * density.box.high).repeat(1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(density.potential(z).sum(), z)
    for axis in range(density.box.size):
        step = torch.zeros_like(z)
        step[0, axis] = 1e-4
        found = (density.potential(z + step) - density.potential(z - step)) / (2 * step[0, axis])
        assert found.item() == pytest.approx(slope[0, axis].item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("circle", [False, True])
def test_splines_are_those_of_another_library(circle):
    splines = Splines(Box([-1.0], [3.0], [circle]), [10])
    theta = torch.randn(splines.size, dtype=torch.float64)
    z = torch.linspace(-1, 3, 101, dtype=torch.float64)[:-1]
    index, value = splines(z.unsqueeze(-1))
    knots = -1 + 0.4 * np.arange(-3, 14)
    c = np.concatenate([theta, theta[:3]]) if circle else theta.numpy()
    assert (theta[index] * value).sum(-1).numpy() == pytest.approx(BSpline(knots, c, 3)(z.numpy()), abs=1e-12)
    assert torch.allclose(value.sum(-1), torch.ones_like(z))


def test_splines_of_two_coordinates_are_products():
    splines = Splines(Box([-1.0, 0.0], [3.0, 1.0], [False, True]), [10, 5])
    first, second = Splines(Box([-1.0], [3.0]), [10]), Splines(Box([0.0], [1.0], [True]), [5])
    a, b = torch.randn(first.size, dtype=torch.float64), torch.randn(second.size, dtype=torch.float64)
    z = torch.rand(50, 2, dtype=torch.float64) * 4 - 1
    found, *factors = (
        (theta[of(at)[0]] * of(at)[1]).sum(-1)
        for of, theta, at in (
            (splines, torch.outer(a, b).flatten(), z),
            (first, a, z[:, :1]),
            (second, b, z[:, 1:]),
        )
    )
    assert torch.allclose(found, factors[0] * factors[1])


@pytest.mark.parametrize("circle", [False, True])
def test_members_begin_as_draws_of_the_prior(circle):
    """First differences and third ones under the Gaussian of the stated precision, here with one of them left out."""
    for slope, bend, order, expected in ((0.7, 1e4, 1, 0.7), (1e4, 0.3, 3, 0.3)):
        density = FreeEnergySplines(**ONE, intervals=[12], periodic=[circle], members=4000, slope=slope, bend=bend)
        theta = torch.cat([density.theta, density.theta[:, :order]], 1) if circle else density.theta
        differences = theta.diff(n=order)
        # On a circle they sum to zero, which takes one of twelve.
        share = (11 / 12) ** 0.5 if circle else 1.0
        assert differences.std().item() == pytest.approx(expected * share, rel=0.03)
    assert density.theta.mean(1).abs().max() < 1e-9 and density.theta.mean(0).abs().max() < 1e-9


@pytest.mark.parametrize("circle", [False, True])
def test_sums_over_a_grid_are_those_over_its_cells(circle):
    splines = Splines(Box([-1.0, 0.0], [3.0, 1.0], [circle, True]), [5, 4])
    grid, centres = Cells(splines, 3), splines.box.cells([15, 12])[0]
    index, value = splines(centres)
    dense = torch.zeros(180, splines.size, dtype=torch.float64).scatter_add(1, index, value)
    theta, weight = torch.randn(splines.size, dtype=torch.float64), torch.rand(180, dtype=torch.float64)
    assert torch.allclose(grid(theta), dense @ theta) and torch.allclose(splines.at(centres, theta), dense @ theta)
    assert torch.allclose(grid.slope(weight), dense.T @ weight)
    assert torch.allclose(grid.gram(weight), dense.T @ (weight.unsqueeze(1) * dense))
    cell = torch.randint(180, (50,))
    assert torch.equal(grid.total(cell, weight[:50]), weight.new_zeros(180).index_add(0, cell, weight[:50]))


def test_networks_begin_as_the_source_says():
    density = FreeEnergyNetworks(**ONE, members=2000, hidden=[8, 8])
    for weight, bias in zip(density.weights, density.biases, strict=True):
        both = torch.cat([weight, bias], 1).flatten(1)
        assert both.square().mean(1).mean().sqrt().item() == pytest.approx((3.1**2 / 4 + 2.9**2 / 12) ** 0.5, rel=0.05)
        assert abs(both.mean().item()) < 0.05
    sigmas = torch.cat([density.weights[1], density.biases[1]], 1).flatten(1).std(1)
    assert 0.05 < sigmas.min() < 0.25 and 2.9 < sigmas.max() < 4.5


def test_networks_begin_as_the_source_says_of_alanine_dipeptide():
    torch.manual_seed(0)
    density = FreeEnergyNetworks(**TWO, periodic=[True, True], hidden=[256, 128, 32], initial="xavier")
    assert len(density.weights[0]) == 10 and sum(p[0].numel() for p in density.parameters()) == 38_337
    for k in (0, 9):
        for weight, bias in zip(density.weights, density.biases, strict=True):
            layer = torch.nn.Linear(*weight[k].shape)
            torch.nn.init.xavier_uniform_(layer.weight)
            limit = layer.weight.abs().max().item()
            assert weight[k].abs().max().item() == pytest.approx(limit, rel=0.05) and not bias.any()
            assert weight[k].std().item() == pytest.approx(limit / 3**0.5, rel=0.15)
    assert not torch.equal(density.weights[0][0], density.weights[0][9])


def test_members_of_a_network_ensemble_are_separate_and_the_networks_they_are_said_to_be():
    density = FreeEnergyNetworks(**TWO, members=3, hidden=[5, 4], periodic=[True, False])
    density.level.fill_(2.0)
    z = torch.tensor([[0.3, 0.5], [-2.0, 1.5]])
    found = density.members(z)
    seen = torch.stack([z[:, 0].cos(), z[:, 0].sin(), (z[:, 1] - 1.0) * math.sqrt(3)], -1)
    for k in range(3):
        h = seen
        for depth, (weight, bias) in enumerate(zip(density.weights, density.biases, strict=True)):
            h = (1 / (1 + (-h).exp()) if depth else h) @ weight[k] + bias[k]
        assert torch.allclose(found[k], 2.0 + h[:, 0], atol=1e-5)
    (slope,) = torch.autograd.grad(found[1].sum(), density.weights[0])
    assert slope[1].any() and not slope[0].any() and not slope[2].any()


@pytest.mark.parametrize("triple", [False, True])
def test_a_spin_chain_is_energy_based(triple):
    chain = SpinChain(size=5, reach=2, linear=True, triple=triple, field=0.3, beta=0.7)
    assert isinstance(chain, EnergyBased)
    x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 5)
    assert torch.allclose((-chain.potential(x)).log_softmax(0), chain().log_prob(x), atol=1e-5)


WRONG = {
    "low": ({"low": [0.0, 0.0]}, r"latent.low: expected z = 1 numbers; found \[0.0, 0.0\]"),
    "high": ({"high": [-3.0]}, r"latent.low: expected numbers below high = \[-3.0\]; found \[-2.0\]"),
    "periodic": ({"periodic": [True, False]}, "latent.low, high, periodic: expected one entry for each"),
    "members": ({"members": 0}, "latent.members: expected at least 1; found 0"),
    "size": ({"size": 3}, "latent.size: expected z = 1 or 2, for a free energy; found 3"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", ["splines", "networks"])
def test_what_makes_no_free_energy_is_refused(kind, name):
    change, told = WRONG[name]
    with pytest.raises(InputError, match=told):
        MAKERS[kind](**change)


def test_numbers_of_splines_are_checked():
    with pytest.raises(InputError, match=r"latent.intervals: expected at least 4 for each of 1 coordinates; found \[3"):
        MAKERS["splines"](intervals=[3])
    with pytest.raises(InputError, match="latent.bend: expected a positive number; found 0"):
        MAKERS["splines"](bend=0.0)


@pytest.mark.parametrize("option", ["free_energy", "free_energy_networks"])
def test_a_free_energy_is_an_option_of_the_latent_density(option):
    choice = ["experiment=double_well/forward_kl", "figures=[training]", f"latent={option}"]
    parts = build(compose([*choice, "latent.low=[-2.5]", "latent.high=[1.1]"]))
    assert isinstance(parts.model.latent, FreeEnergy) and parts.model.generate(3).shape == (3, 2)
    with pytest.raises(InputError, match=r"latent.low: expected z = 2 numbers; found \[-2.5\]"):
        build(compose([*choice, "latent.low=[-2.5]", "latent.high=[1.1]", "z=2"]))
    with pytest.raises(InputError, match="latent.low"):
        build(compose(choice))
