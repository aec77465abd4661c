"""Active learning of a free energy asks where it doubts, and ends when no doubt is left."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from predcg import run
from predcg.acquisitions import Active
from predcg.config import compose
from predcg.densities import Completing, FreeEnergySplines, Observed, SinhArcsinh, StandardNormal
from predcg.densities.splines import Cells
from predcg.errors import InputError
from predcg.model import Model
from predcg.observables import Combinations
from predcg.stops import Resolved
from predcg.systems import MuellerBrown
from predcg.transforms import Matrix


def model(members=10, periodic=None):
    latent = FreeEnergySplines(1, [-2.5], [1.5], [20], periodic, members=members)
    rest = partial(SinhArcsinh, hidden=[4], activations=["Tanh"])
    return Model(latent, Completing(1, 2, rest, Matrix([[1.0, -1.0]], 2)), Observed(Combinations([[1.0, -1.0]])))


def known(made, centre, spread=0.5):
    """Let the ensemble agree on F = 2 (z - centre)² within a distance of the centre, and part beyond it."""
    at = torch.linspace(-2.5, 1.5, 200).double().unsqueeze(-1)
    index, value = made.latent.splines(at)
    design = torch.zeros(200, made.latent.splines.size).double().scatter_add(1, index, value)
    apart = (at.squeeze(-1) - centre).abs()
    members = torch.linspace(-1, 1, len(made.latent.theta)).double().unsqueeze(-1)
    wanted = 2 * apart.square() + members * 3 * (apart - spread).clamp_min(0)
    made.latent.theta.copy_(torch.linalg.lstsq(design, wanted.T).solution.T)
    return made


SYSTEM = MuellerBrown()


def test_the_first_round_asks_around_the_start_and_what_it_asks_with_is_there():
    made = model()
    data = Active([-2.0], start_radius=0.25, queries=400, test_fraction=0.25).acquire(made, SYSTEM, None)
    z = torch.cat([data.train.z, data.test.z])
    assert len(data.train) == 300 and len(data.test) == 100
    assert -2.25 <= z.min() < -2.2 and -1.8 < z.max() <= -1.75
    assert torch.allclose(made.cv(data.train.x), data.train.z, atol=1e-5)  # configurations that have these variables
    assert int(SYSTEM.evaluations) == 0


@pytest.mark.parametrize("centre", [-1.5, 0.5])
def test_later_rounds_ask_at_the_border_of_what_is_known(centre):
    made = known(model(), centre)
    past = [Active([centre], start_radius=0.3).acquire(made, SYSTEM, None)]
    active = Active([centre], queries=50, centres=2, radius=0.1)
    z = active.acquire(made, SYSTEM, None, past).train.z
    assert len(z) == 100
    # The doubt, 3 x sd of the members x (distance - 0.5), is 0.4 at 0.71: there chains stop, on both sides, give or
    # take a step and the radius of a box.
    apart = (z - centre).abs()
    assert apart.min() > 0.5 and apart.max() < 1.3
    assert (z < centre).sum() == (z > centre).sum() == 50


def test_where_no_chain_stops_it_asks_below_the_ceiling_in_proportion_to_the_doubt():
    made = known(model(), 0.0, spread=0.0)
    past = [Active([0.0], start_radius=0.3).acquire(made, SYSTEM, None)]
    active = Active([0.0], ceiling=2.0, spread=4000, most=50, threshold=100.0)
    z = active.acquire(made, SYSTEM, None, past).train.z
    # F = 2 z² < 2, and the doubt is proportional to |z|: <z²> = 1/2.
    assert len(z) == 4000 and -1.05 < z.min() < -0.95 and 0.95 < z.max() < 1.05
    assert z.mean().abs() < 0.06 and abs(z.square().mean() - 0.5) < 0.03
    lower = Active([0.0], ceiling=2.0, spread=4000, most=50, threshold=100.0, power=1.0)
    z = lower.acquire(made, SYSTEM, None, past).train.z.square()
    # In proportion to |z| e^(-2 z²) it is exponential with rate 2 below 1: <z²> = 1/2 - e^-2 / (1 - e^-2).
    assert z.mean().item() == pytest.approx(0.5 - math.exp(-2) / (1 - math.exp(-2)), abs=0.02)


def test_along_a_circle_chains_go_around():
    made = model(periodic=[True])
    made.latent.theta.zero_()
    past = [Active([1.4], start_radius=0.05).acquire(made, SYSTEM, None)]
    z = Active([1.4], step=0.5, most=100).acquire(made, SYSTEM, None, past).train.z
    assert (z < -1.0).any() and made.latent.box.holds(z).all()


TORUS = {"size": 2, "low": [-math.pi] * 2, "high": [math.pi] * 2, "periodic": [True, True]}


def on_torus(wells: list[tuple[float, float]], known: tuple[float, float], reach: float) -> SimpleNamespace:
    """A model with F = 0 in wells and 10 kT outside of them, whose members agree within so far of a place."""
    latent = FreeEnergySplines(**TORUS, intervals=[16, 16], members=8)
    cells = latent.cells()[0]

    def away(place):
        return latent.box.distance(cells, torch.tensor([place]).double()).squeeze(1)

    f = 10 - sum(10 * (-away(well).square() / 0.72).exp() for well in wells)
    apart = torch.linspace(-3, 3, 8).double().unsqueeze(-1) * (away(known) - reach).clamp_min(0)
    design = Cells(latent.splines, latent.per)
    gram = design.gram(torch.ones(len(cells)).double())
    for k, values in enumerate(f + apart):
        latent.theta[k] = torch.linalg.solve(gram, design.slope(values))
    return SimpleNamespace(latent=latent, decode=lambda z: torch.cat([z, z], -1))


def test_on_a_torus_chains_go_over_the_seam_and_discs_are_round():
    """From a well at (π, π) hot chains find the border of what is known, on every side of the seam."""
    made = on_torus([(math.pi, math.pi)], (math.pi, math.pi), 0.9)
    past = [Active([3.1, 3.1], start_radius=0.3, queries=400).acquire(made, SYSTEM, None)]
    start, box = past[0].train.z, made.latent.box
    apart = box.distance(start, torch.tensor([[3.1, 3.1]])).squeeze(1)
    assert box.holds(start).all() and (start[:, 0] < 0).any() and (start[:, 1] < 0).any()
    # Uniform in a disc: a quarter is within half of the radius.
    assert apart.max() <= 0.3 + 1e-5 and (apart < 0.15).float().mean().item() == pytest.approx(0.25, abs=0.07)
    active = Active([3.1, 3.1], centres=6, queries=50, radius=0.3, chains=60, step=0.2, threshold=0.5)
    z = active.acquire(made, SYSTEM, None, past).train.z
    assert len(z) == 300
    from_well = box.distance(z, torch.tensor([[math.pi, math.pi]])).squeeze(1)
    assert from_well.min() > 0.6 and from_well.max() < 2.5
    quadrants = {(a.item(), b.item()) for a, b in z > 0}
    assert len(quadrants) == 4


def test_on_a_torus_hot_chains_stay_below_the_ceiling():
    wells = [(-1.5, 0.0), (1.5, 0.0)]  # 10 kT between them
    made = on_torus(wells, (-1.5, 0.0), 1.5)
    past = [Active([-1.5, 0.0], start_radius=0.3).acquire(made, SYSTEM, None)]
    settings = {"chains": 40, "step": 0.3, "most": 300, "centres": 4, "radius": 0.2, "queries": 20, "threshold": 1.0}
    found = {
        ceiling: Active([-1.5, 0.0], temperature=5.0, ceiling=ceiling, **settings).acquire(made, SYSTEM, None, past)
        for ceiling in (5.0, 15.0)
    }
    away = {c: made.latent.box.distance(d.train.z, torch.tensor([wells[0]])).min(1).values for c, d in found.items()}
    assert len(found[5.0].train) == 1024  # spread, over all that is below
    assert made.latent.box.distance(found[5.0].train.z, torch.tensor(wells)).min(1).values.max() < 1.0
    assert away[15.0].min() > 1.4 and len(found[15.0].train) == 80


def test_a_ceiling_with_nothing_below_it_is_told_in_one_line():
    made = on_torus([(0.0, 0.0)], (0.0, 0.0), 9.0)
    past = [Active([0.0, 0.0], start_radius=0.05, queries=500).acquire(made, SYSTEM, None)]
    active = Active([0.0, 0.0], ceiling=1e-9, most=5, threshold=50.0)
    with pytest.raises(InputError, match=r"^acquisition.ceiling: expected kT above the lowest F .* found 1e-09, below"):
        active.acquire(made, SYSTEM, None, past)


BUDGET = ["experiment=mueller_brown/free_energy_active", "logger=none", "figures=[]"]


@pytest.mark.parametrize("key", ["acquisition.threshold", "stop.doubt"])
def test_a_doubt_that_the_evaluations_cannot_reach_is_refused_before_anything_is_written(key, tmp_path, monkeypatch):
    """Of 19 x 16 batches of 64 weights of relative variance 1/4 the mean is known to √(1/4 / 19456) = 0.0036."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=rf"^{key}: expected more than 0.0036 kT, which 19456 energy ev.* found 0.003;"
    ):
        run.run(compose([*BUDGET, f"{key}=0.003"]))
    with pytest.raises(InputError, match=f"^{key}: expected a number > 0; found 0.0"):
        run.run(compose([*BUDGET, f"{key}=0.0"]))
    assert not list(tmp_path.iterdir())


def test_distances_are_the_shorter_way_around():
    box = model(periodic=[True]).latent.box
    assert box.distance(torch.tensor([[-2.4]]), torch.tensor([[1.4], [-1.4]])).tolist() == [
        pytest.approx([0.2, 1.0], abs=1e-6)
    ]


def test_resolved_stops_when_the_doubt_is_small_where_it_counts():
    made = known(model(), 0.0, spread=0.5)
    inside = Resolved(doubt=0.1, below=0.4)  # |z| < 0.45
    assert inside(made, []) and not Resolved(doubt=0.1, below=4.0)(made, [])
    predicted = made.latent.divergence()
    assert predicted > 0 and Resolved(0.1, 0.4, divergence=1.01 * predicted)(made, [])
    assert not Resolved(0.1, 0.4, divergence=0.99 * predicted)(made, [])
    assert not Resolved(0.1, 4.0, divergence=1.01 * predicted)(made, [])


def test_what_has_no_doubt_is_refused_in_one_line():
    one, normal = model(members=1), model()
    normal.latent = StandardNormal(1)
    for refused, message in (
        (
            lambda: Resolved(0.1, 12.0).check(normal, 0),
            "stop: resolved reads the doubt of latent=free_energy; found latent",
        ),
        (lambda: Resolved(0.1, 12.0).check(one, 0), "latent.members: expected at least 2"),
        (
            lambda: Active([0.0]).acquire(normal, SYSTEM, None),
            "acquisition: active expects a latent density that knows",
        ),
        (lambda: Active([9.0]).acquire(one, SYSTEM, None), "acquisition.start: expected z = 1 numbers in the box"),
    ):
        with pytest.raises(InputError, match=message):
            refused()
