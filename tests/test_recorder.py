"""What simulations leave on disk: exact resume, and files that other programs read."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from predcg.batch import Batch
from predcg.samplers import HMC, Langevin, Metropolis, OpenMMLangevin, ReplicaExchange, recorder
from predcg.samplers.recorder import Recorder
from predcg.systems import Harmonic, Molecule

FRAMES, REPLICAS = 6, 3
# Settings that suit alanine dipeptide.
SAMPLERS = {
    "langevin": partial(Langevin, timestep=0.001, friction=5.0, stride=3, burn_in=4),
    "replica_exchange": partial(
        ReplicaExchange, timestep=0.001, friction=5.0, stride=4, burn_in=4, ladder=[1.0, 1.1, 1.2], exchange=2
    ),
    "hmc": partial(HMC, timestep=0.0005, leapfrog=2, stride=2, burn_in=3),
    "metropolis": partial(Metropolis, step=0.001, stride=3, burn_in=4),
    "openmm": partial(OpenMMLangevin, timestep_ps=0.001, friction_per_ps=5.0, stride=3, burn_in=4, seed=0),
}
SCRIPT = """
import sys, torch
from pathlib import Path
from predcg.samplers import recorder
from predcg.systems import Molecule
from test_recorder import long_simulation

torch.set_num_threads(1)
recorder.SAVE_EVERY_S = 0.02
long_simulation(sys.argv[1], Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0), Path(sys.argv[2]))
"""


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return SAMPLERS[request.param]


class Interrupted(Exception):
    pass


def now_and_then(chance: random.Random, function):
    """The function, which is sometimes interrupted before it begins."""

    def wrapped(*args, **kwargs):
        if chance.random() < 0.2:
            raise Interrupted
        return function(*args, **kwargs)

    return wrapped


def listing(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def long_simulation(name: str, system, folder: Path | None) -> Batch:
    return SAMPLERS[name]().run(system, system.start(2), 60, folder=folder)


def assert_same(one: Batch, other: Batch):
    assert one.columns().keys() == other.columns().keys()
    for name, a in one.columns().items():
        b = other.columns()[name]
        assert a.dtype == b.dtype and torch.equal(a, b), name


@pytest.mark.parametrize("seed", range(3))
def test_an_interrupted_simulation_goes_on_bit_by_bit(sampler, seed, ala2, tmp_path, monkeypatch):
    """Again and again: at a record, between a part and the state that counts it, in either writing, at the very end."""
    ala2.evaluations.zero_()
    whole = sampler().run(ala2, ala2.start(REPLICAS), FRAMES)
    work = int(ala2.evaluations)
    monkeypatch.setattr(recorder, "SAVE_EVERY_S", 0.0)
    chance, interruptions, batch = random.Random(seed), 0, None
    for owner, name in (
        (Recorder, "record"),
        (Batch, "save"),
        (torch, "save"),
        (recorder, "write_trajectory"),
        (os, "replace"),
    ):
        monkeypatch.setattr(owner, name, now_and_then(chance, getattr(owner, name)))
    while batch is None:
        ala2.evaluations.zero_()
        try:
            batch = sampler().run(ala2, ala2.start(REPLICAS), FRAMES, folder=tmp_path)
        except Interrupted:
            interruptions += 1
    assert interruptions > 2
    assert_same(batch, whole)
    # Those before the interruption are counted, the starts' not again.
    assert int(ala2.evaluations) == pytest.approx(work, abs=len(whole.x) / FRAMES)
    assert listing(tmp_path) == {"frames.npz", "trajectory.dcd", "topology.pdb"}


@pytest.mark.parametrize("name", [pytest.param("langevin", marks=pytest.mark.slow), "replica_exchange"])
def test_a_killed_simulation_goes_on_bit_by_bit(name, tmp_path):
    """SIGKILL of a process some time after a part that is drawn by chance; another goes on."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    part = killed / f"part_{random.randrange(8):05d}.npz"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, name, str(killed)], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL
    )
    while not (part.exists() and (killed / "state.pt").exists()) and process.poll() is None:
        time.sleep(0.001)
    time.sleep(0.02 * random.random())
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert part.exists() and not (killed / "frames.npz").exists()
    for folder in (killed, whole):
        # A system of its own: that of all tests may have been compiled by one of them, which changes last digits.
        long_simulation(name, Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0), folder)
    assert_same(Batch.load(killed / "frames.npz"), Batch.load(whole / "frames.npz"))
    assert listing(killed) == {"frames.npz", "trajectory.dcd", "topology.pdb"}


def test_a_finished_simulation_is_read_and_not_run_again(sampler, ala2, tmp_path, monkeypatch):
    """Its evaluations are counted all the same, since the frames have cost them; but for the one of each start."""
    before = int(ala2.evaluations)
    batch = sampler().run(ala2, ala2.start(REPLICAS), FRAMES, folder=tmp_path)
    after, written = int(ala2.evaluations), (tmp_path / "frames.npz").stat().st_mtime_ns
    monkeypatch.setattr(recorder.Recorder, "record", lambda *frame: pytest.fail("simulated again"))
    assert_same(sampler(seed=5).run(ala2, ala2.start(REPLICAS), FRAMES, folder=tmp_path), batch)
    assert 0 <= (after - before) - (int(ala2.evaluations) - after) <= 4 * REPLICAS
    assert (tmp_path / "frames.npz").stat().st_mtime_ns == written


def test_a_state_is_tensors_and_numbers_and_its_parts_hold_all_frames_before_it(tmp_path, monkeypatch):
    """Such a file cannot run code when it is loaded."""
    system, sampler = Harmonic([1.0, 2.0]), ReplicaExchange(0.1, 1.0, 2, 2, [1.0, 2.0], 1)
    monkeypatch.setattr(recorder, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(Recorder, "finish", lambda *_: (_ for _ in ()).throw(Interrupted))
    with pytest.raises(Interrupted):
        sampler.run(system, torch.zeros(3, 2), 4, folder=tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor | int | float) for value in state.values())
    assert state["step"] == 2 + 4 * 2 and state["parts"] == 4
    parts = [Batch.load(tmp_path / f"part_{i:05d}.npz") for i in range(4)]
    assert torch.equal(parts[-1].x, state["x"]) and torch.equal(parts[-1].beta, state["beta"])
    monkeypatch.undo()
    in_time = torch.stack([part.x for part in parts], 1).flatten(0, 1)
    assert torch.equal(sampler.run(system, torch.zeros(3, 2), 4, folder=tmp_path).x, in_time)
    assert listing(tmp_path) == {"frames.npz"}  # of no molecule there is no trajectory


def test_a_part_without_its_state_is_not_left_behind(tmp_path, monkeypatch):
    """The simulation is interrupted before it writes its first state, and ends the second time before one is due."""
    system, sampler = Harmonic([1.0]), Langevin(0.1, 1.0, 1, 0)
    monkeypatch.setattr(recorder, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(Interrupted))
    with pytest.raises(Interrupted):
        sampler.run(system, torch.zeros(2, 1), 5, folder=tmp_path)
    assert listing(tmp_path) == {"part_00000.npz"}
    monkeypatch.undo()
    assert_same(sampler.run(system, torch.zeros(2, 1), 5, folder=tmp_path), sampler.run(system, torch.zeros(2, 1), 5))
    assert listing(tmp_path) == {"frames.npz"}


def test_what_a_kill_at_the_very_end_has_left_is_cleared(tmp_path, monkeypatch):
    """In the middle of writing the frames, before any state; and between the frames and the removal of the parts that
    they replace.
    """
    system, sampler = Harmonic([1.0]), Langevin(0.1, 1.0, 1, 0)
    (tmp_path / ".frames.8338.npz").touch()
    batch = sampler.run(system, torch.zeros(2, 1), 5, folder=tmp_path)
    assert listing(tmp_path) == {"frames.npz"}
    for name in ("part_00000.npz", "state.pt"):
        (tmp_path / name).touch()
    assert_same(sampler.run(system, torch.zeros(2, 1), 5, folder=tmp_path), batch)
    assert listing(tmp_path) == {"frames.npz"}


def test_nothing_is_saved_before_it_is_due(tmp_path, monkeypatch):
    system, seen = Harmonic([1.0]), []
    save = Recorder.save
    monkeypatch.setattr(Recorder, "save", lambda *args: (save(*args), seen.extend(listing(tmp_path))))
    Langevin(0.1, 1.0, 1, 0).run(system, torch.zeros(2, 1), 50, folder=tmp_path)
    assert seen == []


def test_frames_and_trajectory_of_a_molecule_are_the_same(sampler, ala2, tmp_path):
    batch = sampler().run(ala2, ala2.start(REPLICAS), FRAMES, folder=tmp_path)
    assert_same(Batch.load(tmp_path / "frames.npz"), batch)
    trajectory = mdtraj.load(str(tmp_path / "trajectory.dcd"), top=str(tmp_path / "topology.pdb"))
    assert np.abs(trajectory.xyz.reshape(batch.x.shape) - batch.x.numpy()).max() < 1e-5
    shipped = mdtraj.load(str(Path(recorder.__file__).parents[1] / "systems/ala2.pdb")).topology
    assert [str(atom) for atom in trajectory.topology.atoms] == [str(atom) for atom in shipped.atoms]
    assert len(list(trajectory.topology.bonds)) == len(list(shipped.bonds)) == 21
    first = mdtraj.load(str(tmp_path / "topology.pdb")).xyz  # in thousandths of an ångström
    assert np.abs(first - trajectory.xyz[:1]).max() < 1e-4
