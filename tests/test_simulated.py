"""A learnt free energy beside simulated frames of known weights."""

import math

import numpy as np
import pytest
import torch
from test_bins import Waves, torsion_run

from predcg import figures
from predcg.batch import Batch, Data
from predcg.files import write_json
from predcg.measures import simulated
from predcg.measures.simulated import BLOCKS, beside


@pytest.fixture
def reference(ala2, hinge, tmp_path):
    """Trajectories of independent frames that are somewhere near the minimum of F, 20 of each of 64."""
    x = hinge(0.5 * torch.randn(64 * 20, 2))
    Batch.of(x, ala2(x)).save(tmp_path / "simulation/frames.npz")
    write_json(tmp_path / "summary.json", {"energy_evaluations": 5})
    run = torsion_run(ala2, name="ala2/replica_exchange seed-0")
    return run._replace(folder=tmp_path, history=[], data=Data(Batch.of(x), Batch.of(x)))


def test_shares_are_those_of_a_histogram_and_errors_those_of_independent_frames(ala2, reference):
    found = beside(torsion_run(ala2), reference, 12)
    frames = Batch.load(reference.folder / "simulation/frames.npz")
    angles = ala2.backbone(frames.x).rad2deg().numpy()
    share = np.histogram2d(*angles.T, bins=12, range=[[-180, 180]] * 2)[0].flatten() / len(angles)
    assert found.simulated.exp().numpy() == pytest.approx(share)
    often = share > 0.05
    expected = np.sqrt((1 - share[often]) / share[often] / len(angles))  # of log p, binomial
    assert found.error.numpy()[often] == pytest.approx(expected, rel=0.5)
    assert found.error.numpy()[often].mean() == pytest.approx(expected.mean(), rel=0.2)
    assert found.learnt.exp().sum().item() == pytest.approx(1)
    positive = (angles[:, 0] > 0).mean()
    assert found.numbers["p_phi_positive_simulated"] == pytest.approx(positive)
    height = -np.log(np.maximum(share, 1e-300) / share.max())
    off = (found.learnt - found.simulated).numpy()
    assert found.numbers["rms_low_kt"] == pytest.approx(math.sqrt((off[height < 5] ** 2).mean()))
    noise, beyond = (found.numbers[f"rms_low_kt_{name}"] for name in ("noise", "beyond"))
    assert noise**2 + beyond**2 == pytest.approx(found.numbers["rms_low_kt"] ** 2)


def test_errors_are_of_whole_trajectories(ala2, reference):
    """Frames of a trajectory that are all the same are worth one."""
    frames = Batch.load(reference.folder / "simulation/frames.npz")
    stuck = frames.frames(torch.arange(64).repeat_interleave(20) * 20)
    stuck.save(reference.folder / "simulation/frames.npz")
    found = beside(torsion_run(ala2), reference, 2)
    share = found.simulated.exp()
    expected = ((1 - share) / share / 64).sqrt()
    there = share > 0.1
    assert found.error[there].numpy() == pytest.approx(expected[there].numpy(), rel=0.5) and 64 % BLOCKS == 0


def test_a_ladder_is_reweighted(ala2, reference, monkeypatch):
    frames = Batch.load(reference.folder / "simulation/frames.npz")
    beta = torch.tensor([1.0, 0.5]).repeat_interleave(len(frames) // 2)
    Batch(frames.x, u=frames.u, beta=beta).save(reference.folder / "simulation/frames.npz")
    w = 1 + torch.arange(len(frames)) % 3
    monkeypatch.setattr(simulated, "reweight", lambda batch: Batch(batch.x, w.float(), u=batch.u, beta=batch.beta))
    found = beside(torsion_run(ala2), reference, 12)
    angles = ala2.backbone(frames.x).rad2deg().numpy()
    share = np.histogram2d(*angles.T, bins=12, range=[[-180, 180]] * 2, weights=w.numpy())[0].flatten() / w.sum().item()
    assert found.simulated.exp().numpy() == pytest.approx(share)


def test_both_are_drawn_with_the_errors_of_the_simulation(ala2, reference):
    runs = [torsion_run(ala2, Waves(tilt=tilt), f"ala2/x seed-{tilt}") for tilt in (0, 1)]
    picture, numbers = figures.free_energy_simulated([*runs, reference], bins=12)
    each = [beside(run, reference, 12).numbers for run in runs]
    assert numbers["rms_low_kt"] == pytest.approx((each[0]["rms_low_kt"] + each[1]["rms_low_kt"]) / 2)
    error = each[0]["p_phi_positive_simulated_error"]
    assert numbers["p_phi_positive_simulated_error"] == error and numbers["evaluations_reference"] == 5
    points = picture.axes[0].containers[0].lines[0].get_xydata()
    found = beside(runs[0], reference, 12)
    seen = found.simulated.isfinite()
    assert points[:, 1] == pytest.approx((found.learnt.max() - found.learnt)[seen].numpy())
