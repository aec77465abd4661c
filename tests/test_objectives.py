"""Objectives and importance weights, against the exact answers of a linear-Gaussian model."""

import inspect
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from conftest import Linear
from torch import nn

from predcg.batch import Batch
from predcg.densities import (
    Completing,
    Density,
    FreeEnergyNetworks,
    FreeEnergySplines,
    FreeScale,
    GaussianMLP,
    Majority,
    MajorityBlocks,
    Observed,
    SinhArcsinh,
    SpinBlocks,
    SpinChain,
    StandardNormal,
)
from predcg.densities.gaussian import Gaussian
from predcg.errors import InputError, NonFiniteError
from predcg.importance import Weighted, draw, log_z_bounds
from predcg.model import Model
from predcg.objectives import (
    EM,
    ConditionalKL,
    Evaluated,
    ExactEM,
    ForwardKL,
    FreeEnergyMatching,
    FreeEnergyRegression,
    Mixed,
    Objective,
    RelativeEntropy,
    Replay,
    ReverseKL,
    Sum,
    Terms,
)
from predcg.observables import Combinations
from predcg.systems import Harmonic, IsingChain, System
from predcg.transforms import Matrix, Transform


def system_of(linear):
    """The harmonic system whose density is exactly the model's marginal."""
    return Harmonic([math.sqrt(linear.variance)])


@pytest.fixture(params=["forward", "reverse", "mixed"])
def objective(request):
    return {
        "forward": ForwardKL(samples=4),
        "reverse": ReverseKL(samples=4000),
        "mixed": Mixed(0.3, ForwardKL(samples=4), ReverseKL(samples=4000)),
    }[request.param]


def test_is_minus_the_exact_log_evidence_where_model_and_posterior_are_exact(objective, linear):
    """With the true posterior as encoder both bounds are tight: forward -E log p(x), reverse -log Z."""
    system, batch = system_of(linear), Batch.of(system_of(linear).sample(20_000))
    forward = -linear.log_prob(batch.x).mean().item()
    reverse = -system.exact()["log_z"]
    expected = {ForwardKL: forward, ReverseKL: reverse, Mixed: 0.3 * forward + 0.7 * reverse}[type(objective)]
    assert objective(linear.model(), system, batch).loss.item() == pytest.approx(expected, abs=1e-4)


def test_gradient_vanishes_at_the_optimum_and_points_downhill_elsewhere(objective, linear):
    system, batch, model = system_of(linear), Batch.of(system_of(linear).sample(50_000)), linear.model()
    slope = model.decoder.mean.weight

    def gradient():
        (value,) = torch.autograd.grad(objective(model, system, batch).loss, slope)
        return value.item()

    assert abs(gradient()) < 0.05
    with torch.no_grad():
        slope.add_(0.5)
    assert gradient() > 0.1


def test_weights_of_the_batch_act_as_repetition(linear):
    model, system = linear.model(), system_of(linear)
    x = torch.tensor([[0.5], [-1.0]])
    weighted = Batch(x, torch.tensor([3.0, 1.0]))
    repeated = Batch.of(torch.tensor([[0.5], [0.5], [0.5], [-1.0]]))
    assert ForwardKL()(model, system, weighted).loss.item() == pytest.approx(
        ForwardKL()(model, system, repeated).loss.item(), abs=1e-5
    )


def test_beta_scales_the_energy(linear):
    model, system = linear.model(), system_of(linear)
    objective = Mixed(0.0, ForwardKL(), ReverseKL(200_000))
    losses = {}
    for beta in (0.2, 1.0):
        objective.temper(beta)
        torch.manual_seed(3)
        losses[beta] = objective(model, system, Batch.of(torch.zeros(0, 1))).loss.item()
    assert losses[1.0] - losses[0.2] == pytest.approx(0.8 * 0.5, abs=0.01)  # mean energy of a harmonic coordinate: ½ kT


def test_mixed_needs_no_data_at_zero_and_no_energy_at_one(linear):
    model, system = linear.model(), system_of(linear)
    nothing = Batch.of(torch.zeros(0, 1))
    assert torch.isfinite(Mixed(0.0, ForwardKL(), ReverseKL()).forward(model, system, nothing).loss)
    before = int(system.evaluations)
    Mixed(1.0, ForwardKL(), ReverseKL())(model, system, Batch.of(system.sample(3)))
    assert int(system.evaluations) == before
    with pytest.raises(InputError, match="there are none"):
        ForwardKL()(model, system, nothing)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_outside_the_unit_interval_is_refused(alpha):
    with pytest.raises(InputError, match=r"alpha: expected a number in \[0, 1\]"):
        Mixed(alpha, ForwardKL(), ReverseKL())


def wrong(linear) -> Model:
    """The exact model with an encoder that is too wide and off."""
    model = linear.model()
    with torch.no_grad():
        model.encoder.mean.weight.mul_(0.8)
        model.encoder.scale.log_variance.add_(0.5)
    return model


def test_estimates_of_log_prob_bracket_the_exact_one(linear):
    model, n = wrong(linear), 100_000
    z = model.latent().sample((n,))
    x = model.decoder(z).sample()
    exact = linear.log_prob(x)
    below, above = model.log_prob(x, 2) - exact, model.log_prob(x, 2, z) - exact
    assert below.mean() < -3 * below.std() / math.sqrt(n)
    assert above.mean() > 3 * above.std() / math.sqrt(n)
    inverse = (-above).exp()  # E[p(x) / estimate] = 1, for two draws as for many
    assert inverse.mean().item() == pytest.approx(1, abs=4 * inverse.std().item() / math.sqrt(n))


def test_bounds_bracket_log_z(linear):
    system = Harmonic([2.0])
    bounds = log_z_bounds(wrong(linear), system, system.sample(50_000), 50_000, samples=4)
    exact = system.exact()["log_z"]
    assert bounds["log_z_lower"] < exact - 0.01 and bounds["log_z_upper"] > exact + 0.01


def test_importance_weights_recover_the_systems_averages_and_log_z(linear):
    system = Harmonic([1.2])
    weighted = draw(wrong(linear), system, 200_000, samples=4)
    mean, error = weighted.mean(weighted.x[:, 0] ** 2)
    assert mean == pytest.approx(1.44, abs=5 * error) and error < 0.02
    log_z, error = weighted.log_z
    assert log_z == pytest.approx(system.exact()["log_z"], abs=5 * error) and error < 0.01
    assert 0.3 < weighted.effective_sample_size < 1


def test_effective_sample_size_of_equal_and_of_one_weight():
    assert Weighted(torch.zeros(8, 1), torch.full((8,), -3.0)).effective_sample_size == pytest.approx(1)
    assert Weighted(torch.zeros(8, 1), torch.tensor([0.0] + [-1e4] * 7)).effective_sample_size == pytest.approx(1 / 8)


def replay(**changes) -> Replay:
    return Replay(
        ForwardKL(4), **{"size": 1, "batch_size": 32, "frames": 100, "keep": 3, "every": 2, "samples": 4} | changes
    )


NONE = Batch.of(torch.zeros(0, 1))


def test_replayed_draws_are_the_models_and_weigh_what_they_should(linear):
    objective, system = replay(frames=20_000, keep=1), Harmonic([1.2])
    objective.temper(0.5)
    objective(linear.model(), system, NONE)
    x = objective.x
    assert x.var().item() == pytest.approx(linear.variance, rel=0.05)
    exact = -0.5 * 0.5 * (x[:, 0] / 1.2) ** 2 - linear.log_prob(x)  # p_β = N(0, 1.2² / β)
    assert objective.log_w.tolist() == pytest.approx(exact.tolist(), abs=1e-4)


def test_replay_has_the_gradient_of_exact_data(linear):
    beta, scale, model = 0.7, 1.2, linear.model()
    objective = replay(frames=200_000, batch_size=200_000, keep=1, samples=1)
    objective.temper(beta)
    exact = Batch.of(torch.randn(200_000, 1) * scale / math.sqrt(beta))
    found, expected = (
        torch.autograd.grad(loss(model, Harmonic([scale]), batch).loss, model.decoder.mean.weight)[0].item()
        for loss, batch in ((objective, NONE), (ForwardKL(4), exact))
    )
    # of -log N(0, s²), s² = a² + σ²: (1 - <x²> / s²) a / s²
    assert expected == pytest.approx((1 - scale**2 / beta / linear.variance) * linear.a / linear.variance, abs=0.01)
    assert found == pytest.approx(expected, abs=0.015) and abs(expected) > 0.1


def test_replay_fills_on_time_keeps_some_and_forgets_what_was_weighted_for_another_beta(linear):
    objective, system, model = replay(), Harmonic([1.0]), linear.model()
    cost, filled = [], []
    for beta in [0.5] * 3 + [1.0] * 8:
        before = int(system.evaluations)
        objective.temper(beta)
        objective(model, system, NONE)
        cost.append(int(system.evaluations) - before)
        filled.append(int(objective.log_w.isfinite().sum()))
    assert cost == [100, 0, 100] + [100, 0] * 4
    assert filled == [100, 100, 200] + [100, 100, 200, 200, 300, 300, 300, 300]


def test_replay_in_evaluation_mode_keeps_nothing_and_costs_the_mean_of_a_step(linear):
    objective, system = replay().eval(), Harmonic([1.0])
    state = {name: value.clone() for name, value in objective.state_dict().items()}
    assert torch.isfinite(objective(linear.model(), system, NONE).loss)
    assert int(system.evaluations) == 50
    assert all(torch.equal(value, state[name]) for name, value in objective.state_dict().items())


def test_draws_without_a_finite_energy_are_not_replayed(linear):
    class Wall(Harmonic):
        def energy(self, x):
            return torch.where(x[..., 0] > 0, super().energy(x), torch.nan)

    objective, system = replay(keep=1, samples=1), Wall([1.0])
    objective(linear.model(), system, NONE)
    assert torch.equal(objective.log_w.isfinite(), objective.x[:, 0] > 0)
    system.energy = lambda x: torch.full_like(x[..., 0], torch.nan)
    with pytest.raises(NonFiniteError, match="none of 50 draws"):
        objective.eval()(linear.model(), system, NONE)


@pytest.mark.parametrize("name", ["batch_size", "frames", "keep", "every"])
def test_replay_is_checked(name):
    with pytest.raises(InputError, match=f"{name}: expected at least 1; found 0"):
        replay(**{name: 0})


def test_the_share_of_the_forward_divergence_may_change_at_the_target(linear):
    objective, system = Mixed(0.25, replay(), ReverseKL(10), target_alpha=1.0), Harmonic([1.0])
    shares = {}
    for beta in (0.5, 0.95, 1.0):
        objective.temper(beta)
        before = int(system.evaluations)
        terms = objective(linear.model(), system, NONE)
        shares[beta] = (terms.log["alpha"].item(), "reverse_bound" in terms.log, int(system.evaluations) - before)
    assert shares == {0.5: (0.25, True, 110), 0.95: (0.25, True, 110), 1.0: (1.0, False, 100)}
    # A rehearsal at β = 1 knows what tempering will need.
    assert "reverse_bound" in objective.eval()(linear.model(), system, NONE).log
    with pytest.raises(InputError, match=r"target_alpha: expected a number in \[0, 1\]; found 2"):
        Mixed(0.5, ForwardKL(), ReverseKL(), target_alpha=2)


NOTHING = Batch.of(torch.zeros(0, 1))


@pytest.mark.parametrize("path", [False, True])
def test_gradients_of_the_reverse_kl_have_the_exact_mean(path, linear):
    """x = a z + σ ε against ½ (x/s)² and r = N(k x, t²): L = v / 2s² - ½ log σ² + ½ log t² + ((1 - k a)² + k² σ²) / 2t²
    + const.
    """
    model, s2, n = wrong(linear), 4.0, 400
    a, k, sigma2 = linear.a, model.encoder.mean.weight.item(), linear.sigma**2
    t2 = model.encoder.scale.log_variance.exp().item()
    exact = [
        a / s2 - k * (1 - k * a) / t2,
        sigma2 * (1 / s2 + k**2 / t2) / 2 - 0.5,
        (k * sigma2 - a * (1 - k * a)) / t2,
        0.5 - ((1 - k * a) ** 2 + k**2 * sigma2) / (2 * t2),
    ]
    weights = [
        model.decoder.mean.weight,
        model.decoder.scale.log_variance,
        model.encoder.mean.weight,
        model.encoder.scale.log_variance,
    ]
    objective = ReverseKL(500, path=path)
    found = torch.stack(
        [
            torch.cat(
                [g.flatten() for g in torch.autograd.grad(objective(model, Harmonic([2.0]), NOTHING).loss, weights)]
            )
            for _ in range(n)
        ]
    )
    assert ((found.mean(0) - torch.tensor(exact)).abs() < 5 * found.std(0) / math.sqrt(n)).all()
    assert (found.std(0) / math.sqrt(n)).max() < 0.01


class Stretched(Transform):
    """y = e^s x with s learnt."""

    def __init__(self, s: float):
        super().__init__()
        self.s = nn.Parameter(torch.tensor(s))

    def _call(self, x):
        return self.s.exp() * x

    def _inverse(self, y):
        return y / self.s.exp()

    def log_abs_det_jacobian(self, x, y):
        return self.s * x.shape[-1]


@pytest.mark.parametrize("transform", [None, Stretched(0.3)])
def test_path_gradients_of_an_exact_model_are_zero_draw_by_draw(transform, linear):
    model = linear.model()
    if transform is not None:
        decoder = GaussianMLP(1, 1, hidden=[1], activations=["Identity"], scale=FreeScale, transform=transform)
        decoder.load_state_dict(model.decoder.state_dict() | {"transform.s": transform.s.data})
        with torch.no_grad():
            decoder.mean.weight.mul_(math.exp(0.3))
            decoder.scale.log_variance.add_(0.6)
        model.decoder = decoder
    model, system, weights = model.double(), system_of(linear).double(), list(model.decoder.parameters())
    for _ in range(5):
        for path in (True, False):
            loss = ReverseKL(1, path=path)(model, system, NOTHING).loss
            longest = max(g.abs().max().item() for g in torch.autograd.grad(loss, weights))
            assert longest < 1e-6 if path else longest > 1e-3
    assert loss.item() == pytest.approx(-system.exact()["log_z"], abs=1e-6)


class Sqrt(System):
    """u = Σ √x: nothing for negative x, and an infinite slope at 0."""

    def energy(self, x):
        return x.sqrt().sum(-1)


def fixed(x):
    """A model whose draws are these, with densities that do not depend on them."""
    drawn = SimpleNamespace(has_rsample=True, rsample_and_log_prob=lambda shape: (x, torch.zeros(len(x))))
    return SimpleNamespace(latent=StandardNormal(1), decoder=lambda z: drawn, encoder=lambda x: StandardNormal(1)())


def test_long_slopes_are_shortened_to_so_many_medians():
    # Of lengths 5, 1, 1.5, 5e30, 0.
    slopes = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 1.5], [3e30, 4e30], [0.0, 0.0]])
    x = (slopes * 1e-30).requires_grad_()
    objective, system = ReverseKL(5, cap=2.0), Harmonic([1e-15, 1e-15])
    terms = objective(fixed(x), system, NOTHING)
    assert objective.eval()(fixed(x), system, NOTHING).loss == terms.loss
    (gradient,) = torch.autograd.grad(terms.loss, x)
    expected = torch.tensor([[1.8, 2.4], [0.6, 0.8], [0.0, 1.5], [1.8, 2.4], [0.0, 0.0]]) / 5
    assert torch.allclose(gradient, expected, rtol=1e-5)


def test_draws_without_a_finite_energy_or_slope_are_left_out_and_counted():
    x = torch.tensor([[4.0], [-1.0], [0.0], [16.0]], requires_grad=True)
    objective = ReverseKL(4, dropped=0.5)
    terms = objective(fixed(x), Sqrt(1), NOTHING)
    (gradient,) = torch.autograd.grad(terms.loss, x)
    assert (
        terms.loss.item() == pytest.approx((2 + 4) / 2, rel=1e-6)
        and terms.log["mean_energy"] == 3
        and terms.log["dropped"] == 2
    )
    assert gradient.flatten().tolist() == pytest.approx([0.25 / 2, 0, 0, 0.125 / 2])
    assert objective.dropped_samples == 2
    assert objective.eval()(fixed(x), Sqrt(1), NOTHING).log["dropped"] == 1  # a slope is not asked for
    assert objective.dropped_samples == 2
    with pytest.raises(
        NonFiniteError, match="2 of 4 draws have no finite energy or slope, more than the share dropped = 0.49"
    ) as caught:
        ReverseKL(4, dropped=0.49)(fixed(x), Sqrt(1), NOTHING)
    assert caught.value.x.tolist() == [-1.0]
    with pytest.raises(NonFiniteError, match="4 of 4 draws"):  # none is left to be drawn anew
        objective(fixed(torch.full((4, 1), float("nan"))), Sqrt(1), NOTHING)


def test_what_is_left_out_does_not_touch_the_gradient_of_the_rest(linear):
    model, system, n = linear.model(), Sqrt(1), 200
    torch.manual_seed(5)
    loss = ReverseKL(n, dropped=0.9)(model, system, NOTHING).loss
    weights = list(model.parameters())
    found = torch.autograd.grad(loss, weights)
    torch.manual_seed(5)
    z, noise = torch.randn(n, 1), torch.randn(n, 1)
    z, noise = (value[(linear.a * z + linear.sigma * noise > 0).flatten()] for value in (z, noise))
    assert 60 < len(z) < 140
    decoder, encoder = model.decoder, model.encoder
    x = decoder.mean(decoder.trunk(z)) + (0.5 * decoder.scale.log_variance).exp() * noise
    variance = encoder.scale.log_variance.exp()
    log_r = -0.5 * (z - encoder.mean(encoder.trunk(x))) ** 2 / variance - 0.5 * (2 * math.pi * variance).log()
    log_q = -0.5 * noise**2 - 0.5 * decoder.scale.log_variance - 0.5 * z**2 - math.log(2 * math.pi)
    expected = (x.sqrt() + log_q - log_r).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for value, other in zip(found, torch.autograd.grad(expected, weights), strict=True):
        assert torch.allclose(value, other, atol=1e-5)


class Overflowing(Density):
    """N(exp(w z), 1), beyond float32 for z > 0.887 at w = 100."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(100.0))

    def forward(self, c):
        mean = (self.w * c).exp()
        return Gaussian(mean, torch.zeros_like(mean))


def test_draws_that_are_not_finite_themselves_leave_before_they_spoil_the_gradient():
    model = SimpleNamespace(latent=StandardNormal(1), decoder=Overflowing(), encoder=lambda x: StandardNormal(1)())
    flat = Harmonic([1e30])
    objective = ReverseKL(1000, dropped=0.5)
    torch.manual_seed(2)
    terms = objective(model, flat, NOTHING)
    torch.manual_seed(2)
    lost = (torch.randn(1000, 1) > math.log(torch.finfo(torch.float32).max) / 100).sum().item()
    assert terms.log["dropped"] == lost == objective.dropped_samples and 100 < lost < 300
    (gradient,) = torch.autograd.grad(terms.loss, model.decoder.w)
    assert gradient.isfinite() and terms.loss.isfinite()
    with torch.no_grad():
        model.decoder.w.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="1000 of 1000"):
        objective(model, flat, NOTHING)


@pytest.mark.parametrize(("argument", "value"), [("samples", 0), ("cap", 0.5), ("dropped", 1.0)])
def test_numbers_of_the_reverse_kl_are_checked(argument, value):
    with pytest.raises(InputError, match=f"{argument}: expected .*; found {value}"):
        ReverseKL(**{argument: value})


# One contract for all

RING = IsingChain(sites=8, coupling=1.0, reach=1, decay=1.0, field=0.2, beta=0.4)


def spin_model() -> Model:
    chain = SpinChain(size=4, reach=1, linear=False, triple=False, field=0.2, beta=0.4)
    return Model(chain, SpinBlocks(4, 8, 0.7), Majority(8, 4))


def em_case(objective: Objective):
    return objective, spin_model(), RING, Batch.of(RING.sample(12))


def real_case(objective: Objective):
    return objective, Linear().model(), Harmonic([1.2]), Batch.of(torch.randn(12, 1))


def conditional_case(objective: Objective, networks: bool = False):
    decoder = Completing(1, 2, partial(SinhArcsinh, hidden=[4], activations=["Tanh"]), Matrix([[1.0, -1.0]], 2))
    latent = FreeEnergyNetworks(1, [-3.0], [3.0]) if networks else FreeEnergySplines(1, [-3.0], [3.0], [8])
    model, z = Model(latent, decoder, Observed(Combinations([[1.0, -1.0]]))), torch.rand(12, 1)
    return objective, model, Harmonic([1.0, 2.0]), Batch(torch.zeros(12, 2), z=z)


# Every objective with what it can be called with, to be made anew.
CASES = {
    "forward": lambda: real_case(ForwardKL(3)),
    "reverse": lambda: real_case(ReverseKL(20)),
    "replay": lambda: real_case(replay(frames=60, every=3)),
    "mixed": lambda: real_case(Mixed(0.3, ForwardKL(), ReverseKL(20))),
    "mixed_replay": lambda: real_case(Mixed(0.5, replay(frames=60, every=3), ReverseKL(20), target_alpha=0.7)),
    "sum": lambda: real_case(Sum({"a": ForwardKL(), "b": ReverseKL(20)}, {"a": 0.5, "b": 2.0})),
    "conditional": lambda: conditional_case(ConditionalKL(every=4, replayed=16)),
    "conditional_source": lambda: conditional_case(ConditionalKL(every=1)),
    "matching": lambda: conditional_case(FreeEnergyMatching()),
    "regression": lambda: conditional_case(FreeEnergyRegression(), networks=True),
    "conditional_sum": lambda: conditional_case(
        Sum({"decoder": ConditionalKL(every=4), "latent": FreeEnergyMatching()}, {"decoder": 1.0, "latent": 1.0})
    ),
    "em": lambda: em_case(EM(samples=2, sweeps=1)),
    "exact_em": lambda: em_case(ExactEM()),
    "relative_entropy": lambda: (RelativeEntropy(3), blocks_model(), RING, Batch.of(RING.sample(12))),
}


def blocks_model() -> Model:
    model = spin_model()
    model.decoder = MajorityBlocks(4, 8)
    return model


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]()


def test_every_kind_of_objective_is_among_the_cases():
    def kinds(kind):
        return {kind} | {
            one for child in kind.__subclasses__() if child.__module__.startswith("predcg.") for one in kinds(child)
        }

    concrete = {kind for kind in kinds(Objective) if not inspect.isabstract(kind)}
    assert concrete == {type(make()[0]) for make in CASES.values()}


def test_an_objective_says_what_a_step_costs(case):
    objective, model, system, batch = case
    before, steps = int(system.evaluations), 24
    for _ in range(steps):
        objective(model, system, batch)
    assert (int(system.evaluations) - before) / steps == pytest.approx(objective.cost(len(batch)))


def test_an_objective_says_what_it_needs_of_a_batch(case):
    """With that alone it can be evaluated; without any of it, it says in one line what is missing."""
    objective, model, system, batch = case
    only = Batch(batch.x if "x" in objective.needs else batch.x[:0], z=batch.z if "z" in objective.needs else None)
    assert objective(model, system, only).loss.isfinite()
    for field in objective.needs:
        without = Batch(**{name: column[:0] if name == field else column for name, column in batch.columns().items()})
        with pytest.raises(InputError, match=r"^objective: \w+ learns from .* choose acquisition=\S+[^\n]*$"):
            objective(model, system, without)


def test_in_evaluation_mode_an_objective_keeps_nothing(case):
    objective, model, system, batch = case
    for _ in range(2):
        objective(model, system, batch)
    state = {name: value.clone() for name, value in objective.state_dict().items()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        assert objective.eval()(model, system, batch).loss.isfinite()
    assert all(torch.equal(value, state[name]) for name, value in objective.state_dict().items())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


class Counted(Objective):
    """scale · θ, of one weight of the decoder; counts its calls, and costs ten energies in name."""

    needs = frozenset({"z"})

    def __init__(self, scale: float):
        super().__init__()
        self.scale, self.calls, self.told = scale, 0, []

    def forward(self, model, system, batch):
        self.calls += 1
        terms = Evaluated(batch.z, batch.x, torch.zeros(len(batch)).double())
        return Terms(self.scale * model.decoder.mean.weight.sum(), {f"of_{self.scale:g}": torch.ones(())}, terms)

    def cost(self, batch_size):
        return 10.0

    def observe(self, evaluated):
        self.told.append(evaluated)


def test_a_sum_weighs_its_terms_and_tells_each_what_the_others_have_evaluated(linear):
    model, batch = linear.model(), Batch(torch.zeros(2, 1), z=torch.ones(2, 1))
    one, two, three = Counted(2.0), Counted(5.0), Counted(7.0)
    both = Sum({"one": one, "two": two, "three": three}, {"one": 0.25, "two": 3.0, "three": 0.0})
    terms = both(model, Harmonic([1.0]), batch)
    (gradient,) = torch.autograd.grad(terms.loss, model.decoder.mean.weight)
    assert gradient.item() == pytest.approx(0.25 * 2 + 3 * 5)
    assert terms.loss.item() == pytest.approx((0.25 * 2 + 3 * 5) * linear.a)
    assert set(terms.log) == {"of_2", "of_5"} and both.cost(5) == 20.0
    assert [len(term.told) for term in (one, two, three)] == [1, 1, 0] and one.told[0].z is batch.z
    both.eval()(model, Harmonic([1.0]), batch)
    assert [term.calls for term in (one, two, three)] == [2, 2, 0] and len(one.told) == 1


def test_a_term_of_no_weight_costs_and_needs_nothing(linear):
    system = Harmonic([1.0])
    for mode in (True, False):
        sum_of = Sum({"data": ForwardKL(), "energy": ReverseKL(20)}, {"data": 0.0, "energy": 1.0}).train(mode)
        assert sum_of(linear.model(), system, NONE).loss.isfinite() and not sum_of.needs and sum_of.cost(9) == 20
        before = int(system.evaluations)
        data = Sum({"data": ForwardKL(), "energy": ReverseKL(20)}, {"data": 1.0, "energy": 0.0}).train(mode)
        data(linear.model(), system, Batch.of(torch.zeros(2, 1)))
        assert int(system.evaluations) == before and data.needs == {"x"} and data.cost(9) == 0


def test_mixed_is_a_sum_and_its_checkpoints_are_those_of_before():
    mixed = Mixed(0.3, replay(), ReverseKL(7), target_alpha=1.0)
    assert isinstance(mixed, Sum) and mixed.cost(5) == 50 + 7
    mixed.temper(0.5)
    assert mixed.shares == {"forward": 0.3, "reverse": 0.7}
    mixed.temper(1.0)
    assert mixed.shares == {"forward": 1.0, "reverse": 0.0}
    names = {"beta", "divergences.0.beta", "divergences.0.divergence.beta", "divergences.1.beta"}
    assert names | {"divergences.0.log_w", "divergences.1.dropped_samples"} <= mixed.state_dict().keys()
    with pytest.raises(InputError, match="ForwardKL learns from data"):
        Mixed(1.0, ForwardKL(), ReverseKL())(Linear().model(), Harmonic([1.0]), NONE)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"data": 1.0}, "expected one for each of data, energy; found data"),
        ({}, "expected one for each of data, energy; found none"),
        ({"data": -1.0, "energy": 1.0}, "expected numbers >= 0, at least one above 0"),
        ({"data": 0.0, "energy": 0.0}, "expected numbers >= 0, at least one above 0"),
    ],
)
def test_weights_of_a_sum_are_checked(weights, told):
    with pytest.raises(InputError, match=f"^objective.weights: {told}"):
        Sum({"data": ForwardKL(), "energy": ReverseKL()}, weights)
