"""Expectation maximisation of coarse spins, relative entropy, and the steps that they take."""

import math

import pytest
import torch

from predcg.batch import Batch
from predcg.densities import FreeScale, GaussianMLP, Majority, MajorityBlocks, SpinBlocks, SpinChain, StandardNormal
from predcg.errors import InputError
from predcg.model import Model
from predcg.objectives import EM, ExactEM, RelativeEntropy
from predcg.priors import Flat, Gaussian, StudentT
from predcg.spins import features
from predcg.systems import IsingChain
from predcg.training import Converged, Newton, RobbinsMonro

RING = IsingChain(sites=32, coupling=1.0, reach=1, decay=1.0, field=0.9, beta=0.3)


def model_of(system=RING, coarse=16, reach=1, linear=False, triple=False, agreement=0.7) -> Model:
    latent = SpinChain(coarse, reach, linear, triple, system.field, system.beta)
    return Model(latent, SpinBlocks(coarse, system.size, agreement), Majority(system.size, coarse))


class Steps:
    """Training without Lightning: what a callback needs of it."""

    def __init__(self, model, prior, objective, batch, rate=1.0):
        self.model, self.prior, self.objective, self.batch, self.rate = model, prior, objective, batch, rate

    def take(self, count: int) -> None:
        parameters = [*self.model.latent.parameters(), *self.model.decoder.parameters()]
        for _ in range(count):
            loss = self.objective(self.model, RING, self.batch).loss - self.prior(self.model.latent, self.model.decoder)
            self.model.zero_grad()
            loss.backward()
            Newton().on_before_optimizer_step(None, self, None)
            with torch.no_grad():
                for parameter in parameters:
                    parameter -= self.rate * parameter.grad


@pytest.fixture(scope="module")
def frames():
    torch.manual_seed(5)
    return Batch.of(RING.sample(4000))


def gradients(objective, model, batch):
    model.zero_grad()
    objective(model, RING, batch).loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_sampled_and_summed_coarse_spins_have_the_same_gradient(frames):
    model, batch = model_of(linear=True, triple=True), frames.frames(slice(0, 500))
    exact = gradients(ExactEM(), model, batch)
    drawn = torch.stack([gradients(EM(samples=4, sweeps=20), model, batch) for _ in range(20)])
    assert ((drawn.mean(0) - exact).abs() < 5 * drawn.std(0) / math.sqrt(20)).all()
    assert (drawn.std(0) < 0.1 * exact.abs().max()).all()


def test_a_newton_step_of_the_agreement_is_the_m_step(frames):
    """With the coarse spins held, θ_cf ← mean agreement, to first order in the change: a small step goes the same way
    as the closed form.
    """
    model = model_of(agreement=0.8)
    field, _ = model.decoder.evidence(frames.x)
    posterior = model.latent.spins(field).means().repeat_interleave(2, -1)
    closed = 0.5 * (1 + (frames.x * posterior).mean().item())
    Steps(model, Flat(), ExactEM(), frames, rate=0.01).take(1)
    assert (model.decoder.agreement.item() - 0.8) / 0.01 == pytest.approx(closed - 0.8, rel=0.02)


@pytest.mark.parametrize(
    ("field", "theta", "agreement", "error"),
    [(0.0, 1.239, 0.775, 0.08), (0.9, 1.892, 0.812, 0.12), (2.1, 2.413, 0.908, 0.2)],
)
def test_exact_em_finds_what_an_independent_one_has_found(field, theta, agreement, error):
    """Values of another program from 4,000 other frames; tolerances are three standard errors of both."""
    ring = IsingChain(32, 1.0, 1, 1.0, field, 0.3)
    model = model_of(ring)
    Steps(model, Flat(), ExactEM(), Batch.of(ring.sample(4000))).take(25)
    assert model.latent.couplings["1"] == pytest.approx(theta, abs=error)
    assert model.decoder.agreement.item() == pytest.approx(agreement, abs=0.02)


def true_model(linear: bool) -> Model:
    model = model_of(reach=2, linear=linear, agreement=0.9)
    with torch.no_grad():
        model.latent.energy.weight.copy_(torch.tensor([[*([1.2] if linear else []), 1.5, 0.0]]))
    return model


def test_em_recovers_the_model_that_made_the_data():
    torch.manual_seed(1)
    truth, learnt = true_model(linear=True), model_of(reach=2, linear=True)
    batch = Batch.of(truth.generate(4000))
    Steps(learnt, Flat(), EM(samples=4, sweeps=10), batch).take(25)
    Steps(learnt, Flat(), EM(samples=4, sweeps=10), batch, rate=0.1).take(40)
    found = torch.tensor([*learnt.latent.couplings.values(), learnt.decoder.agreement.item()])
    assert (found - torch.tensor([1.2, 1.5, 0.0, 0.9])).abs().max() < 0.12


@pytest.mark.parametrize("linear", [True, False])
def test_a_sparse_prior_finds_the_terms_that_made_the_data(linear):
    """Offered a linear term, pairs up to three and triples; the data come from [110] and from [010]."""
    torch.manual_seed(2)
    batch = Batch.of(true_model(linear).generate(2000))
    learnt, prior = model_of(reach=3, linear=True, triple=True), StudentT()
    prior.fit(len(batch.x))
    Steps(learnt, prior, EM(samples=4, sweeps=10), batch).take(60)
    kept = {name for name, value in learnt.latent.couplings.items() if abs(value) > 0.01}
    assert kept == ({"lin", "1"} if linear else {"1"})


def test_priors_are_about_couplings_and_newton_counts_their_curvature(frames):
    batch, strong = frames.frames(slice(0, 200)), Gaussian(weight=1.0, tau=50.0)
    free, held = model_of(), model_of()
    Steps(free, Flat(), ExactEM(), batch).take(15)
    Steps(held, strong, ExactEM(), batch).take(40)
    theta = held.latent.energy.weight
    loss = ExactEM()(held, RING, batch).loss - strong(held.latent, held.decoder)
    assert abs(torch.autograd.grad(loss, theta)[0].item()) < 1e-3  # a maximum of the posterior
    assert held.latent.couplings["1"] < 0.5 * free.latent.couplings["1"]


def test_relative_entropy_matches_the_moments_of_the_mapped_data(frames):
    latent, map_ = SpinChain(16, 1, False, False, RING.field, RING.beta), Majority(32, 16)
    model = Model(latent, MajorityBlocks(16, 32), map_)
    Steps(model, Flat(), RelativeEntropy(samples=20), frames).take(15)
    mapped = features(map_(frames.x).sample((20,)), 1, True)[..., 1].mean().item()
    assert 16 * latent.spins().correlations()[0].item() == pytest.approx(mapped, abs=0.05)
    assert latent.couplings["1"] == pytest.approx(0.608, abs=0.06)  # of another program, from other frames
    with pytest.raises(InputError, match="decoder=majority_blocks"):
        RelativeEntropy()(model_of(), RING, frames)


@pytest.mark.parametrize("kind", ["em", "exact_em", "relative_entropy"])
def test_weights_of_frames_count_like_copies(kind, frames):
    """Rare frames, those that magnetise least, weigh the more: loss and slopes are those of as many copies, within what
    the draws leave open.
    """
    rare = frames.x.mean(-1).argsort()[:60]
    weighted = Batch(torch.cat([frames.x[rare], frames.x[:60]]), torch.tensor([9.0] * 60 + [1.0] * 60))
    copies = Batch.of(torch.cat([frames.x[rare].repeat(9, 1), frames.x[:60]]))
    objective = {
        "em": EM(samples=20, sweeps=10),
        "exact_em": ExactEM(),
        "relative_entropy": RelativeEntropy(samples=20),
    }[kind]
    model = model_of(linear=True)
    if kind == "relative_entropy":
        model = Model(model.latent, MajorityBlocks(16, 32), model.encoder)
    several = 1 if kind == "exact_em" else 20
    one, other, even = (
        torch.stack([gradients(objective, model, batch) for _ in range(several)])
        for batch in (weighted, copies, Batch.of(weighted.x))
    )
    error = 0.0 if several == 1 else (one.var(0) + other.var(0)).div(several).sqrt()
    apart = (one.mean(0) - other.mean(0)).abs()
    assert (apart <= 5 * error + 1e-4).all()
    assert ((one.mean(0) - even.mean(0)).abs() > 10 * apart).any()  # without the weights it would be another gradient


def test_em_is_for_spins_and_for_data(frames):
    identity = {"hidden": [1], "activations": ["Identity"], "scale": FreeScale}
    other = Model(StandardNormal(1), GaussianMLP(1, 32, **identity), GaussianMLP(32, 1, **identity))
    for objective in (EM(samples=1, sweeps=1), ExactEM()):
        with pytest.raises(
            InputError,
            match=(
                "EM is for coarse spins: expected latent=spin_chain and decoder=spin_blocks; found StandardNormal and"
                " GaussianMLP"
            ),
        ):
            objective(other, RING, frames)
        with pytest.raises(InputError, match="there are none"):
            objective(model_of(), RING, Batch.of(torch.zeros(0, 32)))
    for arguments in ({"samples": 0, "sweeps": 1}, {"samples": 1, "sweeps": 0}):
        with pytest.raises(InputError, match="expected at least 1; found 0"):
            EM(**arguments)


def test_data_that_leave_a_parameter_open_leave_it_finite():
    """All spins up: the likelihood grows without bound, each step by less and less."""
    model = model_of(IsingChain(32, 1.0, 1, 1.0, 9.0, 1.0))
    Steps(model, Flat(), ExactEM(), Batch.of(torch.ones(5, 32))).take(60)
    assert torch.cat([parameter.flatten() for parameter in model.parameters()]).isfinite().all()
    assert model.decoder.agreement.item() > 0.999


def test_robbins_monro_has_its_rates():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = RobbinsMonro(optimizer, alpha=3.0, offset=4.0, power=0.75)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5 * 3 / (t + 4) ** 0.75 for t in range(5)])
    for power in (0.5, 1.1):
        with pytest.raises(InputError, match="½ < power <= 1"):
            RobbinsMonro(optimizer, alpha=1.0, offset=1.0, power=power)


class Watched:
    """A trainer, and a module with one parameter."""

    should_stop = False

    def __init__(self):
        self.model = torch.nn.Linear(1, 1, bias=False)


def stops_after(converged, path) -> int | None:
    watched = Watched()
    for step, value in enumerate(path, 1):
        with torch.no_grad():
            watched.model.weight.fill_(value)
        converged.on_train_batch_end(watched, watched, None, None, step - 1)
        if watched.should_stop:
            return step
    return None


def test_training_ends_when_the_means_of_two_windows_agree():
    still, moving = [5.0] * 20, [0.1 * step for step in range(20)]
    assert stops_after(Converged(window=4, tolerance=1e-3), still) == 8
    assert stops_after(Converged(window=4, tolerance=1e-3), moving) is None
    assert stops_after(Converged(window=4, tolerance=0.1), [10.0] * 4 + [10.9] * 4) == 8  # relative to what is large
    halves = Converged(window=4, tolerance=1e-3)
    assert stops_after(halves, still[:6]) is None
    resumed = Converged(window=4, tolerance=1e-3)
    resumed.load_state_dict(halves.state_dict())
    assert stops_after(resumed, still[:2]) == 2
    for arguments in ({"window": 0, "tolerance": 1.0}, {"window": 1, "tolerance": 0.0}):
        with pytest.raises(InputError, match="window, tolerance"):
            Converged(**arguments)
