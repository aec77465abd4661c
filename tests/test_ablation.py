"""Figures of the mass of rare states, on models that draw from what they should, or from one well of it."""

from types import SimpleNamespace

import pytest
import torch

from predcg import figures
from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.results import Run
from predcg.systems import DoubleWell, GaussianMixture


def run_of(system, overrides, seed, generate, alpha=None) -> Run:
    """A run whose model draws with `generate` and believes that it is exact."""

    def log_prob(x, samples):
        return -system(x) - system.exact()["log_z"]

    def draw(n, samples):
        x = generate(n)
        return x, log_prob(x, samples)

    model = SimpleNamespace(generate=generate, draw=draw, log_prob=log_prob)
    history = [{"step": 0, "train/alpha": 0.9}, {"step": 1, "train/alpha": alpha}]
    data = Data(Batch.of(generate(100)), Batch.of(generate(10)))
    return Run(
        **dict.fromkeys(Run._fields)
        | {
            "name": f"some/experiment {overrides}seed-{seed}",
            "system": system,
            "model": model,
            "data": data,
            "history": history,
            "seed": seed,
        }
    )


def test_a_lost_well_is_no_success_whatever_the_bounds_say():
    system = DoubleWell()
    reservoir = system.sample(400_000)
    left = reservoir[reservoir[:, 0] < system.barrier]
    runs = [run_of(system, "", seed, lambda n: reservoir[torch.randint(len(reservoir), (n,))]) for seed in range(3)]
    runs += [
        run_of(system, "objective.alpha-0.5+steps-1 ", seed, lambda n: left[torch.randint(len(left), (n,))])
        for seed in range(2)
    ]
    _, numbers = figures.minor_well(runs, draws=50_000, bounded=2000)
    assert numbers["minor_mass_ratio_default"] == pytest.approx(1, abs=0.1) and numbers["success_default"] == 1
    assert (
        numbers["minor_mass_ratio_objective.alpha-0.5+steps-1"] == 0
        and numbers["success_objective.alpha-0.5+steps-1"] == 0
    )
    assert numbers["log_z_lower_objective.alpha-0.5+steps-1"] == pytest.approx(12.0649, abs=1e-3)
    assert numbers["sd_x1_default"] == pytest.approx(0.522, abs=0.01) and numbers["mean_x1_default"] == pytest.approx(
        -2.4411, abs=0.01
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_recovered_mass_is_the_models_own_by_alpha_and_variant(alpha):
    system = GaussianMixture([[-9.0], [9.0]], [1.0, 1.0], [3.0, 1.0])

    def side(share):
        return lambda n: torch.where(torch.rand(n, 1) < share, 9.0, -9.0)

    runs = [run_of(system, f"objective.alpha-{alpha} ", seed, side(0.1), alpha) for seed in (0, 1)]
    _, one = figures.recovered_mass(runs, draws=50_000)
    assert (
        one[f"p_component_1_alpha{alpha:g}"] == pytest.approx(0.1, abs=0.01)
        and f"p_component_1_alpha{alpha:g}_error" in one
    )
    right = runs[0].data.train.x[:, 0] > 0
    assert one["p_component_1_data"] == pytest.approx(right.double().mean().item())
    train = Batch(runs[0].data.train.x, 1 + 8 * right.float())
    _, weighted = figures.recovered_mass([runs[0]._replace(data=Data(train, train))], draws=500)
    assert weighted["p_component_1_data"] == pytest.approx(train.mean(right.float()).item())
    _, two = figures.recovered_mass(
        [*runs, run_of(system, f"objective.alpha-{alpha}+prior-ard ", 0, side(0.4), alpha)], draws=50_000
    )
    assert two[f"p_component_1_alpha{alpha:g}_prior-ard"] == pytest.approx(0.4, abs=0.01)
    assert two[f"p_component_1_alpha{alpha:g}_default"] == one[f"p_component_1_alpha{alpha:g}"]


def test_recovered_mass_is_drawn_of_mixed_objectives_only():
    run = run_of(DoubleWell(), "", 0, lambda n: torch.zeros(n, 2))._replace(history=[{"step": 0, "train/loss": 1.0}])
    with pytest.raises(InputError, match="expected runs with a mixed objective"):
        figures.recovered_mass([run])
