"""The posterior with collective variables integrated out: exact where the decoder is linear and Gaussian, its bands as
wide as they say.
"""

from functools import partial

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from predcg.batch import Batch
from predcg.densities import Flow, FreeScale, GaussianMLP, NetScale, SpinChain, StandardNormal, TrunkScale
from predcg.errors import InputError
from predcg.model import Model
from predcg.posteriors import ConditionalLaplace, Laplace, LastLayers, laplace
from predcg.posteriors.quadrature import latent_nodes
from predcg.priors import Flat, Gaussian

LINEAR = {"hidden": [], "activations": [], "scale": FreeScale}
SLOPE, VARIANCE = torch.tensor([1.0, 0.8, -0.6, 0.5]), torch.tensor([0.2, 0.3, 0.25, 0.3])


def maximum_likelihood(x, steps=3000):
    """Factor analysis of one variable, (sets, N, D): mean, slope and variance by EM, for all data sets at once (Rubin
    and Thayer 1982).
    """
    mean, apart = x.mean(1), x - x.mean(1, keepdim=True)
    second = apart.mT @ apart / x.shape[1]
    found = torch.linalg.eigh(second)
    slope, variance = (
        0.8 * found.eigenvectors[..., -1] * found.eigenvalues[..., -1:].sqrt(),
        0.5 * second.diagonal(dim1=1, dim2=2),
    )
    for _ in range(steps):
        known = 1 + (slope.square() / variance).sum(-1)
        gain = slope / variance / known[:, None]
        crossed = (second @ gain[..., None]).squeeze(-1)
        slope = crossed / (1 / known + (gain * crossed).sum(-1))[:, None]
        variance = (second.diagonal(dim1=1, dim2=2) - slope * crossed).clamp_min(1e-6)
    return mean, slope * torch.sign((slope * SLOPE[: slope.shape[-1]]).sum(-1, keepdim=True)), variance


def linear_gaussian(mean, slope, variance):
    """The decoder with these parameters; the encoder stays as it is made: nothing rests on it."""
    model = Model(StandardNormal(1), GaussianMLP(1, len(mean), **LINEAR), GaussianMLP(len(mean), 1, **LINEAR)).double()
    with torch.no_grad():
        model.decoder.mean.weight.copy_(slope[:, None])
        model.decoder.mean.bias.copy_(mean)
        model.decoder.scale.log_variance.copy_(variance.log())
    return model


def drawn(sets, n, size=4):
    x = (
        torch.randn(sets, n, 1, dtype=torch.float64) * SLOPE[:size]
        + torch.randn(sets, n, size, dtype=torch.float64) * VARIANCE[:size].sqrt()
    )
    return x, *maximum_likelihood(x)


def dense(weights):
    """S, (P, P), and the covariance of all parameters."""
    spread = weights.spread
    s = torch.block_diag(*spread["factor"], torch.diag(spread["latent"]))
    q = spread["directions"]
    root = s @ (torch.eye(len(s), dtype=s.dtype) + q.mT @ torch.diag(spread["deviations"] - 1) @ q)
    return s, root @ root.mT


@pytest.mark.parametrize("size", [4, 1])
def test_the_observed_information_of_a_linear_gaussian_decoder_is_the_hessian_of_the_exact_likelihood(
    size, monkeypatch
):
    """log p(x) = log N(x; b + W c, W l l Wᵀ + diag σ²), differentiated by autograd, latent mean c and factor l
    included.
    """
    monkeypatch.setattr(laplace, "RANK", 0.0)
    x, mean, slope, variance = (of[0] for of in drawn(1, 60, size))

    def minus_log_likelihood(theta):
        w, b, log_variance = theta[:-2].view(size, 3).T
        c, w_l = theta[-2], w * (1 + theta[-1])
        return -MultivariateNormal(b + w * c, torch.outer(w_l, w_l) + torch.diag(log_variance.exp())).log_prob(x).sum()

    at = torch.cat([torch.stack([slope, mean, variance.log()], -1).flatten(), torch.zeros(2)])
    hessian = torch.autograd.functional.hessian(minus_log_likelihood, at)
    model = linear_gaussian(mean, slope, variance).requires_grad_(False)
    s, _ = dense(Laplace(floor=1e-9)(model, Flat(), Batch.of(x)))
    weights = Laplace(floor=1e-9)(model, Flat(), Batch.of(x)).spread
    parts = list(laplace._parts(model, Batch.of(x), torch.ones(60, dtype=torch.float64)))
    missing = torch.cat([laplace._missing(part, weights["factor"], weights["latent"]) for part in parts])
    information = s.inverse().mT @ (torch.eye(len(s)) - missing.mT @ missing) @ s.inverse()
    assert (information - hessian).abs().max() < 1e-9 * hessian.abs().max()


def test_the_covariance_of_what_can_be_seen_is_the_inverse_of_the_exact_hessian():
    """With the settings that ship: mean b + W c, slope W l and log σ², in which nothing is redundant, as by the inverse
    of autograd's Hessian.
    """
    x, mean, slope, variance = (of[0] for of in drawn(1, 200))
    _, covariance = dense(Laplace()(linear_gaussian(mean, slope, variance), Flat(), Batch.of(x)))

    def seen(theta):
        w, b, log_variance = theta[:-2].view(4, 3).T
        return torch.cat([b + w * theta[-2], w * (1 + theta[-1]), log_variance])

    def minus_log_likelihood(theta):
        b, w, log_variance = theta.view(3, 4)
        return -MultivariateNormal(b, torch.outer(w, w) + torch.diag(log_variance.exp())).log_prob(x).sum()

    jacobian = torch.autograd.functional.jacobian(
        seen, torch.cat([torch.stack([slope, mean, variance.log()], -1).flatten(), torch.zeros(2)])
    )
    exact = torch.autograd.functional.hessian(minus_log_likelihood, torch.cat([mean, slope, variance.log()])).inverse()
    found = jacobian @ covariance @ jacobian.mT
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()
    # The mean of x_d is known to √(W² + σ²) / √N, not to σ / √N.
    assert torch.allclose(found.diagonal()[:4].sqrt(), ((slope.square() + variance) / 200).sqrt(), rtol=0.02)


def coverage(kind, n, sets):
    """Share of data sets whose 5 to 95 % band holds the truth: means, slopes, variances and bins of x."""
    edges = torch.linspace(-2.5, 2.5, 13, dtype=torch.float64)

    def predict(mean, slope, variance):
        total = slope.square() + variance
        bins = Normal(mean[..., None], total.sqrt()[..., None]).cdf(edges).diff(dim=-1)
        return {"mean": mean, "slope": slope, "noise": variance, "variance": total, "bins": bins}

    truth = predict(torch.zeros(4, dtype=torch.float64), SLOPE.double(), VARIANCE.double())
    held = {name: [] for name in truth}
    for x, *fitted in zip(*drawn(sets, n), strict=True):
        model = linear_gaussian(*fitted)
        weights, draws = kind()(model, Flat(), Batch.of(x)), []
        for _ in range(200):
            found = weights.draw(model.decoder)
            parameters, c, l = found if kind is Laplace else (found, torch.zeros(1), torch.ones(1, 1))
            w = parameters["mean.weight"].detach()[:, 0]
            log_variance = parameters.get("scale.log_variance", model.decoder.scale.log_variance).detach()
            draws.append(predict(parameters["mean.bias"].detach() + w * c.item(), w * l.item(), log_variance.exp()))
        for name, value in truth.items():
            low, high = torch.stack([draw[name] for draw in draws]).quantile(torch.tensor([0.05, 0.95]).double(), dim=0)
            held[name].append(((value >= low) & (value <= high)).double().mean().item())
    return {name: sum(shares) / sets for name, shares in held.items()}


def test_bands_cover_as_often_as_they_say_and_those_of_a_known_z_do_not():
    found = coverage(Laplace, 50, 20)
    # Four coordinates each: a standard error of some 0.03.
    assert all(0.83 < share < 0.97 for share in found.values()), found
    assert coverage(ConditionalLaplace, 50, 10)["mean"] < 0.75


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 500])
def test_bands_cover_ninety_percent_of_two_hundred_data_sets(n):
    found = coverage(Laplace, n, 200)
    # All coordinates share z, so that 200 data sets have a standard error of up to (0.9 · 0.1 / 200)^½ = 0.021.
    assert all(abs(share - 0.9) <= 0.03 + 0.021 for share in found.values()), found


@pytest.mark.parametrize(
    "scale", [FreeScale, TrunkScale, partial(NetScale, hidden=[3], activations=["Tanh"])], ids=["free", "trunk", "net"]
)
def test_the_last_layers_of_a_network_have_the_hessian_of_the_integrated_likelihood(scale, monkeypatch):
    """Against autograd through a plain sum over a fine grid of z; latent density held."""
    monkeypatch.setattr(laplace, "RANK", 0.0)
    monkeypatch.setattr("predcg.posteriors.quadrature.NODES", 15)
    monkeypatch.setattr("predcg.posteriors.quadrature.MOST", 15)
    net = {"hidden": [3], "activations": ["Tanh"], "scale": scale}
    model = Model(StandardNormal(1), GaussianMLP(1, 3, **net), GaussianMLP(3, 1, **net)).double().requires_grad_(False)
    model.decoder.mean.weight.mul_(0.5)  # p(z|x) then has one mode
    x = model.generate(30)
    names = [name for names in laplace._last_layers(model.decoder).values() for name in names]
    shapes = [model.decoder.get_parameter(name).shape for name in names]
    grid = torch.linspace(-8, 8, 1601, dtype=torch.float64)[:, None]

    def minus_log_posterior(theta):
        columns = theta.view(3, -1).split([shape.numel() // 3 for shape in shapes], -1)
        parameters = {name: column.reshape(shape) for name, column, shape in zip(names, columns, shapes, strict=True)}
        log_p = torch.func.functional_call(model.decoder, parameters, (grid[:, None],)).log_prob(x) + Normal(
            0.0, 1.0
        ).log_prob(grid)
        return -log_p.logsumexp(0).sum() + sum(1.5 * p.square().sum() for p in parameters.values() if p.ndim == 2)

    at = torch.cat([model.decoder.get_parameter(name).reshape(3, -1) for name in names], -1).flatten()
    hessian = torch.autograd.functional.hessian(minus_log_posterior, at)
    prior = Gaussian(1 / 30, 3.0)
    weights = Laplace(floor=1e-9)(model, prior, Batch.of(x)).spread
    s = torch.block_diag(*weights["factor"])
    missing = torch.cat(
        [
            laplace._missing(part, weights["factor"], weights["latent"])
            for part in laplace._parts(model, Batch.of(x), torch.ones(30, dtype=torch.float64))
        ]
    )[:, : len(s)]
    information = s.inverse().mT @ (torch.eye(len(s)) - missing.mT @ missing) @ s.inverse()
    assert (information - hessian).abs().max() < 1e-3 * hessian.abs().max()


def test_nodes_integrate_over_a_posterior_that_is_not_gaussian():
    """E[z|x] and E[z²|x] of a decoder with tanh, against a sum over a fine grid."""
    net = {"hidden": [4], "activations": ["Tanh"], "scale": partial(FreeScale, init=-1.0)}
    model = Model(StandardNormal(1), GaussianMLP(1, 3, **net), GaussianMLP(3, 1, **net)).double().requires_grad_(False)
    x = model.generate(20)
    z, w = latent_nodes(model, x)
    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    share = model.log_joint(x, grid[:, None]).softmax(0)
    for power in (1, 2):
        assert torch.allclose((w * z[..., 0] ** power).sum(-1), (share * grid**power).sum(0), atol=0.02)


def test_weights_of_frames_count_like_copies():
    x, mean, slope, variance = (of[0] for of in drawn(1, 40))
    model = linear_gaussian(mean, slope, variance)
    double = Batch.of(torch.cat([x, x[:10]]))
    weighted = Batch(x, torch.tensor([2.0] * 10 + [1.0] * 30).double())
    one, other = (dense(Laplace(floor=1e-9)(model, Flat(), batch))[1] for batch in (double, weighted))
    assert torch.allclose(one * 50, other * weighted.effective_size, rtol=1e-6, atol=1e-6 * one.abs().max().item() * 50)


@pytest.mark.parametrize("decoder", ["gaussian", "flow"])
def test_draws_have_the_spread_and_survive_the_disk(decoder, tmp_path):
    model = linear_gaussian(torch.zeros(4).double(), SLOPE.double(), VARIANCE.double())
    if decoder == "flow":
        model.decoder = Flow(1, 4, folds=[], bins=4, rounds=0, couplings=2, hidden=[8]).double()
    Laplace()(model, Flat(), Batch.of(torch.randn(40, 4).double())).save(tmp_path / "posterior.npz")
    weights = LastLayers.load(tmp_path / "posterior.npz")
    shifts = torch.stack([torch.cat([part.flatten() for part in weights.shift()]) for _ in range(4000)])
    _, covariance = dense(weights)
    assert torch.allclose(shifts.T.cov(), covariance, atol=0.1 * covariance.diagonal().max().item())
    assert (weights.draw(model.decoder)[0] == {}) == (decoder == "flow")
    frames = next(weights.predict(model, draws=1, frames=5))
    assert frames.shape == (5, 4) and frames.isfinite().all()


def test_the_posterior_predictive_is_wider_than_the_trained_model_by_what_is_open():
    """Var x_d = |w_d|² + σ_d² on average over draws, and the variance of its mean besides: (|w_d|² + σ_d²) / N."""
    x, *fitted = (of[0] for of in drawn(1, 50))
    model = linear_gaussian(*fitted)
    means = torch.stack(
        [batch.mean(0) for batch in Laplace()(model, Flat(), Batch.of(x)).predict(model, draws=300, frames=2000)]
    )
    expected = (fitted[1].square() + fitted[2]) * (1 / 50 + 1 / 2000)
    assert torch.allclose(means.var(0), expected, rtol=0.35)


def test_what_has_no_laplace_approximation_is_refused():
    model = linear_gaussian(torch.zeros(4).double(), SLOPE.double(), VARIANCE.double())
    batch = Batch.of(torch.randn(5, 4).double())
    with pytest.raises(InputError, match="there are none"):
        Laplace()(model, Flat(), batch.frames(slice(0, 0)))
    with pytest.raises(InputError, match="up to 6 collective variables; found 7"):
        Laplace()(Model(StandardNormal(7), GaussianMLP(7, 4, **LINEAR), GaussianMLP(4, 7, **LINEAR)), Flat(), batch)
    with pytest.raises(InputError, match="expects latent=normal; found SpinChain"):
        Laplace()(
            Model(SpinChain(4, reach=1, linear=False, triple=False, field=0.0, beta=1.0), model.decoder, model.encoder),
            Flat(),
            batch,
        )
    with pytest.raises(InputError, match="posterior.floor: expected a positive curvature; found 0"):
        Laplace(floor=0)
