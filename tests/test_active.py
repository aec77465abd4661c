"""Active learning of a free energy asks where it doubts, and ends when no doubt is left."""

from functools import partial

import pytest
import torch

from predcg.acquisitions import Active
from predcg.densities import Completing, FreeEnergySplines, Observed, SinhArcsinh, StandardNormal
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


def test_along_a_circle_chains_go_around():
    made = model(periodic=[True])
    made.latent.theta.zero_()
    past = [Active([1.4], start_radius=0.05).acquire(made, SYSTEM, None)]
    z = Active([1.4], step=0.5, most=100).acquire(made, SYSTEM, None, past).train.z
    assert (z < -1.0).any() and made.latent.box.holds(z).all()


def test_distances_are_the_shorter_way_around():
    box = model(periodic=[True]).latent.box
    assert box.distance(torch.tensor([[-2.4]]), torch.tensor([[1.4], [-1.4]])).tolist() == [
        pytest.approx([0.2, 1.0], abs=1e-6)
    ]


def test_resolved_stops_when_the_doubt_is_small_where_it_counts():
    made = known(model(), 0.0, spread=0.5)
    inside = Resolved(doubt=0.1, below=0.4)  # |z| < 0.45
    assert inside(made, []) and not Resolved(doubt=0.1, below=4.0)(made, [])


def test_what_has_no_doubt_is_refused_in_one_line():
    one, normal = model(members=1), model()
    normal.latent = StandardNormal(1)
    for refused, message in (
        (
            lambda: Resolved(0.1, 12.0).check(normal),
            "stop: resolved reads the doubt of latent=free_energy; found latent",
        ),
        (lambda: Resolved(0.1, 12.0).check(one), "latent.members: expected at least 2"),
        (
            lambda: Active([0.0]).acquire(normal, SYSTEM, None),
            "acquisition: active expects a latent density that knows",
        ),
        (lambda: Active([9.0]).acquire(one, SYSTEM, None), "acquisition.start: expected z = 1 numbers in the box"),
    ):
        with pytest.raises(InputError, match=message):
            refused()
