"""Masses of bins of torsions, and what a learnt free energy is off, against sums made another way."""

import copy
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from predcg.batch import Batch, Data
from predcg.densities import FreeEnergySplines, Observed
from predcg.errors import InputError
from predcg.importance import Weighted
from predcg.measures import bins
from predcg.measures.free_energy import profile
from predcg.observables import Dihedrals
from predcg.results import Run
from predcg.systems import MuellerBrown

TORUS = {"size": 2, "low": [-math.pi] * 2, "high": [math.pi] * 2, "periodic": [True, True]}


class Waves(FreeEnergySplines):
    """F = height (2 - cos(φ - 1) - cos ψ) + shift φ-ward, whose members differ by `spread` cos φ."""

    def __init__(self, height: float = 3.0, tilt: float = 0.0, spread: float = 0.1, members: int = 10):
        super().__init__(**TORUS, intervals=[8, 8], members=members)
        self.height, self.tilt, self.spread = height, tilt, spread

    def mean_inside(self, z: torch.Tensor) -> torch.Tensor:
        return self.height * (2 - (z[..., 0] - 1).cos() - z[..., 1].cos()) + self.tilt * z[..., 0].sin()

    def inside(self, z: torch.Tensor) -> torch.Tensor:
        k = torch.linspace(-1, 1, len(self.theta), dtype=z.dtype).view(-1, *[1] * (z.ndim - 1))
        return self.mean_inside(z) + self.spread * k * z[..., 0].cos()


def torsion_run(ala2, latent=None, name: str = "ala2/free_energy seed-0", evaluations: int = 1000, **fields) -> Run:
    """A run of alanine dipeptide whose collective variables are φ and ψ, as it is when it has ended."""
    system = copy.copy(ala2)
    system._buffers = ala2._buffers | {"evaluations": torch.tensor(evaluations)}
    latent = Waves() if latent is None else latent
    model = SimpleNamespace(latent=latent, encoder=Observed(Dihedrals(ala2.phi_psi)), cv=ala2.backbone)
    z = 2 * math.pi * torch.rand(40, 2) - math.pi
    data = Data(Batch(ala2.start(40), z=z), Batch(ala2.start(0), z=z[:0]))
    parts = {"name": name, "system": system, "model": model, "data": data, "acquired": data, "history": [{"step": 1}]}
    parts |= {"folder": Path("none"), "seed": 0, "step": 1, "number": 1, "planned": 1}
    return Run(**dict.fromkeys(Run._fields) | parts | fields)


def mass(latent: Waves, low: tuple[float, float], high: tuple[float, float], points: int = 400) -> float:
    """∫ e^-F over a box by the mid-point rule, with numpy alone."""
    phi, psi = (low[k] + (np.arange(points) + 0.5) / points * (high[k] - low[k]) for k in range(2))
    along = np.exp(latent.height * np.cos(phi - 1) - latent.tilt * np.sin(phi)).mean() * (high[0] - low[0])
    return along * np.exp(latent.height * np.cos(psi)).mean() * (high[1] - low[1])


def test_masses_of_bins_are_integrals():
    latent = Waves(tilt=0.7)
    log_p, side = bins.log_masses(latent).view(100, 100), 2 * math.pi / 100
    whole = mass(latent, (-math.pi, -math.pi), (math.pi, math.pi))
    for i, j in ((0, 0), (37, 50), (66, 49), (99, 3)):
        corner = -math.pi + side * np.array([i, j])
        expected = mass(latent, tuple(corner), tuple(corner + side)) / whole
        assert log_p[i, j].exp().item() == pytest.approx(expected, rel=5e-4)
    assert log_p.exp().sum().item() == pytest.approx(1)


def test_divergences_and_distances_are_those_of_their_definitions():
    p, q = (np.random.default_rng(seed).dirichlet(np.ones(50)) for seed in range(2))
    one, other = (torch.tensor(np.log(share)) for share in (p, q))
    assert bins.kl(one, other) == pytest.approx((p * np.log(p / q)).sum())
    assert bins.variation(one, other) == pytest.approx(np.maximum(p - q, 0).sum())
    counts = torch.tensor([3.0, 0.0, 1.0])
    assert bins.kl(torch.tensor([0.0, 1.0, 0.0]).log(), bins.from_counts(counts)) == pytest.approx(-math.log(1e-8))
    assert bins.kl(torch.tensor([0.75, 0.0, 0.25]).log(), bins.from_counts(counts)) == pytest.approx(0)


def test_errors_are_those_of_a_truth_that_is_known(ala2):
    """Of von Mises marginals: F = 2.4 (...) instead of 3 (...), and a tilt that shifts mass to φ > 0."""
    truth, run = Waves(), torsion_run(ala2, Waves(2.4, tilt=-0.5), evaluations=777)
    found = bins.errors(run, bins.log_masses(truth))
    phi = (np.arange(4000) + 0.5) / 4000 * 2 * np.pi - np.pi

    def marginals(of: Waves) -> list[np.ndarray]:
        weights = np.exp(of.height * np.cos(phi - 1) - of.tilt * np.sin(phi)), np.exp(of.height * np.cos(phi))
        return [w / w.sum() for w in weights]

    p, q = marginals(truth), marginals(run.model.latent)
    expected = sum((one * np.log(one / other)).sum() for one, other in zip(p, q, strict=True))
    assert found["forward_kl"] == pytest.approx(expected, rel=2e-3)
    there = phi > 0
    assert found["p_phi_positive"] == pytest.approx(q[0][there].sum(), rel=1e-3)
    assert found["p_phi_positive_reference"] == pytest.approx(p[0][there].sum(), rel=1e-3)
    assert found["p_phi_positive_off"] == pytest.approx(q[0][there].sum() / p[0][there].sum() - 1, rel=5e-3)
    coarse = [[w[20::40] for w in of] for of in (p, q)]
    height = -np.log(np.outer(*coarse[0]) / np.outer(*coarse[0]).max())
    off = np.log(np.outer(*coarse[1])) - np.log(np.outer(*coarse[0]))
    for name, (low, high) in {"low": (0, 5), "high": (5, 10)}.items():
        inside = (height >= low) & (height < high)
        assert found[f"rms_{name}_kt"] == pytest.approx(math.sqrt((off[inside] ** 2).mean()), rel=2e-2)
    assert found["evaluations"] == 777


def test_the_predicted_divergence_needs_no_truth(ala2):
    """½ Var_p of spread k cos φ over members k, as integrals."""
    found = bins.found(torsion_run(ala2, Waves(spread=0.2)))
    phi = (np.arange(4000) + 0.5) / 4000 * 2 * np.pi - np.pi
    p = np.exp(3 * np.cos(phi - 1))
    p /= p.sum()
    variance = (p * np.cos(phi) ** 2).sum() - (p * np.cos(phi)).sum() ** 2
    members = np.linspace(-1, 1, 10)
    assert found["predicted_kl"] == pytest.approx(0.5 * 0.04 * (members**2).sum() / 9 * variance, rel=1e-3)
    assert "forward_kl" not in found and found["p_phi_positive"] > 0.5


def test_the_truth_is_quadrature_or_the_mean_of_its_runs(ala2):
    one, other = Waves(tilt=0.5), Waves(2.0)
    named = [torsion_run(ala2, of, "ala2/free_energy_truth seed-0") for of in (one, other)]
    runs = [torsion_run(ala2), *named, torsion_run(ala2, name="ala2/free_energy steps-9 seed-0")]
    shown, truths = bins.judged(runs)
    assert [run.name for run in shown] == [runs[0].name, runs[3].name] and len(truths) == 2
    mean = Waves(2.5, tilt=0.25)  # The mean F, up to a constant.
    assert bins.kl(bins.log_masses(mean), bins.log_truth(shown[0], truths)) == pytest.approx(0, abs=1e-5)
    assert bins.judged(named)[0] == bins.judged(named)[1] == named
    with pytest.raises(InputError, match="some of an experiment whose name ends in _truth, .*; found none; mend"):
        bins.log_truth(shown[0], bins.judged(shown)[1])
    line = FreeEnergySplines(1, [-2.5], [1.1], [10])
    planar = torsion_run(ala2)._replace(system=MuellerBrown(), model=SimpleNamespace(latent=line, encoder=None))
    exact = profile(planar).exact
    assert torch.allclose(bins.log_truth(planar, []), (-exact).log_softmax(0))
    assert bins.positive(planar) is None and bins.coordinates(planar) == ["z1"]


def test_coordinates_have_the_names_of_their_torsions(ala2):
    run = torsion_run(ala2)
    assert bins.coordinates(run) == ["φ", "ψ"]
    backwards = SimpleNamespace(latent=Waves(), encoder=Observed(Dihedrals([ala2.phi_psi[1], [8, 6, 4, 5]])))
    assert bins.coordinates(run._replace(model=backwards)) == ["ψ", "CA-N-C-O"]
    assert bins.positive(run._replace(model=backwards)) is None
    backwards.encoder = Observed(Dihedrals(ala2.phi_psi[::-1]))
    there = bins.positive(run._replace(model=backwards)).view(100, 100)
    assert there[:, 50:].all() and not there[:, :50].any()


def test_histograms_of_draws_go_by_their_weights(ala2, hinge):
    x = hinge(torch.randn(300, 2))
    x[7] = math.nan
    log_w = torch.randn(300).log_softmax(0)
    log_w[7] = -torch.inf
    found = bins.histogram(ala2, Weighted(x, log_w), 24).view(24, 24)
    angles = ala2.backbone(x).rad2deg()[log_w.isfinite()].numpy()
    w = log_w[log_w.isfinite()].exp().numpy()
    expected = np.histogram2d(*angles.T, bins=24, range=[[-180, 180]] * 2, weights=w / w.sum())[0]
    assert found.numpy() == pytest.approx(expected, abs=1e-6)


def test_budgets_are_means_over_seeds_at_rounds_and_ends(ala2):
    truth = bins.log_masses(Waves())
    off = [bins.kl(truth, bins.log_masses(Waves(height))) for height in (2.0, 2.5, 2.9)]
    first = torsion_run(ala2, Waves(2.0), "ala2/active seed-0", 100)
    end = torsion_run(ala2, Waves(2.9), "ala2/active seed-0", 300, number=2, load=lambda round: first)
    other = torsion_run(ala2, Waves(2.5), "ala2/active seed-1", 200)
    found = bins.budgets([end, other], truth, draws=0)
    assert [point.evaluations for point in found] == [150, 300]
    assert found[0].kl == pytest.approx([off[0], off[1]]) and found[1].kl == pytest.approx([off[2]])
    assert found[0].mean == pytest.approx((off[0] + off[1]) / 2)
    # Of several numbers of steps the ends alone.
    more = [end, end._replace(name="ala2/active steps-9 seed-0", system=torsion_run(ala2, evaluations=900).system)]
    assert [point.evaluations for point in bins.budgets(more, truth, draws=0)] == [300, 900]
    names = ["ala2/free_energy steps-9 seed-0", "ala2/free_energy objective.a-1+steps-9 seed-3", "ala2/x seed-1"]
    assert [bins.line(torsion_run(ala2, name=name)) for name in names] == [
        "ala2/free_energy",
        "ala2/free_energy objective.a-1",
        "ala2/x",
    ]
