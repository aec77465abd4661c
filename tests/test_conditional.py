"""The conditional reverse KL and the fit of a free energy to its weights: exact answers of a harmonic system."""

import math
from functools import partial

import pytest
import torch

from predcg import run
from predcg.batch import Batch
from predcg.config import compose
from predcg.densities import (
    Completing,
    Flow,
    FreeEnergyNetworks,
    FreeEnergySplines,
    FreeScale,
    GaussianMLP,
    Observed,
    StandardNormal,
    sample_with_log_prob,
    shortened,
)
from predcg.errors import InputError, NonFiniteError
from predcg.importance import complete
from predcg.model import Model
from predcg.objectives import ConditionalKL, Evaluated, FreeEnergyMatching, FreeEnergyRegression, Sum, free_energy
from predcg.objectives.free_energy import _alike, _certainty, fit
from predcg.observables import Combinations
from predcg.systems import Harmonic
from predcg.transforms import Matrix

# u = ½ (x² + y²/4), z = x - y, r = (x + y) / √2, the open coordinate. z and r are jointly normal:
# Var z = 5, Var r = 5/2, Cov = (1 - 4) / √2, so that r | z ~ N(slope z, variance) and F = z²/10 + const.
SLOPE, VARIANCE = -3 / math.sqrt(2) / 5, 2.5 - 4.5 / 5
SYSTEM = [1.0, 2.0]


def exact(z: torch.Tensor) -> torch.Tensor:
    """-log ∫ e^-u δ(z - x + y) dx dy = z²/10 - log(Z / √(10 π)), Z = 4 π: (N, 1) to (N,)."""
    return z[..., 0] ** 2 / 10 - math.log(4 * math.pi / math.sqrt(10 * math.pi))


def model_of(slope: float = SLOPE, variance: float = VARIANCE, shift: float = 0.0, **latent) -> Model:
    """q(r|z) = N(slope z + shift, variance), as a network without hidden non-linearity."""
    net = {"hidden": [1], "activations": ["Identity"], "scale": FreeScale}
    decoder = Completing(1, 2, partial(GaussianMLP, **net), Matrix([[1.0, -1.0]], 2))
    with torch.no_grad():
        for layer, value in ((decoder.rest.trunk[0], 1.0), (decoder.rest.mean, slope)):
            layer.weight.fill_(value)
            layer.bias.zero_()
        decoder.rest.mean.bias.fill_(shift)
        decoder.rest.scale.log_variance.fill_(math.log(variance))
    settings = {"size": 1, "low": [-6.0], "high": [6.0], "intervals": [24]} | latent
    return Model(FreeEnergySplines(**settings), decoder, Observed(Combinations([[1.0, -1.0]])))


def asked(n: int) -> Batch:
    z = 8 * torch.rand(n, 1) - 4
    return Batch(torch.zeros(n, 2), z=z)


def test_weights_of_an_exact_decoder_are_the_free_energy():
    objective, batch = ConditionalKL(every=2), asked(50)
    terms = objective(model_of(), Harmonic(SYSTEM), batch)
    assert torch.allclose(objective.log_w, -exact(batch.z).double(), atol=1e-5)
    assert terms.loss.item() == pytest.approx(exact(batch.z).mean().item(), abs=1e-5)
    assert terms.log["conditional_bound"] == -terms.loss
    assert torch.equal(objective.z, batch.z) and torch.allclose(
        objective.x[:, 0] - objective.x[:, 1], batch.z[:, 0], atol=1e-5
    )


def test_its_gradients_are_those_of_the_exact_divergence():
    """KL(N(a z + b, s²) || N(A z, S²)) = ½ (((a - A) z + b)² + s²) / S² - log s + const."""
    model, batch, shift, variance, slope = model_of(-0.2, 2.2, 0.3), asked(100_000), 0.3, 2.2, -0.2
    loss = ConditionalKL()(model, Harmonic(SYSTEM), batch).loss
    rest = model.decoder.rest
    found = torch.autograd.grad(loss, [rest.mean.weight, rest.mean.bias, rest.scale.log_variance])
    z = batch.z[:, 0]
    off = (slope - SLOPE) * z + shift
    expected = [(off * z).mean() / VARIANCE, off.mean() / VARIANCE, 0.5 * variance / VARIANCE - 0.5]
    for one, other in zip(found, expected, strict=True):
        assert one.item() == pytest.approx(float(other), abs=0.03)
    assert min(abs(float(value)) for value in expected) > 0.15
    loss_value = (0.5 * (off**2 + variance) / VARIANCE - 0.5 - 0.5 * math.log(variance / VARIANCE)).mean()
    assert loss.item() == pytest.approx((loss_value + exact(batch.z).mean()).item(), abs=0.02)


def test_path_gradients_have_the_same_mean_and_vanish_where_the_decoder_is_exact():
    def gradients(path: bool, n: int, **off: float) -> torch.Tensor:
        model = model_of(**off)
        weights = [model.decoder.rest.mean.weight, model.decoder.rest.scale.log_variance]
        loss = ConditionalKL(path=path)(model, Harmonic(SYSTEM), asked(n)).loss
        return torch.cat([one.flatten() for one in torch.autograd.grad(loss, weights)])

    torch.manual_seed(0)
    off = {"slope": SLOPE + 0.3, "variance": 1.7 * VARIANCE}
    scored, path = gradients(False, 200_000, **off), gradients(True, 200_000, **off)
    assert torch.allclose(scored, path, atol=0.03) and path.abs().min() > 0.15
    assert gradients(True, 50).abs().max() < 1e-4 < 0.01 < gradients(False, 50).abs().max()


def test_the_path_gradient_of_a_flow_has_the_mean_of_the_whole_and_less_noise_but_for_its_angles():
    torch.manual_seed(0)
    flow = Flow(1, 3, folds=[3], bins=4, rounds=1, couplings=2, hidden=[8])
    c = torch.rand(20_000, 1)
    gradients = {}
    for name, draw in {"whole": lambda c: sample_with_log_prob(flow(c)), "path": flow.pathwise}.items():
        x, log_q = draw(c)
        loss = (log_q + 0.5 * x[:, 1:].square().sum(-1) + (3 * x[:, 0]).cos()).view(100, -1).mean(1)
        parts = [[*part.parameters()] for part in (flow.rest, flow.angles)]
        gradients[name] = [
            torch.stack(
                [torch.cat([one.flatten() for one in torch.autograd.grad(of, part, retain_graph=True)]) for of in loss]
            )
            for part in parts
        ]
    for whole, path in zip(*gradients.values(), strict=True):
        error = (whole.var(0) + path.var(0)).div(100).sqrt()
        assert ((whole.mean(0) - path.mean(0)).abs() < 5 * error + 1e-6).all()
    (rest, _), (path, _) = gradients.values()
    assert path.var(0).sum() < 0.2 * rest.var(0).sum()


def test_long_slopes_are_shortened_and_broken_ones_are_left_out():
    slope = torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0], [math.nan, 1.0], [600.0, 800.0]])
    found = shortened(slope, 3.0)
    assert torch.equal(found[[1, 2, 3]], torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]))
    assert torch.allclose(found[[0, 4]], torch.tensor([[1.8, 2.4], [1.8, 2.4]]))
    assert torch.equal(shortened(slope[:3], None), slope[:3])


def test_beta_tempers_the_energy_alone():
    objective = ConditionalKL(every=2)
    objective.temper(0.3)
    objective(model_of(), Harmonic(SYSTEM), asked(20))
    u = Harmonic(SYSTEM)(objective.x).double()
    log_q = model_of().decoder(objective.z).log_prob(objective.x).double()
    assert torch.allclose(objective.log_w, -0.3 * u - log_q, atol=1e-5)


def test_past_draws_come_again_in_proportion_to_their_weights_up_to_the_cap():
    """The mean loss over many replayed steps is the weighted mean of -log q, with w e^F above the cap as the cap."""
    model, objective = model_of(), ConditionalKL(every=1000, replayed=4000, cap=3.0)
    objective(model, Harmonic(SYSTEM), asked(6))
    ratio = torch.tensor([0.1, 0.5, 1.0, 2.0, 10.0, 1e6], dtype=torch.float64)
    objective.log_w = ratio.log() - model.latent.potential(objective.z).double()
    share = torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0, 3.0]) / 9.6
    log_q = model.decoder(objective.z).log_prob(objective.x)
    system = Harmonic(SYSTEM)
    losses = torch.stack([objective(model, system, asked(6)).loss for _ in range(20)])
    assert int(system.evaluations) == 0 and len(objective.x) == 6
    assert losses.mean().item() == pytest.approx(-(share @ log_q).item(), abs=5 * losses.std().item() / 20**0.5)
    assert abs((share @ log_q - log_q.mean()).item()) > 0.05
    assert losses.requires_grad and not model.latent.theta.requires_grad


def test_draws_are_fresh_every_so_many_steps():
    objective, system, model = ConditionalKL(every=3, replayed=5), Harmonic(SYSTEM), model_of()
    logged = [set(objective(model, system, asked(7)).log) for _ in range(7)]
    assert logged == [{"conditional_bound"}, {"replayed_bound"}, {"replayed_bound"}] * 2 + [{"conditional_bound"}]
    assert len(objective.x) == len(objective.z) == len(objective.log_w) == int(system.evaluations) == 21


class Wall(Harmonic):
    """Without an energy where x + y > 0."""

    def energy(self, x):
        return torch.where(x.sum(-1) > 0, torch.nan, super().energy(x))


def test_draws_without_an_energy_have_no_weight_and_spoil_no_gradient():
    model, objective = model_of(0.0, 1.0), ConditionalKL(every=2)
    loss = objective(model, Wall(SYSTEM), asked(400)).loss
    lost = objective.x.sum(-1) > 0
    assert 100 < lost.sum() < 300 and objective.dropped_samples == lost.sum()
    assert torch.equal(objective.log_w == -math.inf, lost)
    for gradient in torch.autograd.grad(loss, list(model.decoder.parameters())):
        assert gradient.isfinite().all()
    with pytest.raises(NonFiniteError, match="none of 9 draws has a finite energy"):
        ConditionalKL()(model_of(0.0, 1e-4, 5.0), Wall(SYSTEM), asked(9))
    with pytest.raises(NonFiniteError, match="none of 9 draws has a finite density"):
        ConditionalKL()(model_of(0.0, 1.0, math.nan), Harmonic(SYSTEM), asked(9))


REFUSED = {
    "no potential": (
        lambda: Model(StandardNormal(1), model_of().decoder, model_of().encoder),
        "objective: ConditionalKL needs a latent density with a potential; found StandardNormal; choose latent=free",
    ),
    "another observable": (
        lambda: Model(model_of().latent, model_of().decoder, Observed(Combinations([[1.0, 1.0]]))),
        "decoder: expected one that completes what the encoder observes",
    ),
    "no completion": (
        lambda: Model(model_of().latent, GaussianMLP(1, 2, [4], ["Tanh"], FreeScale), model_of().encoder),
        "decoder: expected one that completes .* found GaussianMLP",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused_at_the_rehearsal(name):
    make, told = REFUSED[name]
    with pytest.raises(InputError, match=told):
        ConditionalKL().eval()(make(), Harmonic(SYSTEM), asked(3))
    ConditionalKL().eval()(model_of(), Harmonic(SYSTEM), asked(3))


def test_data_without_queries_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["objective=conditional", "latent=free_energy", "latent.low=[-2.0]", "latent.high=[2.0]", "logger=none"]
    densities = ["decoder=linear_completion", "encoder=observed", "acquisition=none", "figures=[training]"]
    with pytest.raises(
        InputError, match=r"^objective: ConditionalKL learns from collective variables .*=active"
    ) as told:
        run.run(compose(["experiment=double_well/mixed", *overrides, *densities]))
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["every", "replayed", "cap"])
def test_numbers_are_checked(name):
    with pytest.raises(InputError, match=f"objective.{name}: expected at least 1; found 0"):
        ConditionalKL(**{name: 0})


# Matching


def weighed(n: int, spread: float, batches: int = 10, low: float = -4.0, high: float = 4.0) -> list[Evaluated]:
    """Batches of log-normal weights whose mean given z is e^-F."""
    drawn = []
    for _ in range(batches):
        z = torch.rand(n // batches, 1) * (high - low) + low
        noise = spread * torch.randn(len(z), dtype=torch.float64) - 0.5 * spread**2
        drawn.append(Evaluated(z, torch.zeros(len(z), 2), noise - exact(z).double()))
    return drawn


def fitted(drawn: list[Evaluated], **latent) -> tuple[FreeEnergyMatching, Model]:
    objective, model = FreeEnergyMatching(), model_of(**latent)
    for one in drawn:
        objective.observe(one)
        objective(model, Harmonic(SYSTEM), asked(1))
    return objective, model


GRID = torch.linspace(-3.8, 3.8, 77).unsqueeze(-1)


def test_the_fit_is_right_within_its_own_doubt():
    _, model = fitted(weighed(3000, 1.0), members=20)
    error, doubt = model.latent.potential(GRID) - exact(GRID), model.latent.doubt(GRID)
    assert error.abs().max() < 0.25 and 0.02 < doubt.mean() < 0.15
    assert 0.4 < (error.square().mean() / doubt.square().mean()).sqrt() < 2.0
    assert model.latent.doubt(torch.tensor([[5.9]])) > 5 * doubt.max()


def test_the_divergence_is_predicted_without_the_truth():
    """Mean over five data sets of what is predicted and of what it is."""
    found, predicted = [], []
    for _ in range(5):
        objective, model = fitted(weighed(1500, 1.0, batches=5, low=-6.0, high=6.0), members=10)
        z, _ = model.latent.cells()
        log_p, log_q = (-exact(z)).log_softmax(0), (-model.latent.potential(z)).log_softmax(0)
        found.append((log_p.exp() * (log_p - log_q)).sum().item())
        predicted.append(objective.divergence.item())
    assert 0.4 < sum(predicted) / sum(found) < 2.5 and sum(found) > 1e-3


def test_the_mean_of_weights_counts_and_not_that_of_their_logarithms():
    """Log-normal weights of spread 1 have a mean of logarithms ½ kT off."""
    _, model = fitted(weighed(10_000, 1.0, batches=4))
    off = model.latent.potential(GRID) - exact(GRID)
    assert off.mean().abs() < 0.04 and off.abs().max() < 0.3


def test_evaluations_count_as_those_of_the_same_time_and_region_deserve():
    """a = 1 / (e^(2 D) - 1): of log-normal weights of spread σ it is 1 / (e^σ² - 1). The spread differs between the
    halves of the box, and grows with time, eight batches at a time.
    """
    objective, latent, n = FreeEnergyMatching(), model_of().latent, 4000
    for batch in range(16):
        z = torch.rand(n, 1) * 4 - 4 * (batch % 2)
        spread = (0.6 if batch % 2 else 1.0) + 0.4 * (batch // 8)
        noise = spread * torch.randn(n, dtype=torch.float64) - 0.5 * spread**2
        objective.observe(Evaluated(z, torch.zeros(n, 2), noise - exact(z).double()))
    found, most = _certainty(objective.log_w + exact(objective.z), *_alike(latent, objective.z, objective.batches))
    for batch in range(16):
        spread = (0.6 if batch % 2 else 1.0) + 0.4 * (batch // 8)
        mine = (objective.batches == batch) & (objective.z.abs() > 1)[:, 0]  # away from where both halves meet
        assert found[mine].mean().item() == pytest.approx(1 / math.expm1(spread**2), rel=0.06)
    region = objective.z[:, 0].sub(-6).div(12 / 9).floor()
    for place in (2, 7):
        here = region == place
        assert most[here].exp().tolist() == pytest.approx((found[here].sum() / found[here]).sqrt().div(2).tolist())


def in_cells(latent: FreeEnergySplines, drawn: list[Evaluated]) -> FreeEnergyMatching:
    """What has observed these, moved to the centres of their cells, where sums over cells are exact."""
    objective = FreeEnergyMatching()
    for one in drawn:
        objective.observe(one._replace(z=latent.cells()[0][latent.box.cell(one.z, latent.counts)]))
    return objective


def test_what_is_found_is_the_maximum_of_what_is_said():
    """Autograd's gradient of the penalised likelihood; and of the evidence by the smoothness, by finite differences."""
    model = model_of(members=3)
    latent = model.latent
    objective = in_cells(latent, weighed(600, 0.7, batches=3))
    objective(model, Harmonic(SYSTEM), asked(1))
    theta = latent.theta.mean(0).requires_grad_()
    index, value = latent.splines(objective.z.double())
    f = (theta[index] * value).sum(-1)
    a, most = _certainty(objective.log_w + f.detach(), *_alike(latent, objective.z, objective.batches))
    ratio = (objective.log_w + f).exp()
    held = ratio > most.exp()
    assert 0 < held.sum() < 60
    data = (a * (torch.where(held, -most.exp() * f, -ratio) + f)).sum()
    prior = latent.smoothness * latent.precision
    (gradient,) = torch.autograd.grad(data - 0.5 * theta @ prior @ theta, theta)
    assert gradient.abs().max() < 0.05 < data.abs()

    def evidence(smoothness: float) -> float:
        """log of ∫ likelihood x prior, and of the gamma density of the smoothness, where the curvature is the same."""
        design = torch.zeros(len(f), len(theta)).double().scatter_add(1, index, value)
        counted = a * 0.5 * (torch.minimum(ratio, most.exp()) + 1)
        hessian = design.T @ (counted.detach().unsqueeze(1) * design) + smoothness * latent.precision
        level = (len(theta) - 1 + 16) / 2 * math.log(smoothness) - 8 * smoothness
        rough = (theta @ latent.precision @ theta).item()
        return level - 0.5 * smoothness * rough - 0.5 * torch.logdet(hessian).item()

    best = latent.smoothness.item()
    assert 1e-3 < best < 1e3 and abs(best - 1) > 0.05
    assert evidence(best) > max(evidence(best / 1.3), evidence(1.3 * best))


def test_members_are_what_draws_of_data_and_prior_would_do():
    """Their covariance, of many, against fits to resampled data (Bayesian bootstrap) and drawn priors."""
    drawn = weighed(1500, 1.0, batches=3)
    latent = model_of(members=4000).latent
    objective = in_cells(latent, drawn)
    fit(latent, objective.z, objective.log_w, objective.batches)
    theta = latent.theta.mean(0)
    assert torch.allclose(latent.mean_inside(GRID), latent.splines.at(GRID, theta))
    index, value = latent.splines(objective.z.double())
    design = torch.zeros(len(index), len(theta)).double().scatter_add(1, index, value)
    log_ratio = objective.log_w + design @ theta
    a, most = _certainty(log_ratio, *_alike(latent, objective.z, objective.batches))
    ratio = torch.minimum(log_ratio, most).exp()
    prior = latent.smoothness * latent.precision
    root = torch.linalg.cholesky(prior + 1 / len(theta))
    curvature = design.T @ ((a * ratio).unsqueeze(1) * design) + prior
    g = torch.empty(2000, len(a), dtype=torch.float64).exponential_() - 1
    # One step of Newton's method from θ, for each draw.
    slopes = (g * (a * (ratio - 1))) @ design + torch.randn(2000, len(theta), dtype=torch.float64) @ root.T
    members = theta - torch.linalg.solve(curvature, slopes.T).T
    spread = torch.stack([latent.splines.at(GRID, theta) for theta in members]).std(0)
    assert (latent.doubt(GRID) / spread - 1).abs().max() < 0.25 and (
        latent.doubt(GRID) / spread
    ).mean() == pytest.approx(1, abs=0.06)


def test_a_free_energy_of_two_torsions_is_fitted_on_the_torus():
    """F = cos(φ) + cos(2 ψ - φ), without a seam."""

    def torsional(z):
        return z[..., 0].cos() + (2 * z[..., 1] - z[..., 0]).cos()

    box = {"low": [-math.pi] * 2, "high": [math.pi] * 2, "periodic": [True, True]}
    model = model_of()
    model.latent = FreeEnergySplines(2, intervals=[8, 12], members=4, **box)
    objective = FreeEnergyMatching()
    for _ in range(4):
        z = (2 * torch.rand(1000, 2) - 1) * math.pi
        noise = 0.5 * torch.randn(1000, dtype=torch.float64) - 0.125
        objective.observe(Evaluated(z, torch.zeros(1000, 3), noise - torsional(z).double()))
    objective(model, Harmonic(SYSTEM), asked(1))
    z = (2 * torch.rand(500, 2) - 1) * math.pi
    z[:100, 0] = math.pi
    off = model.latent.potential(z) - torsional(z)
    assert off.square().mean().sqrt() < 0.1 and off.abs().max() < 0.35
    assert 0.02 < model.latent.doubt(z).mean() < 0.2


def test_one_rare_weight_does_not_move_the_fit():
    drawn = weighed(4000, 0.3)
    drawn[-1].log_w[0] += math.log(300.0)
    _, model = fitted(drawn)
    assert (model.latent.potential(GRID) - exact(GRID)).abs().max() < 0.15


def test_one_member_is_the_plain_fit():
    objective, model = fitted(weighed(3000, 0.7), members=1)
    assert len(model.latent.theta) == 1 and objective.divergence == 0
    assert (model.latent.potential(GRID) - exact(GRID)).abs().max() < 0.2


def test_it_goes_on_from_a_checkpoint_bit_by_bit():
    drawn = weighed(400, 0.7, batches=4)

    def go_on(objective, model, those):
        for one in those:
            objective.observe(one)
            objective(model, Harmonic(SYSTEM), asked(1))

    objective, model = fitted(drawn[:2])
    again, other = FreeEnergyMatching(), model_of()
    again.load_state_dict({name: value.clone() for name, value in objective.state_dict().items()})
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    for one, of in ((objective, model), (again, other)):
        torch.manual_seed(4)
        go_on(one, of, drawn[2:])
    assert torch.equal(model.latent.theta, other.latent.theta)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in objective.state_dict().items())
    assert len(again.z) == 400


def test_a_history_grows_in_place_and_is_saved_at_its_length(tmp_path):
    objective, drawn = FreeEnergyMatching(), weighed(6000, 0.5, batches=60)
    places = set()
    for one in drawn:
        objective.observe(one)
        places.add(objective.z.data_ptr())
    assert len(places) <= 8  # 100 2^6 > 6000
    assert torch.equal(objective.z, torch.cat([one.z for one in drawn]))
    assert torch.equal(objective.log_w, torch.cat([one.log_w for one in drawn]).float())
    assert torch.equal(objective.batches, torch.arange(60, dtype=torch.int32).repeat_interleave(100))
    torch.save(objective.state_dict(), tmp_path / "state.pt")
    assert (tmp_path / "state.pt").stat().st_size < 6000 * 12 + 8000
    again = FreeEnergyMatching()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    kept = again.z
    again.observe(drawn[0])
    objective.observe(drawn[0])
    for name, value in objective.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert len(kept) == 6000 and len(again.z) == 6100


@pytest.mark.parametrize(("every", "steps", "expected"), [(1, 0, 8), (3, 8, 4), (100, 8, 2), (4, 4, 3)])
def test_it_fits_every_so_many_batches_and_at_the_end_of_a_round(every, steps, expected, monkeypatch):
    """Of 8 batches, one a step: the first; with every = 3 also 4, 7 and the last; with every = 4 also 4, 8."""
    fits, model, objective = [], model_of(), FreeEnergyMatching(every, steps)
    monkeypatch.setattr(free_energy, "fit", lambda latent, z, *_: (fits.append(len(z)), latent.fitted.fill_(len(z))))
    for one in weighed(80, 0.5, batches=8):
        objective.observe(one)
        objective(model, Harmonic(SYSTEM), asked(1))
    assert len(fits) == expected and fits[0] == 10 and fits[-1] == 80
    objective(model, Harmonic(SYSTEM), asked(1))
    assert len(fits) == expected


def test_a_latent_density_that_begins_anew_is_fitted_to_all_that_is_known():
    drawn = weighed(2000, 0.5)
    objective, _ = fitted(drawn)
    model = model_of()
    objective(model, Harmonic(SYSTEM), asked(1))
    assert (model.latent.potential(GRID) - exact(GRID)).abs().max() < 0.2


def test_in_a_sum_each_term_learns_what_is_its_own():
    torch.manual_seed(1)
    model, other, system = model_of(-0.2, 2.0), model_of(-0.2, 2.0), Harmonic(SYSTEM)
    both = Sum({"decoder": ConditionalKL(every=2), "latent": FreeEnergyMatching()}, {"decoder": 0.5, "latent": 3.0})
    batch = asked(64)
    before, gradients = model.latent.theta.clone(), []
    for objective, of in ((both, model), (ConditionalKL(), other)):
        torch.manual_seed(2)
        gradients.append(torch.autograd.grad(objective(of, system, batch).loss, list(of.decoder.parameters())))
    for one, alone in zip(*gradients, strict=True):
        assert torch.allclose(one, 0.5 * alone)
    assert not torch.equal(model.latent.theta, before) and not list(model.latent.parameters())
    assert len(both.divergences[1].z) == 64 and torch.equal(
        both.divergences[1].log_w, both.divergences[0].log_w.float()
    )


def test_together_they_learn_decoder_and_free_energy():
    model, system = model_of(0.0, 1.0), Harmonic(SYSTEM)
    both = Sum({"decoder": ConditionalKL(every=4), "latent": FreeEnergyMatching()}, {"decoder": 1.0, "latent": 1.0})
    optimizer = torch.optim.Adam(model.parameters(), 5e-2)
    for _ in range(100):
        optimizer.zero_grad()
        both(model, system, asked(32)).loss.backward()
        optimizer.step()
    assert int(system.evaluations) == 25 * 32
    near = GRID[(GRID.abs() < 3.5)[:, 0]]
    assert (model.latent.potential(near) - exact(near)).abs().max() < 0.3
    assert model.decoder.rest.scale.log_variance.exp().item() == pytest.approx(VARIANCE, rel=0.15)


def test_a_model_tells_its_free_energy_above_the_lowest_with_the_error_of_the_difference():
    """Of 60 data sets the errors are what is told; at the lowest there is none."""
    at, ratio = torch.tensor([[0.0], [2.0], [-3.0]]), []
    for _ in range(60):
        _, model = fitted(weighed(400, 0.7, batches=2), members=16)
        f, error = model.free_energy(at)
        lowest = model.latent.cells()[0][model.latent.potential(model.latent.cells()[0]).argmin()]
        assert f.min() >= -0.01 and model.free_energy(lowest.unsqueeze(0))[1] == 0
        ratio.append((f - exact(at) + exact(lowest)) / error.clamp_min(1e-9))
    rms = torch.stack(ratio)[:, 1:].square().mean(0).sqrt()
    assert ((0.65 < rms) & (rms < 1.5)).all(), rms
    assert f.shape == (3,) and model.free_energy(at.view(3, 1, 1))[0].shape == (3, 1)


def test_configurations_of_a_collective_variable_come_with_weights():
    """log_z is -F(z); means of the open coordinate are those of the exact conditional density."""
    z, n = torch.tensor([1.5]), 40_000
    drawn = complete(model_of(-0.2, 2.2, 0.3), Harmonic(SYSTEM), z, n)
    assert drawn.x.shape == (n, 2) and torch.allclose(drawn.x[:, 0] - drawn.x[:, 1], z.expand(n), atol=1e-5)
    f, error = drawn.log_z
    assert -f == pytest.approx(exact(z.unsqueeze(0)).item(), abs=4 * error) and 0 < error < 0.01
    r = (drawn.x[:, 0] + drawn.x[:, 1]) / math.sqrt(2)
    mean, spread = drawn.mean(r)
    assert mean == pytest.approx(SLOPE * 1.5, abs=4 * spread)
    assert drawn.mean((r - SLOPE * 1.5) ** 2)[0] == pytest.approx(VARIANCE, rel=0.04)


def test_what_has_no_free_energy_or_completes_nothing_is_told_in_one_line():
    normal, drawn = model_of(), Harmonic(SYSTEM)
    normal.latent = StandardNormal(1)
    with pytest.raises(InputError, match="^model: a free energy is that .* found StandardNormal; choose latent=free_e"):
        normal.free_energy(torch.zeros(1, 1))
    with pytest.raises(InputError, match=r"^z: expected 1 numbers, .*; found shape \(2, 1\)"):
        complete(normal, drawn, torch.zeros(2, 1), 5)
    with pytest.raises(InputError, match="^latent.members: expected at least 2, .*; found 1"):
        model_of(members=1).free_energy(torch.zeros(1, 1))
    normal.decoder = GaussianMLP(1, 2, [4], ["Tanh"], FreeScale)
    with pytest.raises(InputError, match="^model: configurations at z .* found GaussianMLP; choose decoder=completion"):
        complete(normal, drawn, torch.zeros(1), 5)


def test_splines_are_asked_for():
    model = model_of()
    model.latent = FreeEnergyNetworks(1, [-6.0], [6.0])
    with pytest.raises(InputError, match="FreeEnergyMatching fits splines; found latent FreeEnergyNetworks; choose"):
        FreeEnergyMatching()(model, Harmonic(SYSTEM), asked(1))


# Regression


def test_labels_are_logarithms_of_mean_clipped_weights_of_the_latest_draws():
    """Place by place, in plain Python."""
    z = torch.tensor([[0.5], [-1.0], [2.0]])[torch.randint(3, (60,))]
    log_w = torch.randn(60, dtype=torch.float64)
    log_w[z[:, 0] == 2.0] = -math.inf
    objective, latent = FreeEnergyRegression(latest=7, clipped=2), networks().latent
    for part in (slice(0, 10), slice(10, 52), slice(52, 60)):  # It looks three times.
        objective.observe(Evaluated(z[part], torch.zeros(60, 2)[part], log_w[part]))
        objective._look(latent)
        assert not len(objective.z)
    assert objective.places.flatten().tolist() == [-1.0, 0.5, 2.0] and objective.labels[2] == math.inf
    for place, label in zip(objective.places.flatten().tolist()[:2], objective.labels.tolist()[:2], strict=True):
        weights = sorted(math.exp(w) for w in log_w[z[:, 0] == place].tolist()[-7:])
        weights[-1] = weights[-2]
        assert label == pytest.approx(-math.log(sum(weights) / 7))
    few = FreeEnergyRegression(latest=7, clipped=3)
    few.observe(Evaluated(torch.zeros(2, 1), torch.zeros(2, 2), torch.tensor([0.0, 1.0]).double()))
    few._look(latent)
    assert few.labels.tolist() == pytest.approx([-math.log((1 + math.e) / 2)])


@pytest.mark.parametrize("share", [0.8, 1.0])
def test_each_member_sees_a_share_of_the_places_of_its_own(share):
    objective, latent = FreeEnergyRegression(share=share), networks(members=3).latent
    objective.observe(weighed(4000, 0.5, batches=1)[0])
    objective._look(latent)
    assert objective.bags.unique().tolist() == pytest.approx([0.0, 1 / share][-1 if share == 1 else 0 :])
    assert (objective.bags > 0).float().mean(0).tolist() == pytest.approx([share] * 3, abs=0.03)
    both = (objective.bags > 0).all(1).float().mean().item()
    assert both == pytest.approx(share**3, abs=0.04)


def test_the_cost_of_a_look_does_not_grow_with_the_history():
    objective, latent = FreeEnergyRegression(latest=5), networks().latent
    z = torch.rand(300, 1)
    for _ in range(40):
        objective.observe(Evaluated(z, torch.zeros(300, 2), torch.randn(300).double()))
        objective._look(latent)
    held = sum(value.numel() for value in objective.state_dict().values())
    assert held < 300 * (5 + 1 + 1 + 1 + 4) + 10 and objective.counts.tolist() == [5] * 300


def networks(**more) -> Model:
    model = model_of()
    model.latent = FreeEnergyNetworks(1, [-6.0], [6.0], **{"members": 4, "hidden": [16]} | more)
    return model


def test_the_loss_of_the_regression_is_the_mean_square_in_each_members_bag():
    objective, model, one = FreeEnergyRegression(batch_size=5000, every=10), networks(), weighed(40, 0.5, batches=1)[0]
    objective.observe(one)
    loss = objective(model, Harmonic(SYSTEM), asked(1)).loss
    assert model.latent.level == pytest.approx(objective.labels.mean().item(), abs=1e-5)
    square = (model.latent.members(objective.places) - objective.labels).square()
    assert loss.item() == pytest.approx((objective.bags.T * square).mean(1).sum().item(), rel=0.1)
    assert objective.bags.mean().item() == pytest.approx(1, abs=0.3) and set(objective.bags.unique().tolist()) > {0, 1}
    (gradient,) = torch.autograd.grad(loss, model.latent.weights[0])
    assert gradient.flatten(1).any(1).all()
    # Those in the bags stay there when further places come.
    places, bags = objective.places.clone(), objective.bags.clone()
    objective.observe(weighed(40, 0.5, batches=1)[0])
    for _ in range(10):
        objective(model, Harmonic(SYSTEM), asked(1))
    there = (objective.places.unsqueeze(1) == places).all(-1)
    assert len(objective.places) == 80 and torch.equal(objective.bags[there.any(1)], bags)


def test_the_regression_learns_the_free_energy():
    objective, model = FreeEnergyRegression(), networks(hidden=[32, 32])
    z = (8 * torch.rand(60, 1) - 4).repeat(30, 1)
    noise = 0.2 * torch.randn(len(z), dtype=torch.float64)
    objective.observe(Evaluated(z, torch.zeros(len(z), 2), noise - exact(z).double()))
    optimizer = torch.optim.Adam(model.latent.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        objective(model, Harmonic(SYSTEM), asked(1)).loss.backward()
        optimizer.step()
    near = GRID[(GRID.abs() < 3.5)[:, 0]]
    assert (model.latent.potential(near) - exact(near)).abs().max() < 0.25


def test_networks_are_asked_for():
    with pytest.raises(InputError, match="trains networks; found latent FreeEnergySplines; choose"):
        FreeEnergyRegression()(model_of(), Harmonic(SYSTEM), asked(1))
    with pytest.raises(InputError, match="objective.latest: expected at least 1; found 0"):
        FreeEnergyRegression(latest=0)
    with pytest.raises(InputError, match="objective.share: expected a number above 0 and at most 1, .*; found 1.5"):
        FreeEnergyRegression(share=1.5)
