"""Collective variables all over a box: uniform, and tempered by the free energy."""

import math
from types import SimpleNamespace

import pytest
import torch

from predcg import run
from predcg.acquisitions import Grid
from predcg.batch import Data
from predcg.config import compose
from predcg.densities import FreeEnergyNetworks, FreeEnergySplines, StandardNormal
from predcg.errors import InputError
from predcg.systems import Harmonic

SYSTEM = Harmonic([1.0, 2.0])
TORUS = {"size": 2, "low": [-math.pi] * 2, "high": [math.pi] * 2, "periodic": [True, True]}
LATENTS = {
    "line": lambda: FreeEnergySplines(1, [-2.0], [1.0], [12]),
    "torus": lambda: FreeEnergySplines(**TORUS, intervals=[6, 8]),
    "mixed": lambda: FreeEnergySplines(**TORUS | {"periodic": [True, False]}, intervals=[6, 8]),
    "networks": lambda: FreeEnergyNetworks(**TORUS, hidden=[8]),
}


@pytest.fixture(params=LATENTS)
def model(request):
    return SimpleNamespace(latent=LATENTS[request.param](), decode=lambda z: torch.cat([z, -z], -1))


def moments(model, z) -> list[float]:
    """Means of waves over the box."""
    at = (z - model.latent.box.low) / model.latent.box.sides * 2 * math.pi
    return torch.cat([(k * at + shift).cos() for k in (1, 2) for shift in (0.0, 1.0)], -1).double()


def test_the_first_round_is_uniform_and_what_it_asks_with_is_there(model):
    data = Grid(queries=4096, test_fraction=0.25).acquire(model, SYSTEM, None)
    z = torch.cat([data.train.z, data.test.z])
    assert len(data.train) == 3072 and len(data.test) == 1024 and model.latent.box.holds(z).all()
    assert torch.equal(data.train.x, model.decode(data.train.z))
    assert moments(model, z).mean(0).abs().max() < 4 / 4096**0.5 / 4  # more even than independent draws
    halves = (moments(model, part.z).mean(0).abs().max() for part in data)
    assert max(halves) < 0.08  # Those held out are everywhere, too.
    torch.manual_seed(5)
    assert not torch.equal(Grid(queries=4096).acquire(model, SYSTEM, None).train.z, z)


@torch.no_grad()
@pytest.mark.parametrize(("uniform", "power", "ceiling"), [(0.3, 0.4, 20.0), (0.0, 1.0, 2.0), (1.0, 0.4, 20.0)])
def test_later_rounds_are_the_mixture_that_is_said(model, uniform, power, ceiling):
    """Means of waves against quadrature."""
    n, past = 20_000, [Grid(queries=8).acquire(model, SYSTEM, None)]
    z = Grid(n, uniform, power, ceiling).acquire(model, SYSTEM, None, past).train.z
    counts = [n * 2 for n in model.latent.counts]
    cells = model.latent.box.cells(counts)[0]
    f = model.latent.potential(cells)
    tempered = (-power * (f - f.min()).clamp_max(ceiling)).softmax(0)
    expected = uniform * moments(model, cells).mean(0) + (1 - uniform) * tempered @ moments(model, cells)
    assert len(z) == n and model.latent.box.holds(z).all()
    assert torch.allclose(moments(model, z).mean(0), expected, atol=3 / n**0.5)


def test_another_latent_density_is_refused_in_one_line():
    normal = SimpleNamespace(latent=StandardNormal(2))
    with pytest.raises(InputError, match="acquisition: grid expects a latent density in a box; found StandardNormal"):
        Grid().acquire(normal, SYSTEM, None)


REFUSED = {
    "zero width": (["latent.high=[-2.5]"], r"latent.low: expected numbers below high = \[-2.5\]; found \[-2.5\]"),
    "share": (["acquisition.uniform=1.5"], r"acquisition.uniform: expected a number >= 0 and <= 1; found 1.5"),
    "power": (["acquisition.power=-1.0"], "acquisition.power: expected a number >= 0; found -1.0"),
    "memory": (["acquisition.queries=2000000000"], "acquisition.queries: expected configurations that fit into"),
    "no box": (["latent=normal"], "objective: ConditionalKL needs a latent density with a potential"),
}
GRID = ["experiment=mueller_brown/free_energy_active", "acquisition=grid", "logger=none", "figures=[]", "stop=none"]
TAKEN = ["~acquisition.start", "~acquisition.start_radius"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_asked_is_refused_before_anything_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, told = REFUSED[name]
    if name == "no box":
        change = [*change, "~latent.low", "~latent.high"]
    with pytest.raises(InputError, match=told) as reason:
        run.run(compose([*GRID, *TAKEN, *change]))
    assert "\n" not in str(reason.value) and not list(tmp_path.iterdir())


def test_rounds_on_a_grid_learn_the_free_energy_of_mueller_brown(tmp_path, monkeypatch):
    """Against quadrature, with one fifth of the evaluations that active learning takes by default."""
    monkeypatch.chdir(tmp_path)
    sizes = ["rounds=3", "steps=256", "epoch_steps=256", "acquisition.queries=512", "folder=mine"]
    run.run(compose([*GRID, *TAKEN, *sizes, "scheduler=cosine_rounds", "~scheduler.eta_min"]))
    made = run.load("mine")
    assert [isinstance(one.acquired, Data) for one in made.rounds] == [True] * 3
    assert int(made.system.evaluations) == 3 * 32 * 64
    z, _ = made.model.latent.box.cells([100])
    truth, found = made.system.pmf(z.squeeze(-1)), made.model.latent.potential(z)
    p, q = (-truth).log_softmax(0), (-found).log_softmax(0)
    assert (p.exp() * (p - q)).sum() < 3e-3
    last = made.rounds[-1].acquired.train.z
    assert (made.system.pmf(last.squeeze(-1)) < 8).float().mean() > 0.55  # of the box these are less than half
