"""Coverage of a molecule's states, on a target of which the model's importance weights are known."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from predcg import figures
from predcg.batch import Batch, Data
from predcg.densities import Flow, StandardNormal
from predcg.errors import InputError
from predcg.importance import Weighted
from predcg.measures.coverage import sane
from predcg.measures.explained import knowledge
from predcg.model import Model
from predcg.systems import DoubleWell
from predcg.transforms import InternalCoordinates


class Tilted:
    """Alanine dipeptide with p(x) ∝ q(x) (1 + [φ > 0]), where q is the untrained model, whose φ is uniform: Z = 3/2,
    effective sample size 9/10.
    """

    def __init__(self, ala2, model: Model):
        self.ala2, self.model = ala2, model
        self.basins, self.evaluations = ("left", "right"), torch.tensor(12)

    def __getattr__(self, name: str):
        return getattr(self.ala2, name)

    def label(self, x: torch.Tensor) -> torch.Tensor:
        return (self.ala2.backbone(x)[..., 0] > 0).long()

    def unchecked(self, x: torch.Tensor) -> torch.Tensor:
        self.evaluations += len(x)
        return -self.model.log_prob(x, 1) - (1 + self.label(x)).log()

    __call__ = unchecked

    def sample(self, n: int) -> torch.Tensor:
        x = self.model.generate(2 * n)
        return x[2 * torch.rand(2 * n) < 1.0 + self.label(x)][:n]


@pytest.fixture
def runs(ala2):
    coordinates = InternalCoordinates(ala2.frame_atoms, ala2.zmatrix)
    model = Model(
        StandardNormal(0), Flow(0, 66, ala2.zmatrix["folds"], 4, 1, 1, [8], transform=coordinates), StandardNormal(0)
    )
    system = Tilted(ala2, model)
    with torch.no_grad():
        data = Data(*(Batch.of(system.sample(8000)) for _ in range(2)))
    trained = SimpleNamespace(
        name="ala2/reverse_kl seed-0", system=system, model=model, history=[{"step": 1}], data=data, seed=0
    )
    return [
        trained,
        SimpleNamespace(name="ala2/replica_exchange seed-0", system=system, model=None, history=[], data=data, seed=0),
    ]


def test_coverage_of_a_known_target(runs):
    figure, numbers = figures.coverage(runs, draws=40_000, frames=8000)
    assert numbers["effective_sample_size"] == pytest.approx(0.9, abs=0.003)
    assert numbers["log_z"] == pytest.approx(math.log(1.5), abs=0.01)
    assert numbers["elbo_gap"] == pytest.approx(math.log(1.5) - 0.5 * math.log(2), abs=0.02)
    assert numbers["eubo_gap"] == pytest.approx(2 / 3 * math.log(2) - math.log(1.5), abs=0.025)
    assert numbers["largest_log_weight"] == pytest.approx(math.log(2 / 1.5), abs=0.01)
    assert (
        numbers["p_right"] == pytest.approx(2 / 3, abs=5 * numbers["p_right_error"])
        and numbers["p_right_error"] < 0.004
    )
    assert numbers["p_right_model"] == pytest.approx(0.5, abs=0.015)
    assert numbers["p_right_reference"] == pytest.approx(2 / 3, abs=0.02)
    assert numbers["largest_mass_deviation_percent"] < 5
    # Exactly 0.0566 for the model, which has the wrong halves.
    assert numbers["ramachandran_kl_model"] - numbers["ramachandran_kl"] > 0.03
    # The reweighted model is the target: nothing above the floor but noise, though its draws are five times as many.
    assert abs(numbers["ramachandran_kl_above_floor"]) < 0.03 < numbers["ramachandran_kl_reference"]
    assert numbers["l_percent"] == 100 and numbers["outside_percent"] == 0
    assert numbers["tight_off_percent"] < 3 and numbers["energy_evaluations"] == 12
    assert len(figure.axes) == 7


def test_a_reference_may_be_weighted(runs, monkeypatch):
    """Frames one to three times over tell what frames of weights one to three do, where as many count as they weigh."""
    monkeypatch.setattr(Batch, "effective_size", property(lambda batch: batch.w.double().sum().item()))
    trained, reference = runs
    backbone = trained.system.ala2.backbone
    trained.model.cv = lambda x: backbone(x).sin()
    times = 1 + torch.arange(600) % 3
    parts = [batch.frames(slice(600)) for batch in reference.data]
    repeated = [batch.frames(torch.arange(600).repeat_interleave(times)) for batch in parts]
    weighted = [replace(batch, w=times.float()) for batch in parts]
    found = []
    for data in (repeated, weighted):
        torch.manual_seed(0)
        reference.data = Data(*data)
        _, numbers = figures.coverage(runs, draws=1500, frames=10_000)
        found.append(numbers | knowledge(trained, data[1], draws=100))
    assert found[0].keys() == found[1].keys() - {"effective_frames_training", "effective_frames_held_out"}
    for name, value in found[0].items():
        if not name.endswith(("_simulated_error", "_evaluations")):
            assert found[1][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_coverage_needs_a_reference_at_the_end(runs):
    with pytest.raises(InputError, match="a reference simulation"):
        figures.coverage(runs[::-1])
    with pytest.raises(InputError, match="a reference simulation"):
        figures.explained(runs[:1])


def test_shares_of_sane_molecules_count_bonds_and_angles(ala2, runs):
    """At the force field's own values all are sane; one bond of 0.015 nm too much is neither tight nor narrower than
    wide.
    """
    coordinates = InternalCoordinates(ala2.frame_atoms, ala2.zmatrix)
    y = torch.zeros(4, 60)
    y[2:, coordinates.periodic] = 0.015 / ala2.zmatrix["bonds"][0][1]
    x = coordinates.inv(y)
    assert sane(ala2, Batch.of(x), 0.01, 10) == 50 and sane(ala2, Batch.of(x), 0.02, 25) == 100


def test_efficiency_is_read_off_the_snapshots(runs):
    trained = runs[0]
    trained.snapshots = {100: None, 200: None}
    trained.snapshot = lambda step: SimpleNamespace(model=trained.model, evaluations=step * 100_000)
    figure, numbers = figures.efficiency([trained])
    assert (
        numbers["evaluations"] == 2e7
        and numbers["ess_at_1e7"] == pytest.approx(0.9, abs=0.01)
        and "ess_at_1e8" not in numbers
    )
    assert numbers["ess_final"] == pytest.approx(0.9, abs=0.01)


def test_a_latent_variable_explains_what_it_is_made_of(runs):
    trained = runs[0]
    backbone = trained.system.ala2.backbone
    trained.model.cv = lambda x: torch.cat([backbone(x)[:, :1].sin(), backbone(x)[:, :1].cos()], -1)
    _, numbers = figures.explained(runs, frames=4000, draws=500)
    assert numbers["r2_sin_φ_ala2/reverse_kl"] > 0.99 and numbers["r2_cos_φ_ala2/reverse_kl"] > 0.99
    assert abs(numbers["r2_sin_ψ_ala2/reverse_kl"]) < 0.15  # ψ is independent of φ here; 20 neighbours leave 1/20
    assert numbers["r2_least_ala2/reverse_kl"] == min(
        value for name, value in numbers.items() if name.startswith("r2_")
    )
    assert numbers["l_percent_ala2/reverse_kl"] == 100


def test_effective_sample_size_has_the_error_of_its_draws():
    """Of weights 1 + [half of the draws]: 9/10, and the spread over repeats."""
    repeated = [Weighted(torch.zeros(400, 1), (torch.rand(400) < 0.5).float() * math.log(2)) for _ in range(400)]
    sizes = torch.tensor([one.effective_sample_size for one in repeated])
    assert sizes.mean().item() == pytest.approx(0.9, abs=0.003)
    assert repeated[0].effective_sample_size_error == pytest.approx(sizes.std().item(), rel=0.25)


def test_a_draw_without_an_energy_is_no_draw(tmp_path):
    lost = Weighted(
        torch.zeros(4, 2), torch.tensor([0.0, 1.0, -math.inf, math.nan]).nan_to_num(nan=-math.inf, neginf=-math.inf)
    )
    kept = lost.finite()
    assert len(kept.x) == 2 and kept.log_z[0] == pytest.approx(lost.log_z[0])
    kept.save(tmp_path, DoubleWell())
    assert torch.equal(Weighted.load(tmp_path).log_w, kept.log_w)
    with pytest.raises(FloatingPointError, match="none of 1 draws"):
        Weighted(torch.zeros(1, 2), torch.tensor([-math.inf])).finite()
