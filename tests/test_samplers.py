"""Samplers: one contract for all, and averages that statistical mechanics knows."""

import dataclasses
import logging
import re
import sys
from functools import partial

import pytest
import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.samplers import HMC, Langevin, Metropolis, OpenMMLangevin, ReplicaExchange, reweight
from predcg.systems import DoubleWell, GaussianMixture, Harmonic, Molecule, System

WATER = """ATOM      1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O
ATOM      2  H1  HOH A   1       0.957   0.000   0.000  1.00  0.00           H
ATOM      3  H2  HOH A   1      -0.240   0.927   0.000  1.00  0.00           H
END
"""
# Settings that suit a water molecule.
SAMPLERS = {
    "langevin": partial(Langevin, timestep=0.0005, friction=50.0, stride=10, burn_in=300),
    "replica_exchange": partial(
        ReplicaExchange, timestep=0.0005, friction=50.0, stride=10, burn_in=300, ladder=[1.0, 1.5], exchange=5
    ),
    "hmc": partial(HMC, timestep=0.0005, leapfrog=5, stride=2, burn_in=40),
    "metropolis": partial(Metropolis, step=0.001, stride=20, burn_in=400),
    "openmm": partial(OpenMMLangevin, timestep_ps=0.0005, friction_per_ps=50.0, stride=10, burn_in=300, seed=0),
}
LADDER = [1.0, 1.5, 2.2, 3.3]


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    pdb = tmp_path_factory.mktemp("water") / "water.pdb"
    pdb.write_text(WATER)
    return Molecule(str(pdb), ["tip3p.xml"], 300.0)


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    """A maker of every sampler."""
    return SAMPLERS[request.param]


@pytest.fixture
def report(caplog):
    """What a sampler says at the end of a simulation."""
    caplog.set_level(logging.INFO, logger="predcg")
    return caplog


def mean_and_error(values: Tensor, replicas: int) -> tuple[Tensor, Tensor]:
    """Mean of what was recorded replica after replica, and its standard error: replicas are independent blocks."""
    blocks = values.double().unflatten(0, (replicas, -1)).mean(1)
    return blocks.mean(0), blocks.std(0) / replicas**0.5


def assert_within_error(values: Tensor, replicas: int, exact: Tensor | float, most: float = float("inf")):
    """Five standard errors, each below `most`."""
    mean, error = mean_and_error(values, replicas)
    assert (error < most).all()
    assert ((mean - exact).abs() < 5 * error).all(), f"{mean} ± {error}; exact {exact}"


# One contract for all


def test_frames_come_replica_after_replica_with_energies_forces_and_temperatures(sampler, water):
    made = sampler(burn_in=15)
    ladder, per_step = getattr(made, "ladder", [1.0]), getattr(made, "leapfrog", 1)
    start = torch.cat([water.start(1), water.start(1) + 1.0])  # the second replica far away
    before = int(water.evaluations)
    batch = made.run(water, start, 5)
    work, replicas = 2 * len(ladder) * (15 + 5 * made.stride) * per_step, 2 * len(ladder)
    assert int(water.evaluations) - before in {work, work + replicas}  # with or without those of the starts
    near, far = batch.x.view(len(ladder), 2, 5, 9).unbind(1)
    assert near.mean(-1).max() < 0.5 < far.mean(-1).min()
    assert batch.beta.tolist() == pytest.approx([1 / temperature for temperature in ladder for _ in range(2 * 5)])
    assert torch.equal(batch.w, torch.ones(5 * replicas))
    x = batch.x.double().requires_grad_()
    u = water(x)
    (gradient,) = torch.autograd.grad(u.sum(), x)
    assert torch.allclose(batch.u.double(), u, atol=1e-3)
    assert torch.allclose(batch.f.double(), -gradient, atol=0.2)  # of some 400 kT/nm


def test_a_longer_simulation_begins_with_the_shorter(sampler, water):
    short, long = (sampler(burn_in=10).run(water, water.start(2), frames) for frames in (3, 5))
    assert torch.equal(long.x.view(-1, 5, 9)[:, :3], short.x.view(-1, 3, 9))


@pytest.mark.parametrize("name", ["langevin", "replica_exchange", "hmc", "metropolis"])
def test_the_precision_of_the_start_is_kept(name, water):
    batch = SAMPLERS[name](burn_in=0).run(water, water.start(2).double(), 2)
    assert {field.dtype for field in batch.columns().values()} == {torch.float64}
    assert torch.allclose(water(batch.x), batch.u, rtol=1e-12)


def test_the_seed_decides_the_trajectory(sampler, water):
    def run(seed):
        return sampler(burn_in=0, seed=seed).run(water, water.start(3), 4).x

    first = run(1)
    assert torch.equal(first, run(1))
    assert not torch.equal(first, run(2))
    replicas = first.view(-1, 4, 9)
    assert len(replicas.unique(dim=0)) == len(replicas)  # each has noise of its own


def test_flexible_water_has_half_a_kt_for_each_of_its_three_springs(sampler, water):
    """Two bonds and one angle, all harmonic and stiff: ⟨βu⟩ = 3/2 at every temperature; the bond length varies by kT /
    k.
    """
    batch = sampler().run(water, water.start(128), 50)
    for beta in batch.beta.unique():
        rung = batch.frames(batch.beta == beta)
        assert_within_error(beta * rung.u, 128, 1.5, most=0.06)


@pytest.mark.parametrize(
    "sampler",
    [Langevin(0.2, 1.0, 20, 200), HMC(0.3, 3, 5, 50), Metropolis(1.0, 20, 200)],
    ids=["langevin", "hmc", "metropolis"],
)
def test_a_bias_is_obeyed_and_energies_are_without_it(sampler):
    system = Harmonic([1.0])
    batch = sampler.run(system, system.sample(500), 40, bias=lambda x: 1.5 * x[..., 0] ** 2)
    assert_within_error(batch.x[:, 0] ** 2, 500, 0.25, most=0.01)
    assert torch.allclose(batch.u, 0.5 * batch.x[:, 0] ** 2)
    assert torch.allclose(batch.f, -batch.x)


def test_openmm_refuses_what_it_cannot_do(water):
    sampler = OpenMMLangevin(0.0005, 5.0, 10, 0, 0)
    with pytest.raises(InputError, match="simulates molecules"):
        sampler.run(Harmonic([1.0]), torch.zeros(1, 1), 1)
    with pytest.raises(InputError, match="without a bias"):
        sampler.run(water, water.start(1), 1, bias=lambda x: x.sum(-1))


def test_replica_exchange_refuses_a_bias():
    with pytest.raises(InputError, match="replica exchange runs without a bias"):
        ReplicaExchange(0.1, 1.0, 1, 0, [1.0, 2.0], 1).run(
            Harmonic([1.0]), torch.zeros(1, 1), 1, bias=lambda x: x.sum(-1)
        )


def test_a_simulation_that_blows_up_says_what_to_change(water):
    with pytest.raises(InputError, match="replica 0 blew up .* shorten sampler.timestep_ps = 0.5"):
        OpenMMLangevin(0.5, 1.0, 100, 0, 0).run(water, water.start(1), 20)


@pytest.mark.parametrize(
    "wrong", [{"timestep": 0.0}, {"timestep": float("nan")}, {"stride": 0}, {"burn_in": -1}], ids=str
)
def test_settings_of_every_sampler_are_checked(sampler, wrong):
    ((name, value),) = wrong.items()
    own = next(key for key in [f"{name}_ps", name, "step"] if key in sampler.keywords)  # metropolis has no time
    with pytest.raises(InputError, match=f"sampler.({name}|step)"):
        sampler(**{own: value})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("langevin", {"friction": -1.0}),
        ("openmm", {"friction_per_ps": 0.0}),
        ("hmc", {"leapfrog": 0}),
        ("replica_exchange", {"friction": 0.0}),
        ("replica_exchange", {"ladder": [1.0]}),
        ("replica_exchange", {"ladder": [1.0, 2.0, 1.5]}),
        ("replica_exchange", {"ladder": [1.0, 1.0]}),
        ("replica_exchange", {"ladder": [1.2, 1.5]}),
        ("replica_exchange", {"exchange": 0}),
        ("replica_exchange", {"exchange": 3}),
        ("replica_exchange", {"exchange": 10, "burn_in": 305}),
    ],
)
def test_settings_of_one_sampler_are_checked(name, wrong):
    with pytest.raises(InputError, match=f"sampler.{next(iter(wrong))}"):
        SAMPLERS[name](**wrong)


# Langevin dynamics


def test_langevin_samples_harmonic_wells_exactly():
    """BAOAB is exact in the positions of harmonic wells for any stable step."""
    system = Harmonic([0.5, 1.0, 2.0])
    batch = Langevin(timestep=0.3, friction=1.0, stride=20, burn_in=200).run(system, system.sample(500), 40)
    assert_within_error(batch.x, 500, 0.0)
    assert_within_error(batch.x**2, 500, system.scales**2)
    assert (mean_and_error(batch.x**2, 500)[1] / system.scales**2 < 0.02).all()


class CarbonHydrogen(System):
    """A free C-H bond seen from its carbon, x in nm, with the reduced mass and kT in kJ/mol: u = ½ k (|x| - r0)²."""

    k, r0, kt = 284512.0, 0.109, 2.744

    def __init__(self):
        super().__init__(3)
        self.masses = torch.full((3,), 0.92995)

    def energy(self, x):
        return 0.5 * self.k * (x.norm(dim=-1) - self.r0) ** 2 / self.kt


@pytest.mark.parametrize("burn_in", [500, 0])
def test_a_stiff_bond_has_its_exact_width_once_the_velocities_of_the_start_are_forgotten(burn_in):
    """At 2 fs, from exact draws; without burn-in half of what velocities at kT have too much is in the stretching."""
    bond, n, timestep = CarbonHydrogen(), 30_000, 0.002
    # (ω h / 2)², by which velocities at the ends of steps are colder than kT.
    cold = bond.k / bond.masses[0].item() * timestep**2 / 4
    excess = 0.0 if burn_in else 0.5 * cold / (1 - cold)
    r = torch.linspace(0.08, 0.14, 6001, dtype=torch.double)
    weight = r**2 * (-0.5 * bond.k * (r - bond.r0) ** 2 / bond.kt).exp()
    exact = (weight * (r - bond.r0) ** 2).sum() / weight.sum()
    start = torch.nn.functional.normalize(torch.randn(n, 3).double(), dim=-1) * r[
        weight.multinomial(n, replacement=True)
    ].unsqueeze(-1)
    # Without burn-in: many phases of the vibration within 0.2 ps, in which so little friction takes no hundredth of the
    # excess.
    friction = 10.0 if burn_in else 0.05
    x = Langevin(timestep, friction, stride=3, burn_in=burn_in).run(bond, start, 30).x.double()
    squares = (x.norm(dim=-1) - bond.r0) ** 2 / exact - 1
    mean, error = mean_and_error(squares, n)
    assert error < 0.008 and abs(mean - excess) < 3 * error + 0.005


def test_heavy_coordinates_are_slow_and_as_spread():
    """Masses set the pace and leave the averages alone: over a time far below the period of the heavy one only the
    light one moves.
    """
    system = Harmonic([1.0, 1.0])
    system.masses = torch.tensor([1.0, 1e4])
    sampler = Langevin(timestep=0.1, friction=1.0, stride=20, burn_in=0)
    start = system.sample(2000)
    moved = (sampler.run(system, start, 1).x - start).abs().mean(0)
    assert moved[1] < 0.05 * moved[0]
    assert sampler.begin(system, start, None, torch.Generator().manual_seed(0))["v"].std(0).tolist() == pytest.approx(
        [1.0, 0.01], rel=0.1
    )


# Replica exchange


def test_a_ladder_samples_every_temperature_exactly():
    """Harmonic wells: mean 0 and variance T s² at temperature T; each start's ladder is an independent block."""
    system = Harmonic([0.5, 1.0, 2.0])
    batch = ReplicaExchange(0.3, 1.0, 20, 200, LADDER, 5).run(system, system.sample(500), 40)
    for temperature in LADDER:
        x = batch.x[torch.isclose(batch.beta, torch.tensor(1 / temperature))]
        assert len(x) == 500 * 40
        assert_within_error(x, 500, 0.0)
        assert_within_error(x**2, 500, temperature * system.scales**2)
        assert (mean_and_error(x**2, 500)[1] / (temperature * system.scales**2) < 0.02).all()


def test_velocities_begin_at_their_temperature():
    system = Harmonic([1.0, 1.0])
    state = ReplicaExchange(0.1, 1.0, 1, 0, LADDER, 1).begin(
        system, system.sample(5000), None, torch.Generator().manual_seed(0)
    )
    assert state["v"].view(4, 5000, 2).var(1).mean(-1).tolist() == pytest.approx(LADDER, rel=0.1)


def swappable(ladder: list[float], x: Tensor) -> tuple[ReplicaExchange, dict]:
    """A sampler and its state at x, (rungs, copies), of u = x²/2, with v = x + 10."""
    copies = x.shape[1]
    beta = (1 / torch.tensor(ladder, dtype=x.dtype)).repeat_interleave(copies)
    x = x.reshape(-1, 1)
    state = {"x": x, "v": x + 10, "u": 0.5 * x[:, 0] ** 2, "slope": x.clone(), "total_slope": x.clone(), "beta": beta}
    return ReplicaExchange(0.1, 1.0, 1, 0, ladder, 1), state | {
        "attempts": 0,
        "accepted": torch.zeros(len(ladder) - 1, dtype=torch.float64),
    }


def test_a_swap_is_accepted_as_metropolis_says():
    """In each case 20,000 pairs at T = 1 and 2 with the same two energies, so that (β_1 - β_2)(u_1 - u_2) = (u_1 - u_2)
    / 2.
    """
    pairs = torch.tensor(
        [[1.0, 1.1], [0.5, 2.0], [3.0, 1.0], [2.0, 2.0], [0.1, 9.0], [0.3, 4.0]], dtype=torch.float64
    ).T
    sampler, state = swappable([1.0, 2.0], (2 * pairs).sqrt().repeat_interleave(20_000, 1))
    sampler._swap(state, torch.Generator().manual_seed(0))
    found = (state["u"].view(2, 6, -1)[0] - pairs[0, :, None]).abs().gt(1e-9).double().mean(1)
    expected = (0.5 * (pairs[0] - pairs[1])).exp().clamp(max=1)
    expected[3] = 0.0  # the same energies: a swap is not seen
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / 20_000).sqrt()).all(), (found, expected)


def test_what_swaps_moves_together_and_velocities_change_their_temperature():
    """Which row went where is read off x; every copy stays in its own ladder."""
    x = torch.rand(3, 1000, dtype=torch.float64).mul(3)
    sampler, state = swappable([1.0, 2.0, 4.0], x)
    noise = torch.Generator().manual_seed(0)
    for _ in range(5):
        sampler._swap(state, noise)
    now = state["x"].view(3, 1, 1000)
    source = (now == x[None]).double().argmax(1)  # rung that each configuration came from
    assert torch.equal(x.gather(0, source), now[:, 0]) and torch.equal(
        source.sort(0).values, torch.arange(3)[:, None].expand(3, 1000)
    )
    assert 0.2 < (source != torch.arange(3)[:, None]).double().mean() < 0.9
    assert torch.equal(state["u"], 0.5 * state["x"][:, 0] ** 2)
    assert torch.equal(state["slope"], state["x"]) and torch.equal(state["total_slope"], state["x"])
    temperature = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    scaled = (now[:, 0] + 10) * (temperature[:, None] / temperature[source]).sqrt()
    assert torch.allclose(state["v"].view(3, 1000), scaled, rtol=1e-12)
    assert torch.equal(1 / state["beta"].view(3, 1000), temperature[:, None].expand(3, 1000))


def test_even_and_odd_pairs_take_turns():
    """Where the hot rung has the lower energy a swap is certain, so that swaps sort: odd-even transposition sort."""
    sampler, state = swappable([1.0, 2.0, 3.0, 4.0], torch.tensor([[4.0], [3.0], [2.0], [1.0]]) * 100)
    expected = [[3, 4, 1, 2], [3, 1, 4, 2], [1, 3, 2, 4], [1, 2, 3, 4], [1, 2, 3, 4]]
    for order in expected:
        sampler._swap(state, torch.Generator().manual_seed(0))
        assert (state["x"].flatten() / 100).tolist() == order
    assert state["attempts"] == 5 and state["accepted"].tolist() == [2.0, 2.0, 2.0]


def test_swaps_leave_the_pair_of_boltzmann_densities_as_it_is():
    """x ~ N(0, T) exactly on both rungs; after swaps the pair falls into 10 x 10 equally probable cells as before: χ²
    with 99 degrees.
    """
    copies, temperature = 100_000, torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    sampler, state = swappable([1.0, 3.0], temperature.sqrt() * torch.randn(2, copies, dtype=torch.float64))
    before, noise = state["x"], torch.Generator().manual_seed(1)  # not the stream of the draws
    sampler._swap(state, noise)
    assert 0.3 < (state["x"] != before).double().mean() < 0.8
    cell = (torch.special.ndtr(state["x"].view(2, copies) / temperature.sqrt()) * 10).long().clamp(max=9)
    counts = torch.bincount(10 * cell[0] + cell[1], minlength=100).double()
    assert ((counts - copies / 100) ** 2 / (copies / 100)).sum() < 99 + 5 * (2 * 99) ** 0.5


@pytest.mark.parametrize(("gap", "warned"), [(1.5, False), (3.0, False), (19.0, True)])
def test_acceptance_is_reported_and_a_wide_gap_warned_about(report, gap, warned):
    """In two dimensions βu is exponential: swaps between T and gap · T are accepted in 2 / (1 + gap) of all cases."""
    system = Harmonic([1.0, 1.0])
    ReplicaExchange(0.3, 1.0, 10, 50, [1.0, gap], 5).run(system, system.sample(500), 40)
    (row,) = re.findall(r"1 T and [\d.]+ T +(\d+)%", report.text)
    assert float(row) == pytest.approx(100 * 2 / (1 + gap), abs=2)
    assert ("less than 20 % of its attempts; add a temperature between them" in report.text) == warned
    assert any(record.levelno == logging.WARNING for record in report.records) == warned


# Hamiltonian Monte Carlo


def moments(x: Tensor) -> Tensor:
    """x1, x2 and their squares, one row for each frame."""
    return torch.cat([x, x**2], 1)


def exact_moments(system) -> Tensor:
    exact = system.exact()
    mean, sd = (torch.tensor([exact[f"{name}_x{axis}"] for axis in (1, 2)]) for name in ("mean", "sd"))
    return torch.cat([mean, sd**2 + mean**2])


@pytest.mark.parametrize("leapfrog", [1, 3], ids=["mala", "hmc"])
def test_hmc_is_exact_where_the_time_step_ruins_langevin(leapfrog):
    """Two overlapping Gaussians, the narrower with frequency 2.5; steps of 0.75 are just stable."""
    system, start = GaussianMixture([[-1.0, 0.0], [0.8, 0.5]], [0.5, 0.4], [0.7, 0.3]), torch.zeros(500, 2)
    mean, error = mean_and_error(moments(Langevin(0.75, 1.0, 5, 100).run(system, start, 100).x), 500)
    assert ((mean - exact_moments(system)).abs() > 10 * error)[[0, 1, 2]].all()
    assert_within_error(
        moments(HMC(0.75, leapfrog, 5, 100).run(system, start, 100).x), 500, exact_moments(system), most=0.02
    )


@pytest.mark.parametrize("leapfrog", [1, 10])
def test_hmc_survives_trajectories_that_diverge(leapfrog):
    """In the tails of a quartic well the step is unstable, and ten of them overflow; exact by quadrature, the barrier 1
    kT high.
    """
    system = DoubleWell(a=1.0, b=2.0, c=0.3, d=1.0)
    x = HMC(0.7, leapfrog, 5, 100).run(system, torch.zeros(500, 2), 100).x
    assert_within_error(moments(x), 500, exact_moments(system), most=0.02)
    assert_within_error(system.label(x).double(), 500, system.exact()["p_right"], most=0.01)


def test_hmc_acceptance_is_the_fraction_of_frames_that_moved(report):
    system = Harmonic([1.0])
    start = system.sample(200)
    x = HMC(1.5, 1, stride=1, burn_in=0).run(system, start, 50).x.view(200, 50)
    moved = (torch.cat([start, x], 1).diff(dim=1) != 0).double().mean().item()
    (said,) = re.findall(r"trajectories accepted: (\d+) %", report.text)
    assert float(said) == pytest.approx(100 * moved, abs=0.6)
    assert 0.3 < moved < 0.95


def test_one_leapfrog_step_is_mala():
    """x' = x - ε² kT/2m ∇u + ε √(kT/m) noise, of steps so short that all are accepted; the noise is standard normal and
    knows nothing of x.
    """
    system, step = Harmonic([1.0, 1.0]), 1e-2
    system.kt, system.masses = 2.0, torch.tensor([1.0, 9.0])
    mobility, start = system.kt / system.masses, system.sample(20_000)
    x = HMC(step, 1, stride=1, burn_in=0, seed=1).run(system, start, 1).x  # noise of another stream than the starts
    noise = (x - (start - step**2 / 2 * mobility * start)) / (step * mobility.sqrt())
    assert noise.mean(0).abs().max() < 5 / 20_000**0.5
    assert noise.var(0).tolist() == pytest.approx([1.0, 1.0], abs=5 * (2 / 20_000) ** 0.5)
    assert (noise * start).mean(0).abs().max() < 5 / 20_000**0.5


# Reweighting


COUNTS = torch.tensor([1500, 3000, 2000, 1000])


@pytest.fixture(scope="module")
def ladder_of_draws():
    """Exact draws of a well of width 1.5, so many at each temperature."""
    temperatures = torch.tensor(LADDER).repeat_interleave(COUNTS)
    x = 1.5 * temperatures.sqrt() * torch.randn(len(temperatures), generator=torch.Generator().manual_seed(0))
    return Batch.of(x[:, None], x**2 / (2 * 1.5**2), None, 1 / temperatures)


@pytest.mark.parametrize("temperature", [1.0, 1.2, 2.2])
def test_frames_of_all_temperatures_are_reweighted_to_one(ladder_of_draws, temperature):
    """The variance is T s²; weights know the free energies log Z_T = ½ log T + const up to their statistical error."""
    batch = reweight(ladder_of_draws, 1 / temperature)
    square, variance = batch.x[:, 0] ** 2, temperature * 1.5**2
    error = ((batch.w * (square - variance)) ** 2).sum().sqrt() / batch.w.sum()
    assert batch.mean(square).item() == pytest.approx(variance, abs=5 * error.item())
    assert error < (2 / 1500) ** 0.5 * variance  # of the frames at T = 1 alone, were they the target's
    assert batch.w.sum() ** 2 / (batch.w**2).sum() > 1500
    betas = 1 / torch.tensor(LADDER)
    w = 1 / (COUNTS * betas.sqrt() * (-(betas - 1 / temperature) * batch.u[:, None]).exp()).sum(-1)
    assert torch.allclose(batch.w, w / w.mean(), rtol=0.1)


def test_weights_stand_in_the_order_of_the_frames(ladder_of_draws):
    order = torch.randperm(len(ladder_of_draws.x))
    batch, shuffled = reweight(ladder_of_draws), reweight(ladder_of_draws.frames(order))
    assert torch.allclose(shuffled.w, batch.w[order], rtol=1e-4)
    assert torch.equal(shuffled.x, batch.x[order])


def test_a_simulated_ladder_is_reweighted():
    system = Harmonic([1.0])
    batch = reweight(ReplicaExchange(0.3, 1.0, 20, 100, LADDER, 5).run(system, system.sample(200), 20))
    assert batch.mean(batch.x[:, 0] ** 2).item() == pytest.approx(1.0, abs=0.06)
    assert batch.mean(batch.u).item() == pytest.approx(0.5, abs=0.03)


def test_one_temperature_needs_no_weights(ladder_of_draws):
    assert torch.allclose(reweight(ladder_of_draws.frames(ladder_of_draws.beta == 1)).w, torch.ones(1500))


def test_reweighting_says_what_is_missing(ladder_of_draws, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymbar", None)
    with pytest.raises(InputError, match=re.escape('pip install "predcg[analysis]"')):
        reweight(ladder_of_draws)


@pytest.mark.parametrize("field", ["beta", "u"])
def test_reweighting_needs_energies_and_temperatures(ladder_of_draws, field):
    with pytest.raises(InputError, match="energies and temperatures"):
        reweight(dataclasses.replace(ladder_of_draws, **{field: None}))
