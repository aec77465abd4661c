"""What the collective variables tell apart, on frames that carry their own basin."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import run_of

from predcg import figures
from predcg.priors import ARD, Flat
from predcg.results import Run
from predcg.systems import Molecule

BASINS = ("α", "β-1", "β-2")


def mapped(label: np.ndarray, z: np.ndarray, prior=None) -> Run:
    """A run whose held-out frames carry their own basin and collective variables: x = (label, z)."""
    system = SimpleNamespace(label=lambda x: x[:, 0].long(), basins=BASINS)
    x = torch.tensor(np.column_stack([label, z]), dtype=torch.float32)
    return run_of(system, x, cv=lambda x: x[:, 1:])._replace(prior=prior or Flat())


def three_basins(size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """40, 30 and 20 frames of the basins on lines 0.01 apart, three frames of β-2 just beyond α's; among them all,
    frames of no basin.
    """
    lines = [start + 0.01 * np.arange(n) for start, n in ((0, 40), (3, 30), (6, 20))]
    z1 = np.concatenate([*lines, [0.45] * 3, *lines, *lines])
    label = np.repeat([0, 1, 2, -1], [40, 30, 23, 180])
    return label, np.column_stack([z1, *[0.001 * z1**2] * (size - 1)])


@pytest.mark.parametrize("size", [1, 2])
def test_map_counts_neighbours_and_variance_of_frames_in_basins(size):
    label, z = three_basins(size)
    _, numbers = figures.latent_map([mapped(label, z)])
    # The three have but each other and three of α near them, and no α has them near.
    assert numbers["latent_knn_accuracy"] == pytest.approx(90 / 93)
    assert numbers["latent_recall"] == pytest.approx((1 + 1 + 20 / 23) / 3)
    groups = [z[label == basin] for basin in range(3)]
    grand = np.concatenate(groups).mean(0)
    within = sum(((group - group.mean(0)) ** 2).sum() for group in groups)
    between = sum(len(group) * ((group.mean(0) - grand) ** 2).sum() for group in groups)
    assert numbers["latent_between"] == pytest.approx(between / (between + within), rel=1e-4)
    assert [numbers[f"test_frames_{name}"] for name in BASINS] == [40, 30, 23]


def test_least_spread_is_that_of_the_narrowest_axis():
    corners = np.array([[2.0, 0.3], [2.0, -0.3], [-2.0, 0.3], [-2.0, -0.3]] * 10)
    c, s = math.cos(0.5), math.sin(0.5)
    unbiased = math.sqrt(40 / 39)
    label = np.full(40, -1)
    label[:5] = 0  # too few to have five others
    for z, least in (
        (corners @ [[c, s], [-s, c]], 0.3),
        (corners[:, :1], 2.0),
        (corners * [1, 0.5], 0.15),
        (corners @ [[1, 1], [0, 0]], 0.0),
    ):
        _, numbers = figures.latent_map([mapped(label, z)])
        expected = {
            "latent_least_sd": least * unbiased,
            "latent_unused": float(least < 0.2),
            "test_frames_α": 5,
            "test_frames_β-1": 0,
            "test_frames_β-2": 0,
        }
        expected |= {"frames_in_no_basin_percent": 87.5}
        assert numbers == pytest.approx(expected, abs=1e-3)


def test_rates_are_counted_for_each_prior():
    label, z = three_basins()
    z = z / z.std()
    figure, numbers = figures.latent_map(
        [
            mapped(label, z, ARD()),
            mapped(label, 0.3 * z, Flat()),
            mapped(label, z, ARD()),
            mapped(label, 0.1 * z, ARD()),
        ]
    )
    expected = {
        "latent_separate_ARD": 2 / 3,
        "latent_unused_ARD": 1 / 3,
        "latent_separate_ARD_error": 1 / 3,
        "latent_separate_Flat": 0.0,
        "latent_unused_Flat": 0.0,
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)
    assert (
        numbers["latent_least_sd_Flat"] == pytest.approx(0.3, rel=0.01) and "latent_least_sd_Flat_error" not in numbers
    )
    assert numbers["latent_recall_ARD"] == numbers["latent_recall_Flat"]  # whatever the scale
    assert [axes.get_title().splitlines()[0] for axes in figure.axes] == ["prior: ARD", "prior: Flat"]
    # Separate are only basins that are found again.
    _, numbers = figures.latent_map([mapped(np.arange(len(z)) % 3, z)])
    assert numbers["latent_recall"] < 0.9 and numbers["latent_separate"] == 0


def test_maps_without_two_basins_are_coloured_by_torsions(ala2, hinge):
    z = torch.randn(50, 2)
    run = run_of(ala2, hinge(z), cv=lambda x: z, decode=hinge)._replace(prior=Flat())
    assert "latent_knn_accuracy" in figures.latent_map([run])[1]
    for boxes in ({}, {"α": {"phi": [-60, 180]}}):
        bare = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0, boxes)
        figure, numbers = figures.latent_map([run._replace(system=bare)])
        assert set(numbers) == {"latent_least_sd", "latent_unused"}
        labels = [axes.get_ylabel() for axes in figure.axes if "degrees" in axes.get_ylabel()]
        assert labels == ["φ (degrees)", "ψ (degrees)"]
        assert figure.axes[0].collections[0].get_array().data == pytest.approx(-60 - 20 * z[:, 1].numpy(), abs=0.01)
        assert figures.decoder_walk([run._replace(system=bare)])[1] == {}
        assert "basins_in_strip" not in figures.structure_strip([run._replace(system=bare)])[1]
