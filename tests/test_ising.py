"""The Ising chain: exact answers, its sampler and its observables, against enumeration and published values."""

import itertools
import math

import pytest
import torch
from conftest import ising

from predcg.errors import InputError
from predcg.observables import Correlations, Magnetisation
from predcg.samplers import Gibbs
from predcg.systems import Harmonic, IsingChain

NEAREST = {"sites": 32, "coupling": 1.0, "reach": 1, "decay": 1.0, "field": 0.0, "beta": 1.0}
LONG = NEAREST | {"coupling": 1.5, "reach": 10, "beta": 0.3}


def enumerated(system: IsingChain) -> tuple[torch.Tensor, torch.Tensor]:
    """All states and their log weights -u, by the double sum of the definition."""
    n, beta = system.size, system.beta
    states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=n)), dtype=torch.float64)
    energies = []
    for s in states.tolist():
        pairs = sum(
            j * s[i] * s[(i + k) % n]
            for k, j in enumerate(system.pair.tolist(), 1)
            for i in range(n)
            if system.periodic or i + k < n
        )
        energies.append(beta * (pairs + system.field * sum(s)))
    return states, torch.tensor(energies, dtype=torch.float64)


@pytest.mark.parametrize("periodic", [True, False])
def test_energy_and_exact_answers_are_those_of_all_states(periodic):
    system = IsingChain(sites=8, coupling=1.5, reach=3, decay=2.0, field=0.3, beta=0.7, periodic=periodic)
    assert system.pair.sum().item() == pytest.approx(1.5) and system.pair[2].item() == pytest.approx(
        system.pair[0].item() / 9
    )
    x, log_w = enumerated(system)
    assert torch.allclose(system(x), -log_w)
    exact, p = system.exact(), log_w.softmax(0)
    assert exact["log_z"] == pytest.approx(log_w.logsumexp(0).item(), abs=1e-9)
    assert exact["magnetisation"] == pytest.approx((p @ Magnetisation()(x)[:, 0]).item(), abs=1e-9)
    lags = [1, 2, 3, 4] if periodic else [1, 2, 3, 4, 5, 6, 7]
    measured = p @ Correlations(lags, periodic)(x)
    assert [exact[f"correlation_{lag}"] for lag in lags] == pytest.approx(measured.tolist(), abs=1e-9)


def test_nearest_neighbours_have_the_closed_form():
    for beta, field in ((1.0, 0.3), (0.3, 0.9), (0.3, 4.5)):
        system = IsingChain(**NEAREST | {"beta": beta, "field": field})
        root = math.sqrt(math.sinh(beta * field) ** 2 + math.exp(-4 * beta))
        large, small = (math.exp(beta) * (math.cosh(beta * field) + sign * root) for sign in (1, -1))
        infinite = math.sinh(beta * field) / root
        assert system.exact()["log_z"] == pytest.approx(math.log(large**32 + small**32), abs=1e-8)
        assert system.magnetisation() == pytest.approx(
            infinite * (1 - (small / large) ** 32) / (1 + (small / large) ** 32), abs=1e-8
        )


def test_long_range_correlations_are_those_of_an_independent_program():
    assert IsingChain(**LONG | {"decay": 2.0}).correlations()[:4].tolist() == pytest.approx(
        [0.349, 0.208, 0.142, 0.104], abs=6e-4
    )


@pytest.mark.parametrize(
    "settings",
    [LONG | {"field": 0.9, "reach": 6}, LONG | {"periodic": False, "reach": 4}, NEAREST | {"beta": 0.5}],
    ids=["ring", "open", "nearest"],
)
def test_exact_draws_and_gibbs_sampling_have_the_exact_moments(settings):
    system = IsingChain(**settings)
    exact, lags, n = system.exact(), [1, 2, 5], 4000
    drawn = {"exact": system.sample(n), "gibbs": Gibbs(stride=1, burn_in=150, seed=1).run(system, system.start(n), 1).x}
    for x in drawn.values():
        for values, name in [(Magnetisation()(x)[:, 0], "magnetisation")] + [
            (Correlations([lag], system.periodic)(x)[:, 0], f"correlation_{lag}") for lag in lags
        ]:
            assert values.mean().item() == pytest.approx(exact[name], abs=5 * values.std().item() / math.sqrt(n)), name


def test_a_chain_that_is_too_long_ranged_for_exact_draws_says_what_to_do():
    system = IsingChain(**LONG | {"reach": 20})
    with pytest.raises(InputError, match="32 sites that interact over 20 .* acquisition=simulate sampler=gibbs"):
        system.sample(1)
    x = Gibbs(stride=1, burn_in=5).run(system, system.start(10), 2).x
    assert x.shape == (20, 32) and set(x.unique().tolist()) == {-1.0, 1.0}


def test_gibbs_frames_come_replica_after_replica_with_energies_and_are_counted():
    system, sampler = ising(), Gibbs(stride=3, burn_in=4, seed=7)
    batch = sampler.run(system, system.start(5), 2)
    assert int(system.evaluations) == 5 * (4 + 2 * 3)
    assert batch.x.shape == (10, 6) and batch.f is None and torch.equal(batch.u, system.energy(batch.x))
    torch.manual_seed(9)
    again = Gibbs(stride=3, burn_in=4, seed=7).run(system, batch.x[:5], 4)
    torch.manual_seed(10)
    assert torch.equal(again.x, Gibbs(stride=3, burn_in=4, seed=7).run(system, batch.x[:5], 4).x)


def test_gibbs_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("predcg.samplers.recorder.SAVE_EVERY_S", -1.0)
    system = ising()
    start, whole = system.start(4), Gibbs(stride=2, burn_in=2, seed=3)
    expected = whole.run(system, start, 6).x
    calls, gibbs = iter(range(100)), Gibbs.advance

    def killed(self, *arguments):
        if next(calls) == 4:
            raise KeyboardInterrupt
        gibbs(self, *arguments)

    monkeypatch.setattr(Gibbs, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        whole.run(system, start, 6, folder=tmp_path)
    assert torch.equal(whole.run(system, start, 6, folder=tmp_path).x, expected)


def test_gibbs_is_for_spins_without_a_bias():
    with pytest.raises(InputError, match="Gibbs sampling is for system=ising_chain; found Harmonic"):
        Gibbs(1, 0).run(Harmonic([1.0]), torch.zeros(1, 1), 1)
    with pytest.raises(InputError, match="takes no bias"):
        Gibbs(1, 0).run(ising(), ising().start(1), 1, bias=lambda x: x.sum(-1))
    with pytest.raises(InputError, match="sampler.stride"):
        Gibbs(0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reach": 32}, "system.reach: expected between 1 and sites - 1 = 31; found 32"),
        ({"reach": 0}, "system.reach"),
        ({"sites": 1}, "system.sites: expected at least 2; found 1"),
        ({"beta": 0.0}, "system.beta: expected a positive number; found 0.0"),
        ({"field": ""}, "system.field: expected a finite number; found ''"),
        ({"coupling": math.nan}, "system.coupling: expected a finite number; found nan"),
    ],
    ids=str,
)
def test_the_chain_names_what_it_cannot_use(change, message):
    with pytest.raises(InputError, match=message):
        IsingChain(**NEAREST | change)


def test_observables_of_spins():
    x = torch.tensor([[1.0, 1.0, -1.0, 1.0, -1.0]])
    assert Magnetisation()(x).item() == pytest.approx(0.2) and Magnetisation().width(5) == 1
    assert Correlations([1, 2], periodic=True)(x)[0].tolist() == pytest.approx([-3 / 5, 1 / 5])
    assert (
        Correlations([1, 4], periodic=False)(x)[0].tolist() == pytest.approx([-2 / 4, -1.0])
        and Correlations([1, 4], False).width(5) == 2
    )
    for lags in ([], [0]):
        with pytest.raises(InputError, match="lags"):
            Correlations(lags, periodic=True)
