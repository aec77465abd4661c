"""A free energy times p(x|z) as a generator, where all is known exactly: u = ½ (x² + y²/4), z = x - y."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import run_of
from scipy.stats import norm
from test_bins import Waves, torsion_run
from test_conditional import SLOPE, SYSTEM, VARIANCE, exact, model_of

from predcg.batch import Batch
from predcg.benchmarks.visits import seconds_per_evaluation, visits
from predcg.errors import InputError
from predcg.importance import Weighted, draw
from predcg.measures import bins, generator
from predcg.model import Model
from predcg.objectives import ConditionalKL
from predcg.systems import Harmonic

BOX = math.erf(6 / math.sqrt(2 * 5))  # the mass of z in the box of the latent density, Var z = 5


def known(**parts) -> Model:
    """The model with the exact F, of splines, members alike."""
    model = model_of(**parts)
    latent = model.latent
    z = torch.linspace(-6, 6, 400, dtype=torch.float64).unsqueeze(-1)
    index, value = latent.splines(z)
    matrix = torch.zeros(400, latent.splines.size, dtype=torch.float64).scatter_add(1, index, value)
    latent.theta.copy_(torch.linalg.lstsq(matrix, exact(z)).solution.expand_as(latent.theta))
    return model.requires_grad_(False)


def test_the_exact_generator_has_equal_weights_and_the_exact_log_z():
    weighted = draw(known(), Harmonic(SYSTEM), 500)
    assert torch.allclose(weighted.log_w, torch.full((500,), math.log(4 * math.pi * BOX)), atol=2e-3)
    assert weighted.effective_sample_size == pytest.approx(1, abs=1e-4)


def test_the_effective_size_of_a_wider_decoder_is_that_of_its_integral():
    """Of q with variance v instead of V, 1 / ∫ p²/q = √(V (2 v - V)) / v."""
    v = 1.8 * VARIANCE
    weighted = draw(known(variance=v), Harmonic(SYSTEM), 40_000)
    expected = math.sqrt(VARIANCE * (2 * v - VARIANCE)) / v
    assert weighted.effective_sample_size == pytest.approx(expected, abs=5 * weighted.effective_sample_size_error)
    assert weighted.effective_sample_size_error < 0.01


def test_the_density_of_a_completed_configuration_is_that_of_its_own_variables():
    model, x = known(variance=1.0, shift=0.4), Harmonic(SYSTEM).sample(30)
    z, r = x[:, 0] - x[:, 1], (x[:, 0] + x[:, 1]) / math.sqrt(2)
    log_z = -exact(z.unsqueeze(-1)).numpy() - math.log(4 * math.pi * BOX)
    # |∂(z, r)/∂(x, y)| = √2
    expected = log_z + norm.logpdf(r.numpy(), SLOPE * z.numpy() + 0.4, 1.0) + 0.5 * math.log(2)
    expected[abs(z) > 6] = -math.inf
    assert model.log_prob(x, samples=3).numpy() == pytest.approx(expected, abs=3e-3)
    torch.manual_seed(1)
    drawn, log_p = model.draw(50, samples=2)
    assert torch.allclose(log_p, model.log_prob(drawn, samples=2), atol=1e-3)


class Half:
    """A decoder's distribution, but on the side where r - mean > 0 alone."""

    def __init__(self, whole: Model, z: torch.Tensor):
        self.whole, self.z = whole, z

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        above = (x.sum(-1) / math.sqrt(2) - SLOPE * self.z.squeeze(-1)) > 0
        return torch.where(above, self.whole.decoder(self.z).log_prob(x) + math.log(2), -torch.inf)


def simulated(folder, system: Harmonic, n: int = 20_000):
    x = system.sample(n)
    Batch.of(x, system(x)).save(folder / "simulation/frames.npz")
    return run_of(system)._replace(folder=folder, name="simulation")


def test_two_sided_means_are_one_where_nothing_is_missed_and_the_share_that_is_not(tmp_path):
    system = Harmonic(SYSTEM)
    reference = simulated(tmp_path, system)
    run = run_of(system)._replace(model=known(variance=0.7 * VARIANCE, shift=0.2), seed=0)
    frames, log_ratio, numbers = generator.two_sided(run, reference)
    assert numbers["two_sided"] == pytest.approx(BOX, abs=4 * numbers["two_sided_error"])
    assert 0 < numbers["two_sided_error"] < 0.02
    assert numbers["outside_percent"] == pytest.approx(100 * (1 - BOX), abs=0.3)
    z = frames.x[:, 0] - frames.x[:, 1]
    log_q = norm.logpdf(frames.x.sum(1) / math.sqrt(2), SLOPE * z + 0.2, math.sqrt(0.7 * VARIANCE)) + 0.5 * math.log(2)
    log_w = (-frames.u + exact(z.unsqueeze(-1))).numpy() - log_q
    inside = (z.abs() < 6).numpy()
    assert (-log_ratio).numpy()[inside] == pytest.approx(log_w[inside], abs=5e-3)
    assert torch.equal(log_ratio.isfinite(), z.abs() < 6)
    assert numbers["largest_log_weight"] == pytest.approx(log_w[inside].max(), abs=5e-3)

    whole = known()
    half = SimpleNamespace(cv=whole.cv, latent=whole.latent, decoder=partial(Half, whole))
    whole.latent.theta += math.log(2)  # Its mean weight is half of e^-F.
    _, _, numbers = generator.two_sided(run._replace(model=half), reference)
    assert numbers["two_sided"] == pytest.approx(BOX / 2, abs=4 * numbers["two_sided_error"])
    assert numbers["outside_percent"] == pytest.approx(50, abs=2)
    with pytest.raises(InputError, match="expected a simulation of the system of some/experiment; found another one"):
        generator.two_sided(run._replace(system=Harmonic([1.0, 3.0])), reference)


def test_distances_of_draws_are_those_of_their_histograms(ala2, hinge, monkeypatch):
    x, log_w = hinge(torch.randn(400, 2)), torch.randn(400)
    log_w[3] = -torch.inf
    monkeypatch.setattr(generator, "draw", lambda model, system, n: Weighted(x, log_w))
    latent = Waves()
    truth = {12: bins.log_masses(latent, 12)}
    _, found = generator.full_space(SimpleNamespace(latent=latent), ala2, truth, 400)
    there = log_w.isfinite().numpy()
    angles, p = ala2.backbone(x).rad2deg().numpy()[there], truth[12].exp().numpy().reshape(12, 12)
    for name, w in {"": log_w.exp().numpy()[there], "_model": np.ones(there.sum())}.items():
        q = np.histogram2d(*angles.T, bins=12, range=[[-180, 180]] * 2, weights=w)[0] / w.sum()
        assert found[f"tv_12{name}"] == pytest.approx(0.5 * np.abs(p - q).sum(), abs=1e-6)
    assert found["tv_12_of_f"] == pytest.approx(0, abs=1e-9)
    # ½ Σ √(2 p (1 - p) / (π n)) of n independent draws, where each bin has many.
    assert found["tv_12_of_1e7"] == pytest.approx(np.sqrt(p * (1 - p) / (2 * math.pi * 1e7)).sum(), rel=0.2)
    w = log_w.double().softmax(0).numpy()
    assert found["ess"] == pytest.approx(1 / (w**2).sum() / 400)
    assert found["elbo_gap"] == pytest.approx(found["log_z"] - log_w[there].double().mean().item())
    assert found["eubo_gap"] == pytest.approx((w[there] * log_w.numpy()[there]).sum() - found["log_z"])


def test_dynamics_in_equilibrium_diverge_as_independent_frames_do(ala2):
    """The first frame of each replica, against multinomial counts; and the cost of no other evaluations."""
    system, model = Harmonic(SYSTEM), known(members=2)
    run = run_of(system)._replace(model=model, seed=3)
    p = np.diff(norm.cdf(np.linspace(-6, 6, 21), 0, math.sqrt(5)))
    p /= p.sum()
    log_p = torch.tensor(np.log(p))
    found = visits(run, log_p, steps=20 * 2000, replicas=2000)
    drawn = np.random.default_rng(0).multinomial(2000, p, size=400) / 2000
    expected = [(p * np.log(p / np.maximum(one, 1e-8))).sum() for one in drawn]
    assert found.steps == [40_000] and found.group_steps == [5000] and found.group_forward.shape == (1, 8)
    assert abs(found.forward[0] - np.mean(expected)) < 5 * np.std(expected)
    backward = [(one * np.log(np.maximum(one, 1e-300) / p)).sum() for one in drawn]
    assert abs(found.reverse[0] - np.mean(backward)) < 5 * np.std(backward)
    assert found.constant == found.steps[0] * found.forward[0]
    assert found.group_forward.mean() > 4 * found.forward[0]  # of an eighth of the frames
    assert found.seconds_per_step > 0


def test_longer_dynamics_are_marked_on_the_way():
    system = Harmonic(SYSTEM)
    run = run_of(system)._replace(model=known(members=2), seed=0)
    log_p = bins.log_masses(run.model.latent, 10)
    before = int(system.evaluations)
    found = visits(run, log_p, steps=20 * 64 * 40, replicas=64)
    assert found.steps == [20 * 64 * block for block in (1, 2, 5, 10, 20, 40)]
    assert int(system.evaluations) - before == 16 * 64 + 64 + 64 * 20 * 41
    assert found.forward[-1] < found.forward[0] and found.constant_error > 0


@pytest.mark.parametrize("path", [False, True])
def test_a_step_of_training_is_timed_on_a_copy(ala2, path):
    run = run_of(Harmonic(SYSTEM))._replace(model=known(), seed=0, recall=lambda: ConditionalKL(path=path))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    assert 0 < seconds_per_evaluation(run, 3, 16) < 1
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert torsion_run(ala2).model.latent.box.size == 2
