"""Decoders that complete collective variables: what they generate has them exactly, and their density is that of x."""

import math
from functools import partial

import pytest
import torch
from test_observables import PAIRS

from predcg.config import compose
from predcg.densities import (
    Completing,
    Flow,
    GaussianMLP,
    NetScale,
    Observed,
    SinhArcsinh,
    StandardNormal,
    sample_with_log_prob,
)
from predcg.errors import InputError
from predcg.model import Model
from predcg.observables import Combinations, Dihedrals, Distances
from predcg.parts import build
from predcg.transforms import InternalCoordinates, Matrix, Unit

BONDS, ANGLES = [[0.1, 0.01], [0.15, 0.01], [0.1, 0.01]], [[1.7, 0.1], [1.7, 0.1]]
PEROXIDE = {"atoms": [[3, 2, 1, 0]], "bonds": BONDS, "angles": ANGLES, "ranges": [None]}
NET = {"hidden": [8], "activations": ["Tanh"]}
ROWS = [[1.0, -1.0], [0.5, 0.2, -1.0], [[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, -1.0]]]


def spread(density, noise=0.3):
    """Away from where training starts."""
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += noise * torch.randn_like(parameter)
    return density


def shipped() -> Completing:
    """decoder=linear_completion, as it is made of its file."""
    cfg = compose(["experiment=double_well/forward_kl", "decoder=linear_completion", "encoder=observed"])
    return build(cfg).model.decoder


# Every completing decoder, with the observable that it completes.
MAKERS = {
    "shipped": lambda: (shipped(), Combinations([[1.0, -1.0]])),
    "gaussian": lambda: (
        Completing(
            1, 3, partial(GaussianMLP, **NET, scale=partial(NetScale, **NET)), Matrix([[0.5, 0.2, -1.0]], 3), None
        ),
        Combinations([[0.5, 0.2, -1.0]]),
    ),
    "flow": lambda: (
        Completing(2, 4, partial(Flow, folds=[], bins=4, rounds=0, couplings=2, hidden=[8]), Matrix(ROWS[2], 4)),
        Combinations(ROWS[2]),
    ),
    "places": lambda: (
        Completing(2, 3, partial(SinhArcsinh, **NET), Unit(0.5), [2, 0]),
        Combinations([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0]]),
    ),
    "torsion": lambda: (
        Completing(1, 12, partial(SinhArcsinh, **NET), InternalCoordinates([0, 1, 2], PEROXIDE), [0]),
        Dihedrals([[0, 1, 2, 3]]),
    ),
}


@pytest.fixture(params=MAKERS)
def pair(request):
    decoder, observable = MAKERS[request.param]()
    return spread(decoder), observable


def queries(decoder: Completing, n: int) -> torch.Tensor:
    """Anything a torsion can be; of others far beyond what was ever seen, too."""
    scale = 0.99 if isinstance(decoder.transform, InternalCoordinates) else 10.0
    return scale * math.pi * (2 * torch.rand(n, len(decoder.kept)) - 1)


def test_what_is_generated_has_the_collective_variables_it_was_made_for(pair):
    decoder, observable = pair
    z = queries(decoder, 500)
    x = decoder(z).sample((3,))
    assert (observable(x) - z).abs().max() < 2e-5 * (1 + z.abs().max())
    assert (observable(decoder.location(z)) - z).abs().max() < 2e-5 * (1 + z.abs().max())
    encoder, own = Observed(observable), decoder(z).sample()
    assert torch.equal(encoder.location(x), observable(x))
    assert (encoder(own).log_prob(z) == 0).all() and (encoder(own).log_prob(z + 1e-2) == -math.inf).all()


def test_it_is_reparametrised_with_its_log_density(pair):
    decoder, _ = pair
    c = queries(decoder, 7).double().requires_grad_()
    distribution = decoder.double()(c)
    x, log_prob = sample_with_log_prob(distribution, (4,))
    assert x.requires_grad and x.shape[:2] == log_prob.shape == (4, 7) and x.shape[2:] == distribution.event_shape
    assert torch.allclose(log_prob, distribution.log_prob(x), atol=1e-6)
    slopes = torch.autograd.grad(log_prob.sum() + x.square().sum(), [c, *decoder.parameters()])
    assert all(slope.isfinite().all() and slope.any() for slope in slopes)


@torch.no_grad()
def test_x_and_z_with_the_rest_are_two_names_of_the_same(pair):
    decoder, _ = pair
    z = queries(decoder, 20).double()
    r = decoder.double().rest(z).sample()
    y = decoder.joined(z, r)
    assert torch.allclose(decoder.transform(decoder.transform.inv(y)), y, atol=1e-8)
    assert torch.equal(y[:, decoder.kept], z) and torch.equal(y[:, decoder.open], r)


@pytest.mark.parametrize("name", ["shipped", "gaussian", "places"])
@torch.no_grad()
def test_with_any_density_of_z_it_makes_a_density_of_x(name):
    """∫ p(z(x)) p(x|z(x)) dx = 1 by quadrature over x."""
    decoder, observable = MAKERS[name]()
    decoder = spread(decoder, 0.1).double()
    size = decoder(torch.zeros(len(decoder.kept)).double()).event_shape[0]
    side, n = {"shipped": (20.0, 600), "gaussian": (9.0, 90), "places": (5.0, 90)}[name]
    axis = torch.linspace(-side, side, n + 1, dtype=torch.float64)
    axis = (axis[1:] + axis[:-1]) / 2
    x = torch.cartesian_prod(*[axis] * size)
    z = observable(x)
    log_z = -0.5 * (z**2).sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
    total = (log_z + decoder(z).log_prob(x)).exp().sum() * (axis[1] - axis[0]) ** size
    assert total.item() == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("name", ["shipped", "gaussian", "flow", "places"])
def test_its_density_has_the_determinant_of_the_map_from_z_and_the_rest(name):
    decoder, _ = MAKERS[name]()
    decoder = spread(decoder).double()
    z = torch.full((len(decoder.kept),), 0.4, dtype=torch.float64)
    r = decoder.rest(z).sample()
    d, n = len(z), len(z) + len(r)
    slope = torch.autograd.functional.jacobian(
        lambda both: decoder.transform.inv(decoder.joined(both[:d], both[d:])), torch.cat([z, r])
    )
    assert slope.shape == (n, n)
    x = decoder.transform.inv(decoder.joined(z, r))
    expected = decoder.rest(z).log_prob(r) - torch.linalg.slogdet(slope).logabsdet
    assert decoder(z).log_prob(x).item() == pytest.approx(expected.item(), abs=1e-9)


@torch.no_grad()
def test_the_marginal_of_a_model_that_completes_is_exact():
    """log p(x) = log p(z(x)) + log p(x|z(x)), whatever number of draws is asked for: there is one z for each x."""
    decoder, observable = MAKERS["gaussian"]()
    model = Model(StandardNormal(1), spread(decoder), Observed(observable))
    x, log_p = model.draw(200, 5)
    z = observable(x)
    expected = -0.5 * z[:, 0] ** 2 - 0.5 * math.log(2 * math.pi) + decoder(z).log_prob(x)
    assert torch.allclose(log_p, expected, atol=1e-3)
    assert torch.allclose(model.log_prob(x, 3), expected, atol=1e-4)


def test_fit_shows_the_data_to_transform_and_rest():
    seen = {}

    class Watching(SinhArcsinh):
        def fit(self, context=None, event=None):
            seen.update(context=context, event=event)

    decoder = Completing(1, 2, partial(Watching, **NET), Matrix([[1.0, -1.0], [1.0, 1.0]], 2))
    decoder.fit(event=torch.tensor([[3.0, 1.0]]))
    assert seen["context"].tolist() == [[2.0]] and seen["event"].tolist() == [[4.0]]


def test_a_skewed_density_is_the_transformed_normal_one():
    """Against draws through the formula of the source, and its four numbers one by one."""
    density = SinhArcsinh(1, 1, [], []).double()
    mean, scale, skew, tail = 0.7, 1.3, 0.4, -0.3
    with torch.no_grad():
        density.net[-1].weight.zero_()
        density.net[-1].bias.copy_(torch.tensor([mean, math.log(scale), skew, math.atanh(2 * tail)]))
    noise = torch.randn(1000, dtype=torch.float64)
    y = mean + scale * torch.sinh((torch.asinh(noise) + skew) * math.exp(tail))
    (slope,) = torch.autograd.grad(
        (mean + scale * torch.sinh((torch.asinh(noise.requires_grad_()) + skew) * math.exp(tail))).sum(), noise
    )
    expected = -0.5 * noise**2 - 0.5 * math.log(2 * math.pi) - slope.log()
    found = density(torch.zeros(1).double()).log_prob(y.detach().unsqueeze(-1))
    assert torch.allclose(found, expected, atol=1e-9)


def test_it_starts_close_to_a_normal_one():
    x = torch.linspace(-3, 3, 7).unsqueeze(-1)
    log_prob = SinhArcsinh(1, 1, [48, 48], ["Tanh", "Tanh"])(torch.tensor([0.5])).log_prob(x)
    assert (log_prob + 0.5 * x[:, 0] ** 2 + 0.5 * math.log(2 * math.pi)).abs().max() < 0.3


WRONG = {
    "kept": (lambda: Completing(1, 2, partial(SinhArcsinh, **NET), Unit(1.0), [2]), r"decoder.kept: .*; found \[2\]"),
    "twice": (lambda: Completing(2, 3, partial(SinhArcsinh, **NET), Unit(1.0), [1, 1]), r"found \[1, 1\]"),
    "fewer": (lambda: Completing(2, 3, partial(SinhArcsinh, **NET), Unit(1.0), [1]), r"z = 2 .*; found \[1\]"),
    "all": (lambda: Completing(2, 2, partial(SinhArcsinh, **NET), Unit(1.0)), "some are left open"),
}


@pytest.mark.parametrize("name", WRONG)
def test_places_that_cannot_be_are_refused(name):
    make, told = WRONG[name]
    with pytest.raises(InputError, match=told):
        make()


ONE_LINE = {
    "encoder.observable.weights=[[1.0,-1.0],[2.0,-2.0]] z=2": "decoder.rows: .*linearly independent combinations",
    "encoder.observable.weights=[[0.0,0.0]]": "decoder.rows: .*linearly independent combinations",
    "encoder.observable.weights=[[1.0,-1.0,2.0]]": "decoder.rows: .*expected between 1 and 2 rows of 2 numbers",
    "encoder=gaussian": "decoder: Completing goes by encoder.observable.weights, which is not there",
}


@pytest.mark.parametrize("overrides", ONE_LINE)
def test_an_observable_that_cannot_be_inverted_is_refused_in_one_line(overrides):
    choice = ["experiment=double_well/forward_kl", "decoder=linear_completion", "encoder=observed"]
    with pytest.raises(InputError, match=ONE_LINE[overrides]) as told:
        build(compose([*choice, *overrides.split()]))
    assert "\n" not in str(told.value)


def test_any_observable_may_be_an_encoder(ala2):
    x = ala2.start(3)
    for observable in (Distances(PAIRS), Dihedrals([[4, 6, 8, 14]]), Combinations([[1.0] * 66])):
        encoder = Observed(observable)
        assert torch.equal(encoder(x).rsample((2,)), observable(x).expand(2, -1, -1))
        assert encoder(x).log_prob(observable(x)).tolist() == [0.0] * 3
