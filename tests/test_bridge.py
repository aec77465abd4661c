"""The bridge: OpenMM's own numbers from worker processes that never hang and never stay behind."""

import contextlib
import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from predcg.errors import InputError
from predcg.systems import Peptide
from predcg.systems import bridge as module
from predcg.systems.bridge import Bridge
from predcg.systems.forcefield import Batched

assert_equal = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
STRUCTURE = Path(module.__file__).with_name("ala2.pdb")


def frames(start: np.ndarray, n: int) -> np.ndarray:
    return start.reshape(-1) + 0.003 * np.random.default_rng(0).standard_normal((n, start.size))


def expected(system: openmm.System, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    energies, forces = np.empty(len(x)), np.empty(x.shape)
    for i, frame in enumerate(x):
        context.setPositions(frame.reshape(-1, 3))
        state = context.getState(energy=True, forces=True)
        energies[i] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces[i] = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer).reshape(-1)
    return energies, forces


def springs(n: int) -> openmm.System:
    """A chain of n particles."""
    system, bonds = openmm.System(), openmm.HarmonicBondForce()
    for _ in range(n):
        system.addParticle(1.0)
    for i in range(n - 1):
        bonds.addBond(i, i + 1, 0.1, 100.0)
    system.addForce(bonds)
    return system


def pids(bridge: Bridge) -> list[int]:
    return [worker._process.pid for worker in bridge._running]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def soon_gone(processes: list[int], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, processes))


@pytest.fixture(scope="module")
def peptide() -> tuple[openmm.System, np.ndarray]:
    pdb = app.PDBFile(str(STRUCTURE))
    system = app.ForceField("amber96.xml", "amber96_obc.xml").createSystem(pdb.topology, nonbondedMethod=app.NoCutoff)
    return system, pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


@pytest.fixture(scope="module")
def two(peptide):
    bridge = Bridge(peptide[0], 2, "Reference")
    yield bridge
    bridge.close()


@pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 129])
def test_numbers_are_those_of_openmm_in_the_order_of_the_frames(two, peptide, n):
    x = frames(peptide[1], n)
    for found, exact in zip(two.evaluate(x), expected(peptide[0], x), strict=True):
        assert found.dtype == np.float64
        assert_equal(found, exact)


def test_no_frames_need_no_workers(peptide):
    bridge = Bridge(peptide[0], 2)
    energies, forces = bridge.evaluate(np.empty((0, 66)))
    assert energies.shape == (0,) and forces.shape == (0, 66) and pids(bridge) == []


def test_workers_are_kept_and_fewer_frames_than_workers_are_fine(peptide):
    bridge = Bridge(peptide[0], 3, "Reference")
    x = frames(peptide[1], 2).astype(np.float32)
    first = bridge.evaluate(x)
    before = pids(bridge)
    assert len(before) == 3 and bridge.evaluate(x)[0] == pytest.approx(first[0], abs=0) and pids(bridge) == before
    bridge.close()


def test_water_in_a_periodic_box_with_pme():
    water, forcefield = app.Modeller(app.Topology(), []), app.ForceField("tip3p.xml")
    water.addSolvent(forcefield, model="tip3p", boxSize=openmm.Vec3(1.2, 1.2, 1.2) * unit.nanometer)
    system = forcefield.createSystem(
        water.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.45 * unit.nanometer, rigidWater=False
    )
    x = frames(np.array(water.positions.value_in_unit(unit.nanometer)), 5)
    x[3, :3] += 1.2  # an image of the same atom
    bridge = Bridge(system, 2, "Reference")
    for found, exact in zip(bridge.evaluate(x), expected(system, x), strict=True):
        assert_equal(found, exact)
    bridge.close()


@pytest.mark.slow
def test_what_the_batched_form_lacks_has_the_energies_of_openmm_as_its_refusal_says():
    """CHARMM's ends come about by patches, and its impropers and Lennard-Jones terms are custom forces."""
    peptide = Peptide("WHPK", ["charmm36.xml"], 300.0, workers=2)
    with pytest.raises(
        InputError,
        match="system.forcefield: the batched form has no CustomTorsionForce; use OpenMM itself with system.workers=2$",
    ):
        Batched(peptide.openmm_system)
    x = torch.tensor(frames(peptide.start(1).double().numpy(), 3))
    u, slope = peptide.evaluate(x)
    energies, forces = expected(peptide.openmm_system, x.numpy())
    np.testing.assert_allclose(u * peptide.kt, energies, rtol=1e-5, atol=0.01)
    np.testing.assert_allclose(-slope * peptide.kt, forces, rtol=1e-4, atol=0.2)


@pytest.mark.parametrize(("particles", "n"), [(50_000, 5), (10, 6_000)])  # beyond any pipe in one frame, and in many
def test_messages_beyond_the_buffers_of_the_pipes(particles, n):
    bridge = Bridge(springs(particles), 2, "Reference")
    x = frames(np.linspace([0.0, 0.0, 0.0], [0.1 * particles, 0.0, 0.0], particles), n)
    for found, exact in zip(bridge.evaluate(x), expected(springs(particles), x), strict=True):
        assert_equal(found, exact)
    bridge.close()


def test_the_fastest_platform_is_found_once(peptide, caplog):
    caplog.set_level("INFO")
    bridge = Bridge(peptide[0], 2)
    x = frames(peptide[1], 4)
    # The CPU platform counts in single precision.
    assert bridge.evaluate(x)[0] == pytest.approx(expected(peptide[0], x)[0], abs=0.1)
    bridge.close()
    bridge.evaluate(x)
    bridge.close()
    (line,) = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert bridge._fastest in line and "Reference" in line and "µs" in line


def test_a_frame_that_is_not_finite_is_named_and_the_workers_go_on(two, peptide):
    x = frames(peptide[1], 9)
    two.evaluate(x)
    before = pids(two)
    broken = x.copy()
    broken[7, 5] = np.nan
    with pytest.raises(FloatingPointError, match="configuration 7: coordinates"):
        two.evaluate(broken)
    broken = x.copy()
    broken[[3, 6]] = 0.0  # all atoms in one place
    with pytest.raises(FloatingPointError, match="configuration 3: energy"):
        two.evaluate(broken)
    assert np.isfinite(two.evaluate(x)[0]).all() and pids(two) == before


def test_an_exception_of_openmm_names_its_frame_and_leaves_no_worker(tmp_path, monkeypatch):
    (tmp_path / "brittle.py").write_text(
        "import numpy as np\n"
        "def force(state):\n"
        "    x = state.getPositions(asNumpy=True)._value\n"
        "    print('a stray line on the standard output')\n"
        "    if x[0, 0] > 1: raise ValueError('too far out')\n"
        "    return float((x**2).sum()), -2 * x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import brittle

    system = springs(2)
    system.addForce(openmm.PythonForce(brittle.force))
    bridge, x = Bridge(system, 2, "Reference"), np.tile([0.0, 0.0, 0.0, 0.1, 0.0, 0.0], (11, 1))
    assert bridge.evaluate(x)[0] == pytest.approx(np.full(11, 0.01))
    before = pids(bridge)
    x[7, 0] = 2.0
    with pytest.raises(RuntimeError, match="configuration 7: OpenMM fails with: .*too far out"):
        bridge.evaluate(x)
    assert soon_gone(before)
    assert bridge.evaluate(x[:7])[0] == pytest.approx(np.full(7, 0.01))
    bridge.close()


def test_a_context_that_cannot_be_made_is_an_error():
    system = springs(2)
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 0.5))
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(force.PME)  # with a cut-off of 1 nm
    for _ in range(2):
        force.addParticle(0.0, 0.1, 0.0)
    system.addForce(force)
    for platform in (None, "Reference"):
        with pytest.raises(RuntimeError, match="cutoff distance cannot be greater"):
            Bridge(system, 1, platform).evaluate(np.zeros((1, 6)))


def test_a_killed_worker_is_an_error_and_the_next_call_works(two, peptide):
    x = frames(peptide[1], 6)
    two.evaluate(x)
    before = pids(two)
    os.kill(before[1], signal.SIGKILL)
    with pytest.raises(RuntimeError, match=rf"worker \(process {before[1]}\) ended with exit code -9"):
        two.evaluate(x)
    assert soon_gone(before)
    assert np.isfinite(two.evaluate(x)[0]).all()
    killer = threading.Timer(0.2, os.kill, (pids(two)[0], signal.SIGKILL))
    killer.start()
    with pytest.raises(RuntimeError, match="exit code -9"):
        two.evaluate(frames(peptide[1], 40_000))
    killer.join()


def test_a_worker_says_why_it_died(peptide, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "nowhere"))
    monkeypatch.setattr(module, "SCRIPT", "no_such_worker.py")
    with pytest.raises(RuntimeError, match="exit code 2: .*no_such_worker.py"):
        Bridge(peptide[0], 2).evaluate(peptide[1].reshape(1, -1))


def test_close_leaves_no_process_and_can_be_repeated(peptide):
    bridge = Bridge(peptide[0], 2, "Reference")
    bridge.evaluate(frames(peptide[1], 3))
    before = pids(bridge)
    bridge.close()
    bridge.close()
    assert len(before) == 2 and not any(map(alive, before))


def test_a_forgotten_bridge_leaves_no_process(peptide):
    bridge = Bridge(peptide[0], 2, "Reference")
    bridge.evaluate(frames(peptide[1], 3))
    before = pids(bridge)
    del bridge
    assert soon_gone(before)


def test_a_copy_starts_workers_of_its_own(two, peptide):
    x = frames(peptide[1], 3)
    energies, _ = two.evaluate(x)
    for twin in (pickle.loads(pickle.dumps(two)), copy.deepcopy(two)):
        assert pids(twin) == []
        assert twin.evaluate(x)[0] == pytest.approx(energies, abs=0)
        assert not set(pids(twin)) & set(pids(two))
        twin.close()


def test_a_worker_does_not_know_torch_and_has_one_thread_for_openmm(peptide):
    bridge = Bridge(peptide[0], 1, "CPU")
    bridge.evaluate(frames(peptide[1], 2))
    (pid,) = pids(bridge)
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "OpenMM" in maps and "torch" not in maps
    assert b"OPENMM_CPU_THREADS=1\0" in Path(f"/proc/{pid}/environ").read_bytes()
    bridge.close()


def test_a_worker_ends_at_the_end_of_its_input():
    for first in (b"", b"+1234", b"+" + (99).to_bytes(8, "little") + b"half a message"):
        done = subprocess.run(
            [sys.executable, "-P", str(module.SCRIPT), str(os.getpid())], input=first, capture_output=True, timeout=20
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


PARENT = """
import os, signal, time
import numpy as np, openmm
from predcg.systems.bridge import Bridge

# A shell starts what runs in its background with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

n = 2000
system, bonds = openmm.System(), openmm.HarmonicBondForce()
for i in range(n):
    system.addParticle(1.0)
    if i:
        bonds.addBond(i - 1, i, 0.1, 1.0)
system.addForce(bonds)
bridge = Bridge(system, 2, "Reference")
x = np.random.default_rng(0).standard_normal((2000, 3 * n))
bridge.evaluate(x[:1])
child = os.fork()  # uses a copy of the bridge, and holds the pipes open beyond the end of its parent
if child == 0:
    bridge.evaluate(x[:4])
    bridge.close()
    print("evaluated", flush=True)
    time.sleep(600)
print("processes", child, *(worker._process.pid for worker in bridge._running), flush=True)
while True:
    bridge.evaluate(x)
"""


@pytest.fixture
def parents():
    """Two processes that evaluate for ever, each the head of a session; none outlives the test, also when it fails."""
    started = {
        how: subprocess.Popen(
            [sys.executable, "-c", PARENT],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for how in (signal.SIGINT, signal.SIGKILL)
    }
    yield started
    for parent in started.values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


@pytest.mark.slow
def test_workers_end_with_their_parent_however_it_ends(parents):
    for how, parent in parents.items():
        _, line = sorted(parent.stdout.readline() for _ in range(2))
        child, *workers = map(int, line.split()[1:])
        assert len(workers) == 2 and all(map(alive, workers))
        time.sleep(0.2)
        assert parent.poll() is None
        if how == signal.SIGINT:  # what Ctrl-C does: the whole process group
            os.killpg(parent.pid, how)
            assert parent.wait(10) == -signal.SIGINT
            assert "KeyboardInterrupt" in parent.stderr.read()
        else:
            parent.kill()
            parent.wait(10)
        assert soon_gone(workers), how
        if alive(child):
            os.kill(child, signal.SIGKILL)
        parent.stdout.close()
        parent.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "system.workers: expected a positive number of processes; found 0"),
        ((1, "Abacus"), "system.platform: expected one of .*Reference.*; found 'Abacus'"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(peptide, arguments, message):
    with pytest.raises(InputError, match=message):
        Bridge(peptide[0], *arguments)


def test_virtual_sites_and_another_number_of_coordinates_are_refused(two):
    with pytest.raises(InputError, match=r"expected \(n, 66\) coordinates; found shape \(3, 60\)"):
        two.evaluate(np.zeros((3, 60)))
    system = springs(3)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(InputError, match="expected no virtual sites; found 1"):
        Bridge(system, 1)
