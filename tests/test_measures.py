"""Measures that go by weights, beside the same of frames that come up so many times."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from predcg.batch import Batch, Data
from predcg.measures import weights
from predcg.measures.latent import nearest_label
from predcg.measures.runs import experiment


@pytest.fixture
def weighted():
    """Configurations whose weights are whole numbers, some of them 0."""
    return Batch(torch.randn(60, 3), torch.randint(0, 4, (60,)).float())


def repeated(batch: Batch) -> np.ndarray:
    return np.repeat(batch.x.double().numpy(), batch.w.int().numpy(), axis=0)


def test_averages_are_those_of_repeated_frames(weighted):
    x = repeated(weighted)
    assert weights.mean(weighted, weighted.x).numpy() == pytest.approx(x.mean(0))
    n = weighted.effective_size
    assert weights.deviation(weighted, weighted.x).numpy() == pytest.approx(x.std(0) * math.sqrt(n / (n - 1)))
    assert weights.within(weighted, weighted.x[:, 0]) == pytest.approx((x[:, 0].min(), x[:, 0].max()))
    odd = Batch(weighted.x[:5], torch.tensor([1.0, 0.0, 3.0, 2.0, 1.0]))
    assert weights.median(odd, odd.x[:, 0]) == pytest.approx(np.median(repeated(odd)[:, 0]))
    assert weights.share(weighted).sum().item() == pytest.approx(1)


def test_of_equal_weights_averages_are_the_usual_ones():
    batch = Batch(torch.randn(41, 2), torch.full((41,), 7.0))
    assert torch.allclose(weights.deviation(batch, batch.x).float(), batch.x.std(0))
    assert weights.median(batch, batch.x[:, 0]) == batch.x[:, 0].median().item()
    assert weights.mean(batch, batch.x[:, 0] > 9).item() == 0 and weights.mean(batch, batch.x[:, 0] < 9).item() == 1
    assert weights.as_many(batch) == 41 and weights.effective_frames([Data(batch, batch)]) == {}


def test_histograms_are_those_of_repeated_frames(weighted):
    x, edges = repeated(weighted), np.linspace(-1, 1, 6)
    expected = np.histogram(x[:, 0], edges)[0] / len(x)
    assert weights.histogram(weighted, weighted.x[:, 0], edges) == pytest.approx(expected)  # the rest is beyond
    assert weights.density(weighted, weighted.x[:, 0], edges) == pytest.approx(expected / 0.4)
    angles = 60 * weighted.x[:, :2]
    plane = np.histogram2d(*(60 * x[:, :2].T), bins=5, range=[[-180, 180]] * 2)[0]
    found = weights.counts(weighted, angles, 5)
    assert found / found.sum() == pytest.approx(plane / plane.sum())
    assert weights.counts(Batch(weighted.x), angles, 5).sum() == 60


def test_the_error_of_a_series_is_that_of_its_blocks():
    batch = Batch(torch.zeros(8, 1), torch.tensor([1.0, 3.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0]))
    values = torch.tensor([4.0, 0.0, 9.0, 9.0, 2.0, 4.0, 5.0, 5.0])
    mean, error = weights.block_mean(batch, values, blocks=4)  # 1, none, 3 and 5
    assert mean == pytest.approx((4 + 6 + 20) / 10) and error == pytest.approx(2 / math.sqrt(3))


def test_neighbours_count_by_their_weights():
    """Σ w² / Σ w is 9 / 5: two neighbours are as much as 3.6."""
    batch = Batch(torch.zeros(5, 1), torch.tensor([1.0, 2.0, 0.0, 2.0, 0.0]))
    index, weight = weights.nearest(batch, torch.tensor([[1.0, 2.0, 3.0, 4.0, torch.inf]]), 2)
    assert index[0].tolist() == [0, 1, 2, 3, 4] and weight[0].tolist() == pytest.approx([1, 2, 0, 0.6, 0])
    index, weight = weights.nearest(Batch(batch.x), torch.tensor([[3.0, 2.0, 5.0, 1.0, 4.0]]), 3)
    assert index[0].tolist() == [3, 1, 0] and weight[0].tolist() == [1, 1, 1]


def test_copies_of_a_frame_do_not_vote_for_it():
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.1], [1.2]])
    label = torch.tensor([0, 0, 0, 1, 1, 1])
    found = nearest_label(Batch(x), x, label, neighbours=2)
    assert found.tolist() == [1] * 6


def test_effective_sizes_are_told_of_uneven_weights_alone():
    even, uneven = Batch(torch.zeros(3, 1)), Batch(torch.zeros(3, 1), torch.tensor([2.0, 1.0, 1.0]))
    assert weights.effective_frames([Data(even, uneven)]) == {"effective_frames_held_out": pytest.approx(16 / 6)}
    told = weights.effective_frames([Data(uneven, even), Data(even, even)])
    assert told == {"effective_frames_training": pytest.approx((16 / 6 + 3) / 2)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("double_well/mixed seed-3", "double_well/mixed"),
        ("double_well/mixed rounds-2 seed-3", "double_well/mixed rounds-2"),
        ("double_well/mixed rounds-2 seed-3 round 2", "double_well/mixed rounds-2 round 2"),
        ("double_well/mixed mine", "double_well/mixed mine"),
    ],
)
def test_runs_that_differ_in_their_seeds_alone_are_of_one_experiment(name, expected):
    assert experiment(SimpleNamespace(name=name)) == expected
