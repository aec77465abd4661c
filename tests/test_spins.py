"""Chains of spins, against sums over all of their states, and the densities made of them."""

import itertools
import math

import pytest
import torch

from predcg.densities import (
    Majority,
    MajorityBlocks,
    SpinBlocks,
    SpinChain,
    fine_correlations,
    fine_magnetisation,
    log_evidence,
)
from predcg.errors import InputError
from predcg.spins import Spins, features

N = 7


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=n)), dtype=torch.float64)


@pytest.fixture(
    params=[(True, 1, 0.0), (True, 3, 0.3), (True, 1, -0.4), (False, 1, 0.0), (False, 2, 0.3), (False, 4, 0.0)], ids=str
)
def spins(request):
    """Rings and open chains with fields, pairs and triples."""
    periodic, reach, triple = request.param
    return Spins(
        torch.randn(N, dtype=torch.float64),
        0.5 * torch.randn(reach, dtype=torch.float64),
        torch.tensor(triple, dtype=torch.float64),
        periodic,
    )


def weights(spins):
    """Of all states, by the double sum as it is written."""
    total = []
    for s in states(N).tolist():
        w = sum(f * one for f, one in zip(spins.field.tolist(), s, strict=True))
        for i, k in itertools.product(range(N), range(1, len(spins.pair) + 1)):
            if spins.periodic or i + k < N:
                w += spins.pair[k - 1].item() * s[i] * s[(i + k) % N]
        w += sum(
            spins.triple.item() * s[i] * s[(i + 1) % N] * s[(i + 2) % N] for i in range(N if spins.periodic else N - 2)
        )
        total.append(w)
    return torch.tensor(total, dtype=torch.float64)


def test_sums_over_all_states_are_exact(spins):
    log_w = weights(spins)
    assert torch.allclose(spins.log_weight(states(N)), log_w)
    assert spins.log_z().item() == pytest.approx(log_w.logsumexp(0).item(), abs=1e-10)
    assert torch.allclose(spins.means(), log_w.softmax(0) @ states(N), atol=1e-10)


def test_a_batch_of_fields_is_summed_at_once(spins):
    batch = spins._replace(field=torch.randn(3, 2, N, dtype=torch.float64))
    alone = torch.stack([spins._replace(field=field).log_z() for field in batch.field.flatten(0, 1)]).view(3, 2)
    assert torch.allclose(batch.log_z(), alone)


def test_correlations_are_exact(spins):
    spins = spins._replace(field=spins.field[:1].expand(N))
    p, s = weights(spins).softmax(0), states(N)
    for lag, found in enumerate(spins.correlations().tolist(), 1):
        pairs = s * s.roll(-lag, -1) if spins.periodic else s[:, :-lag] * s[:, lag:]
        assert found == pytest.approx((p @ pairs.mean(-1)).item(), abs=1e-10)


@pytest.mark.parametrize(
    "draw",
    [lambda spins, n: spins.sample(n), lambda spins, n: spins.gibbs_sweeps(torch.ones(n, N, dtype=torch.float64), 60)],
    ids=["exact", "gibbs"],
)
def test_draws_have_the_exact_moments(spins, draw):
    n, p, s = 40_000, weights(spins).softmax(0), states(N)
    x = draw(spins, n)
    assert set(x.unique().tolist()) == {-1.0, 1.0}
    for measure in (
        lambda s: s,
        lambda s: s * s.roll(-1, -1),
        lambda s: s * s.roll(-3, -1),
        lambda s: s.prod(-1, keepdim=True),
    ):
        exact = p @ measure(s)
        error = ((1 - exact**2) / n).sqrt()
        assert ((measure(x).mean(0) - exact).abs() < 5 * error + 1e-9).all()


def test_annealed_importance_sampling_stands_in_where_transfer_matrices_do_not_reach(spins, monkeypatch):
    exact = spins.log_z().item()
    monkeypatch.setattr("predcg.spins.ENTRIES", 0)
    assert not spins.countable
    field = spins.field.clone().requires_grad_()
    estimates = torch.stack([spins._replace(field=field).log_z() for _ in range(4)])
    assert estimates.mean().item() == pytest.approx(exact, abs=0.05)
    (mean,) = torch.autograd.grad(estimates.mean(), field)
    assert torch.allclose(mean, weights(spins).softmax(0) @ states(N), atol=0.1)


def test_gibbs_sampling_of_two_seeds_differs_and_of_one_does_not(spins):
    def run(seed):
        return spins.gibbs_sweeps(torch.ones(5, N), 3, torch.Generator().manual_seed(seed))

    assert torch.equal(run(0), run(0)) and not torch.equal(run(0), run(1))


# Densities


@pytest.fixture(params=[(1, False, False), (2, True, True), (0, True, False)], ids=str)
def latent(request):
    reach, linear, triple = request.param
    chain = SpinChain(4, reach, linear, triple, field=0.4, beta=0.7)
    with torch.no_grad():
        chain.energy.weight.copy_(torch.randn_like(chain.energy.weight))
    return chain


def minus_beta_u(latent, s):
    theta, sums = latent.couplings, features(s, max(latent.reach, 1), True)
    total = (latent.field + 0.5 * theta.get("lin", 0.0)) * sums[:, 0] + 0.5 * theta.get("3rd", 0.0) * sums[:, -1]
    return latent.beta * (total + sum(theta[str(k)] * sums[:, k] for k in range(1, latent.reach + 1)))


def test_a_coarse_chain_is_normalised(latent):
    s = states(4)
    assert torch.allclose(latent().log_prob(s.float()).double(), minus_beta_u(latent, s).log_softmax(0), atol=1e-5)
    share = (latent().sample((40_000,)).double().unsqueeze(1) == s).all(-1).double().mean(0)
    p = minus_beta_u(latent, s).softmax(0)
    assert ((share - p).abs() < 5 * (p * (1 - p) / 40_000).sqrt() + 1e-9).all()


@pytest.mark.parametrize("entries", [2**25, 0], ids=["exact", "sampled"])
def test_information_is_the_covariance_of_the_sums(latent, entries, monkeypatch):
    def energies(theta):
        return torch.func.functional_call(latent, {"energy.weight": theta}, ()).spins.log_weight(states(4))

    slopes = torch.autograd.functional.jacobian(energies, latent.energy.weight).flatten(1).double()  # (states, k)
    p = minus_beta_u(latent, states(4)).softmax(0)
    exact = (slopes - p @ slopes).T @ (p.unsqueeze(-1) * (slopes - p @ slopes))
    monkeypatch.setattr("predcg.spins.ENTRIES", entries)
    assert torch.allclose(
        latent.information()["energy.weight"], exact, atol=1e-6 if entries else 0.3 * exact.abs().max().item()
    )


DECODERS = {"blocks": lambda: SpinBlocks(2, 6, 0.8), "majority": lambda: MajorityBlocks(2, 6)}


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_of_spins_sums_to_one_and_has_its_mean(decoder):
    density, x = DECODERS[decoder](), states(6).float()
    for coarse in states(2).float():
        p = density(coarse).log_prob(x).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(density(coarse).mean, p @ x, atol=1e-6)
        alone, together = density.alignment
        assert torch.allclose(p @ x, alone * coarse.repeat_interleave(3), atol=1e-6)
        assert (p @ (x[:, 0] * x[:, 1])).item() == pytest.approx(together, abs=1e-5)
    drawn = density(torch.ones(40_000, 2)).sample()
    assert drawn.shape == (40_000, 6) and drawn.mean().item() == pytest.approx(alone, abs=0.01)


def test_the_map_is_the_majority_and_ties_are_random():
    q = Majority(6, 3)(torch.tensor([[1.0, 1.0, -1.0, -1.0, 1.0, -1.0]]))
    assert q.mean.tolist() == [[1.0, -1.0, 0.0]]
    assert q.sample((20_000,)).mean((0, 1)).tolist() == pytest.approx([1.0, -1.0, 0.0], abs=0.05)


def test_evidence_and_fine_moments_are_sums_over_the_coarse_chain(latent):
    decoder, x, coarse = SpinBlocks(4, 8, 0.8), states(8).float(), states(4)
    joint = torch.stack([decoder(s.float()).log_prob(x).double() for s in coarse]) + minus_beta_u(
        latent, coarse
    ).log_softmax(0).unsqueeze(-1)
    log_p = joint.logsumexp(0)
    assert torch.allclose(log_evidence(latent, decoder, x), log_p, atol=1e-5)
    p = log_p.exp()
    assert fine_magnetisation(latent, decoder) == pytest.approx((p @ x.double().mean(-1)).item(), abs=1e-5)
    exact = torch.stack([p @ (x * x.roll(-lag, -1)).double().mean(-1) for lag in range(1, 5)])
    assert torch.allclose(fine_correlations(latent, decoder), exact, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpinBlocks(5, 32, 0.7), "z: expected a divisor of the 32 fine spins.*found 5"),
        (lambda: Majority(32, 5), "z: expected a divisor of the 32 fine spins"),
        (lambda: SpinBlocks(4, 32, 1.0), r"decoder.agreement: expected a probability θ_cf in \(0, 1\); found 1.0"),
        (lambda: SpinBlocks(4, 32, -0.1), "decoder.agreement"),
        (
            lambda: SpinChain(4, 4, False, False, 0.0, 1.0),
            "latent.reach: expected between 0 and one less than the z = 4 coarse spins; found 4",
        ),
        (
            lambda: SpinChain(2, 1, False, True, 0.0, 1.0),
            "latent.triple: expected at least 3 coarse spins; found z = 2",
        ),
        (lambda: SpinChain(4, 0, False, False, 0.0, 1.0), "latent: expected at least one coupling"),
    ],
)
def test_densities_of_spins_name_what_they_cannot_use(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_strong_coupling_stays_finite():
    ring = Spins(torch.zeros(64, dtype=torch.float64), torch.tensor([30.0], dtype=torch.float64), torch.zeros(()), True)
    assert ring.log_z().item() == pytest.approx(64 * 30 + math.log(2), abs=1e-8)
