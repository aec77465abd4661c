"""A run from Python: what is given to it in any usual form, and what it leaves of the caller's settings."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from predcg import run
from predcg.batch import Batch
from predcg.config import compose
from predcg.errors import InputError
from predcg.files import read_json


@pytest.fixture(scope="module")
def finished(tmp_path_factory, ala2):
    here = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        Batch(ala2.start(9) + 0.003 * torch.randn(9, 66)).save(Path("frames.npz"))
        load = ["acquisition=load", "acquisition.path=frames.npz", "acquisition.test_fraction=0.34"]
        cfg = compose(
            [
                "experiment=schoberl2019/ala2",
                *load,
                "steps=0",
                "posterior=none",
                "logger=none",
                "figures=[]",
                "folder=mine",
            ]
        )
        run.run(cfg)
        yield run.load(str(here / "mine"))


def forms(x, topology, folder):
    """The same frames in every form that a chemist has them in."""
    r = x.view(len(x), -1, 3)
    trajectory = mdtraj.Trajectory(r.numpy(), topology)
    trajectory.save(str(folder / "frames.dcd"))
    Batch(x).save(folder / "frames.npz")
    yield from (
        trajectory,
        str(folder / "frames.dcd"),
        folder / "frames.npz",
        x,
        r,
        r.double(),
        x.numpy(),
        r.numpy().astype(np.float64),
        x.double().requires_grad_(),
    )


def test_collective_variables_of_frames_in_any_form(finished, tmp_path):
    x = finished.data.test.x
    expected = finished.model.cv(x)
    for frames in forms(x, finished.system.topology, tmp_path):
        z = finished.cv(frames)
        assert torch.allclose(z, expected, atol=1e-5) and not z.requires_grad and z.dtype == torch.float32


def test_frames_in_angstrom_or_of_other_atoms_are_refused(finished):
    x = finished.data.test.x
    for wrong in (10 * x, 10 * x.numpy().reshape(-1, 22, 3)):
        with pytest.raises(
            InputError,
            match="frames: expected bonds as in the force field; .* 10 times too large: is the unit angstrom",
        ):
            finished.cv(wrong)
    with pytest.raises(
        InputError, match=r"frames: expected \(n, 22, 3\) or \(n, 66\) coordinates in nm; found shape \(3, 60\)"
    ):
        finished.cv(x[:, :60])
    with pytest.raises(InputError, match="frames: frame 1 has NaN or inf"):
        finished.cv(torch.cat([x[:1], x[:1] * torch.nan]))


def test_models_come_back_ready_for_use(finished):
    assert not finished.model.training and not any(parameter.requires_grad for parameter in finished.model.parameters())


def test_a_batch_has_equal_weights_unless_it_is_told(ala2):
    x = ala2.start(3)
    assert torch.equal(Batch(x).w, torch.ones(3)) and torch.equal(
        Batch(x, torch.tensor([1.0, 2.0, 3.0])).w, torch.tensor([1.0, 2.0, 3.0])
    )
    assert Batch(x.double()).w.dtype == torch.float64
    assert not Batch(x).weighted and Batch(x, torch.tensor([1.0, 2.0, 3.0])).weighted and len(Batch(x)) == 3


def test_batches_are_joined_with_what_all_of_them_have():
    one, other = (Batch(torch.randn(n, 2), torch.rand(n), u=torch.rand(n), beta=torch.rand(n)) for n in (3, 2))
    both = Batch.join([one, replace(other, beta=None)])
    assert both.columns().keys() == {"x", "w", "u"} and len(both) == 5
    for name, column in both.columns().items():
        assert torch.equal(column, torch.cat([one.columns()[name], other.columns()[name]]))


def test_nothing_is_changed_of_matplotlibs_settings():
    code = """
import matplotlib
before = dict(matplotlib.rcParams)
import predcg.run, predcg.draw
from predcg import figures
from predcg.figures.style import STYLE, save, styled
seen = styled(lambda runs: {key: matplotlib.rcParams[key] for key in STYLE})([])
assert seen == STYLE
assert dict(matplotlib.rcParams) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_a_run_tells_what_its_objective_has_recorded_and_its_numbers(tmp_path, monkeypatch):
    """Of every round: the history up to there, and its last state of F fitted to all of it."""
    monkeypatch.chdir(tmp_path)
    short = ["rounds=2", "steps=16", "epoch_steps=16", "logger=none", "figures=[]", "stop=none"]
    folder = run.run(compose(["experiment=mueller_brown/free_energy_active", *short]))
    last = run.load(folder)
    for one, share in zip(last.rounds, (1, 2), strict=True):
        matching = one.objective.terms["free_energy"]
        assert len(matching.z) == len(matching.log_w) == share * len(last.objective.terms["decoder"].log_w) // 2
        assert one.summary == read_json(folder / "summary.json") and one.summary["rounds"] == 2
        assert int(one.model.latent.fitted) == len(matching.z)
