"""Posteriors: exact where the decoder is linear, equal to autograd's Hessian where it is not."""

from functools import partial

import pytest
import torch
from torch.func import functional_call

from predcg.batch import Batch
from predcg.densities import FreeScale, GaussianMixtureMLP, GaussianMLP, NetScale, StandardNormal
from predcg.errors import InputError
from predcg.model import Model
from predcg.posteriors import (
    ConditionalGaussNewton,
    ConditionalLaplace,
    ConditionalUnitGaussNewton,
    Laplace,
    WeightPosterior,
)
from predcg.priors import ARD, Flat, Gaussian, StudentT
from predcg.transforms import Chain, RigidFrame, Unit

N = 40
LINEAR = {"hidden": [], "activations": [], "scale": FreeScale}
KINDS = [ConditionalLaplace, ConditionalGaussNewton, ConditionalUnitGaussNewton]


@pytest.fixture
def ppca():
    """A linear-Gaussian decoder of z in two dimensions, with different variances, and frames."""
    torch.manual_seed(1)
    model = Model(StandardNormal(2), GaussianMLP(2, 3, **LINEAR), GaussianMLP(3, 2, **LINEAR)).double()
    with torch.no_grad():
        model.decoder.scale.log_variance.copy_(torch.tensor([-1.0, 0.0, 1.0]))
        # Far from collinear: no curvature below the floor.
        model.encoder.mean.weight.copy_(torch.tensor([[1.0, 0.3, 0.0], [0.0, -0.5, 1.0]]))
    return model, Batch.of(torch.randn(N, 3, dtype=torch.float64))


def normal_equations(model, batch, precision):
    """Σ_i v_i v_iᵀ / σ_d² + the prior's precision on weights, not on the bias, for each output d."""
    with torch.no_grad():
        v = torch.cat([model.cv(batch.x), torch.ones(N, 1)], -1)
        return torch.stack(
            [
                v.T @ v / s + precision * torch.diag(torch.tensor([1.0, 1.0, 0.0]))
                for s in model.decoder.scale.log_variance.exp()
            ]
        )


@pytest.mark.parametrize("prior, precision", [(Flat(), 0.0), (Gaussian(1 / N, 3.0), 3.0)])
def test_the_covariance_of_a_linear_gaussian_decoder_is_exact(ppca, prior, precision):
    model, batch = ppca
    exact = normal_equations(model, batch, precision)
    factor = ConditionalUnitGaussNewton()(model, prior, batch).spread["mean"]
    assert torch.allclose(factor @ factor.mT, exact.inverse(), atol=1e-9)
    for kind in (ConditionalLaplace, ConditionalGaussNewton):
        spread = kind()(model, prior, batch).spread["mean"]
        assert torch.allclose(spread**-2, exact.diagonal(dim1=1, dim2=2), rtol=1e-9)


@pytest.fixture(params=["free scale", "scale from a network", "in a rigid frame"])
def curved(request):
    """Decoders that are not linear, with frames."""
    torch.manual_seed(2)
    net = {"hidden": [4, 3], "activations": ["Tanh", "SELU"]}
    scale = partial(NetScale, **net) if request.param == "scale from a network" else FreeScale
    frame = {"transform": Chain([RigidFrame([0, 1, 2]), Unit(0.1)])} if request.param == "in a rigid frame" else {}
    model = Model(
        StandardNormal(2), GaussianMLP(2, 12, **net, scale=scale, **frame), GaussianMLP(12, 2, **net, scale=FreeScale)
    ).double()
    return model, Batch.of(torch.randn(N, 12, dtype=torch.float64))


def tau(prior, theta):
    """Precisions as the source has them: fixed, or (a0 + ½) / (b0 + ½ θ²)."""
    if isinstance(prior, (ARD, StudentT)):
        return (prior.a0 + 0.5) / (prior.b0 + 0.5 * theta**2)
    return torch.full_like(theta, {Flat: 0.0, Gaussian: 2.0}[type(prior)])


def autograd_diagonal(model, batch, prior):
    """Diagonal of the Hessian of -log p(θ | data) by torch's own, one row after another."""
    names = [name for name, p in model.decoder.named_parameters() if "log_variance" not in name]
    theta = [model.decoder.get_parameter(name).detach() for name in names]
    z = model.cv(batch.x).detach()

    def minus_log_posterior(*theta):
        likelihood = functional_call(model.decoder, dict(zip(names, theta, strict=True)), (z,)).log_prob(batch.x).sum()
        return -likelihood + N * prior.weight * 0.5 * sum(
            (tau(prior, p.detach()) * p**2).sum() for p in theta if p.ndim == 2
        )

    hessian = torch.autograd.functional.hessian(minus_log_posterior, tuple(theta))
    return {
        name: hessian[i][i].reshape(p.numel(), -1).diagonal().view_as(p)
        for i, (name, p) in enumerate(zip(names, theta, strict=True))
    }


@pytest.mark.parametrize(
    "prior",
    [Flat(), Gaussian(1 / N, 2.0), ARD(1 / N), StudentT(0.5 / N, 0.1, 0.1)],
    ids=lambda prior: type(prior).__name__,
)
def test_the_diagonal_is_that_of_the_hessian_with_the_floor_of_the_source(curved, prior):
    model, batch = curved
    spread = ConditionalLaplace(floor=0.5)(model, prior, batch).spread
    below = 0
    for name, curvature in autograd_diagonal(model, batch, prior).items():
        layer, kind = name.rsplit(".", 1)
        found = spread[layer][:, :-1] if kind == "weight" else spread[layer][:, -1]
        below += int((curvature < 0.5).sum())
        assert torch.allclose(found**-2, torch.where(curvature < 0.5, 10.0 * N, curvature), rtol=1e-8)
    assert below > 0 or prior.weight > 0  # without a prior some curvatures are below the floor


@pytest.mark.parametrize("curved", ["free scale", "scale from a network"], indirect=True)
def test_gauss_newton_is_the_mean_second_derivative_where_the_model_is_right(curved):
    """The Fisher information is E[-∂² log p] over x ~ p(x|z): many draws at the same z approach it."""
    from predcg.posteriors.curvature import exact, gauss_newton

    model, batch = curved
    few = batch.frames(slice(0, 3))
    fisher = gauss_newton(model, few)
    with torch.no_grad():
        z = model.cv(few.x)
        many = model.decoder(z).sample((20_000,))

    class Fixed(torch.nn.Module):
        """An encoder that gives each draw the z it came from."""

        def location(self, x):
            return z[:, None].expand(-1, 20_000, -1).flatten(0, 1)[Fixed.at : Fixed.at + len(x)]

    model.encoder = Fixed()
    total = {name: torch.zeros_like(curvature) for name, (_, curvature) in fisher.items()}
    for frame in range(3):
        for start in range(0, 20_000, 250):
            Fixed.at = frame * 20_000 + start
            for name, (_, curvature) in exact(model, Batch.of(many[start : start + 250, frame])).items():
                total[name][frame] += curvature.mean(0) / 80
    for name, (_, curvature) in fisher.items():
        assert (total[name] - curvature).abs().max() < 0.05 * curvature.max()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_frames_count_like_copies(kind, ppca):
    """Up to how many frames there are, which under weights is Kish's number and of copies their count."""
    model, batch = ppca
    doubled = Batch(torch.cat([batch.x, batch.x[:10]]), torch.ones(N + 10))
    weighted = Batch(batch.x, torch.tensor([2.0] * 10 + [1.0] * (N - 10)))
    one, other = (kind()(model, Flat(), frames).spread["mean"] for frames in (doubled, weighted))
    curvatures = [(s @ s.mT).inverse() if s.ndim == 3 else s**-2 for s in (one, other)]
    kish = (20 + 30) ** 2 / (40 + 30)
    assert torch.allclose(curvatures[0] / (N + 10), curvatures[1] / kish, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_of_weights_says_nothing_and_one_heavy_frame_is_one_frame(kind, ppca):
    model, batch = ppca
    three, heavy = (Batch(batch.x, torch.full((N,), 3.0)), Batch(batch.x, torch.tensor([1.0] + [1e-9] * (N - 1))))
    spread = {
        name: kind()(model, Gaussian(1 / N, 3.0), frames).spread["mean"]
        for name, frames in {"one": batch, "three": three}.items()
    }
    assert torch.allclose(spread["one"], spread["three"])
    of_heavy = kind(floor=1e-12)(model, Gaussian(1.0, 3.0), heavy).spread["mean"]
    of_first = kind(floor=1e-12)(model, Gaussian(1.0, 3.0), batch.frames(slice(0, 1))).spread["mean"]
    assert torch.allclose(of_heavy.square(), of_first.square(), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_spread_and_survive_the_disk(kind, ppca, tmp_path):
    model, batch = ppca
    kind()(model, Gaussian(1 / N), batch).save(tmp_path / "posterior.npz")
    weights = WeightPosterior.load(tmp_path / "posterior.npz")
    drawn = [weights.draw(model.decoder) for _ in range(4000)]
    flat = torch.stack([torch.cat([d["mean.weight"][0], d["mean.bias"][:1]]) for d in drawn])
    centre = torch.cat([model.decoder.mean.weight[0], model.decoder.mean.bias[:1]])
    spread = weights.spread["mean"][0]
    covariance = spread @ spread.T if spread.ndim == 2 else torch.diag(spread**2)
    assert torch.allclose(flat.mean(0), centre, atol=5 * (covariance.max() / 4000).sqrt().item())
    assert torch.allclose(flat.T.cov(), covariance, atol=0.1 * covariance.max().item())


def test_the_posterior_predictive_of_a_linear_decoder(ppca):
    """Var x_d = E|w_d|² + σ_d² + var(bias): z is standard normal, and uncertain weights add to the spread."""
    model, batch = ppca
    weights = ConditionalUnitGaussNewton()(model, Flat(), batch)
    variance = torch.stack([x.square().mean(0) for x in weights.predict(model, draws=400, frames=1000)]).mean(0)
    covariance = (factor := weights.spread["mean"]) @ factor.mT
    centre = torch.cat([model.decoder.mean.weight, model.decoder.mean.bias[:, None]], -1)
    expected = (
        (centre**2).sum(-1) + covariance.diagonal(dim1=1, dim2=2).sum(-1) + model.decoder.scale.log_variance.exp()
    )
    assert torch.allclose(variance, expected, rtol=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_map_with_a_flat_prior_is_maximum_likelihood(kind, ppca):
    """The same objective, and the posterior at it the likelihood's own curvature."""
    model, batch = ppca
    assert Flat()(model.decoder) == 0
    one, other = (kind()(model, prior, batch).spread["mean"] for prior in (Flat(), Gaussian(0.0, 5.0)))
    assert torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_laplace_approximation_is_refused(kind, ppca):
    model, batch = ppca
    with pytest.raises(InputError, match="there are none"):
        kind()(model, Flat(), batch.frames(slice(0, 0)))
    model.decoder = GaussianMixtureMLP(2, 3, components=2, hidden=[4]).double()
    with pytest.raises(InputError, match="all in torch.nn.Linear; .* are elsewhere; choose posterior=none"):
        kind()(model, Flat(), batch)


@pytest.mark.parametrize("kind", [*KINDS, Laplace])
def test_the_floor_is_positive(kind):
    with pytest.raises(InputError, match="posterior.floor: expected a positive curvature; found 0"):
        kind(floor=0)
