"""A run that was interrupted is the uninterrupted one, for every experiment that ships, with its own callbacks; nothing
of a killed writer stays.
"""

import functools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import call
from omegaconf import OmegaConf
from test_experiments import EXPERIMENTS, small

from predcg import rounds, run
from predcg.catalogue import shipped
from predcg.cli import main
from predcg.config import compose
from predcg.errors import InputError
from predcg.files import alone, clear
from predcg.samplers import Gibbs, Langevin
from predcg.samplers.recorder import Recorder

STEPS, EPOCH = 8, 4
FEW = ["+callbacks.bounds.draws=50"]


class Interrupt(pl.Callback):
    """A kill in the middle of an epoch, after a checkpoint."""

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == EPOCH + 2:
            raise KeyboardInterrupt


def content(folder: Path) -> dict[str, object]:
    """All that a run leaves, but for wall times, pictures and Lightning's own counters."""
    summary = json.loads((folder / "summary.json").read_text())
    found = {"summary": {name: repr(value) for name, value in summary.items() if name != "wall_time_s"}}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.suffix in {".csv", ".dcd", ".txt"}:
            found[name] = file.read_bytes()
        elif file.suffix == ".npz":
            with np.load(file) as arrays:
                found |= {f"{name} {key}": arrays[key].tobytes() for key in arrays}
        elif file.suffix in {".ckpt", ".pt"}:
            kept = torch.load(file, weights_only=True, map_location="cpu")
            found |= {
                f"{name} {key}": value
                for key, value in leaves({k: v for k, v in kept.items() if k not in {"loops", "epoch"}})
            }
    return found


def leaves(node, path=""):
    """Numbers and tensors of nested containers, as bytes, by their path; files have names of their own."""
    if isinstance(node, dict):
        for key, child in node.items():
            if not str(key).startswith("ModelCheckpoint") and not str(key).startswith("Best"):
                yield from leaves(child, f"{path}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from leaves(child, f"{path}[{index}]")
    else:
        yield path, node.numpy().tobytes() if isinstance(node, torch.Tensor) else repr(node)


# Between them every kind that has a state; all others are among the slow tests.
RESUMED = [
    "ala2/biased",
    "ala2/free_energy",
    "double_well/reverse_kl",
    "mueller_brown/free_energy_active",
    "schoberl2015/long_range",
    "schoberl2019/ala2",
    "schoberl2019/double_well",
    "schopmans2024/mueller_brown",
]
TRAINED = [
    name
    for name in EXPERIMENTS
    if OmegaConf.load(shipped("conf") / f"experiment/{name}.yaml").get("steps") != 0  # composing all takes seconds
]


def kinds(experiment: str) -> set[str]:
    """Classes of which a run of this experiment has the state: where data come from, what is minimised, and what goes
    along.
    """
    cfg = compose([f"experiment={experiment}"])
    groups = ["acquisition", "objective", "posterior", "prior", "latent", "optimizer", "scheduler", "callbacks"]
    groups += ["sampler"] * cfg.acquisition._target_.endswith("Simulate")
    nodes = [OmegaConf.to_container(OmegaConf.create({"group": cfg[group]})) for group in groups]
    return {value for node in nodes for path, value in leaves(node) if path.endswith("._target_")}


def test_no_kind_is_left_out_of_the_fast_resumes():
    assert set().union(*map(kinds, TRAINED)) == set().union(*map(kinds, RESUMED))


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=[pytest.mark.slow] * (name not in RESUMED)) for name in TRAINED]
)
def test_every_experiment_resumes_bit_by_bit(experiment, tmp_path, monkeypatch):
    """Stopped in the middle of an epoch, and stopped once more when the training has ended and nothing is drawn yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "weigh", functools.partial(run.weigh, draws=300))
    sizes = [*small(experiment), f"steps={STEPS}", f"epoch_steps={EPOCH}", "logger=none", "figures=[training]"]
    cfg = {folder: compose([f"experiment={experiment}", *sizes, f"folder={folder}"]) for folder in ("whole", "parts")}
    for one in cfg.values():
        one.snapshots = one.snapshots and 3
    run.run(cfg["whole"])
    fit, results = rounds.fit, run._results
    monkeypatch.setattr(
        rounds,
        "fit",
        lambda module, data, trainer, callbacks, *rest: fit(module, data, trainer, [*callbacks, Interrupt()], *rest),
    )
    with pytest.raises(KeyboardInterrupt):
        run.run(cfg["parts"])
    monkeypatch.setattr(rounds, "fit", fit)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_results", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(cfg["parts"])
    monkeypatch.setattr(run, "_results", results)
    assert not Path("parts/finished").exists()
    run.run(cfg["parts"])
    whole, parts = content(Path("whole")), content(Path("parts"))
    assert whole.keys() == parts.keys() and any(name.startswith("checkpoints/last.ckpt .state_dict") for name in whole)
    assert whole["summary"] == parts["summary"]
    assert [name for name in whole if whole[name] != parts[name]] == []


@pytest.mark.parametrize("stop", ["data", "simulation"])
def test_energies_of_data_are_counted_once_whenever_they_were_made(stop, tmp_path, monkeypatch):
    """Killed after the data were made, and in the middle of the simulation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("predcg.samplers.recorder.SAVE_EVERY_S", 0.0)
    sizes = [
        "acquisition=simulate",
        "acquisition.frames=20",
        "acquisition.test_frames=20",
        "acquisition.replicas=4",
        "sampler.stride=2",
        "sampler.burn_in=4",
    ]
    command = ["experiment=double_well/forward_kl", *sizes, *FEW, "steps=4", "logger=none", "figures=[]"]
    run.run(compose([*command, "folder=whole", "acquisition.kept=a"]))
    target, name = (run, "train") if stop == "data" else (Langevin, "advance")
    original, calls = getattr(target, name), iter(range(100))

    def killed(*arguments):
        if stop == "data" or next(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(target, name, killed)
    with pytest.raises(KeyboardInterrupt):
        run.run(compose([*command, "folder=parts", "acquisition.kept=b"]))
    monkeypatch.setattr(target, name, original)
    run.run(compose([*command, "folder=parts", "acquisition.kept=b"]))
    one, other = (
        json.loads(Path(folder, "summary.json").read_text())["energy_evaluations"] for folder in ("whole", "parts")
    )
    steps = 4 + 2 * 10  # of each replica
    assert one == other and one >= 4 * (steps + 1)
    # Data that others have paid for have the same cost.
    run.run(compose([*command, "folder=again", "acquisition.kept=b"]))
    assert json.loads(Path("again/summary.json").read_text())["energy_evaluations"] == one


def test_what_killed_writers_have_left_is_cleared(tmp_path):
    for name in (".metrics.8190.csv", ".train.7611.npz", "data/.frames.8338.npz", ".finished.12"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in (".gitignore", "metrics.csv", ".hidden.txt"):
        (tmp_path / name).touch()
    clear(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {".gitignore", "metrics.csv", ".hidden.txt", "data"}


def test_the_next_run_clears_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [
        "experiment=double_well/forward_kl",
        "steps=2",
        "acquisition.frames=8",
        "acquisition.test_frames=8",
        "logger=none",
        "figures=[]",
        "folder=mine",
        *FEW,
    ]
    monkeypatch.setattr(run, "train", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.run(compose(command))
    Path("mine/checkpoints").mkdir()
    Path("mine/checkpoints/.last.1.ckpt").touch()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    run.run(compose(command))
    assert not [path for path in Path("mine").rglob(".*")]


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path, monkeypatch, capsys):
    """No file may be larger than the limit: first the data do not fit, then no snapshot, then no checkpoint; with room
    again the run is the undisturbed one.
    """
    monkeypatch.chdir(tmp_path)
    command = [
        "experiment=double_well/forward_kl",
        "steps=8",
        "epoch_steps=4",
        "snapshots=4",
        "acquisition.frames=2000",
        "acquisition.test_frames=8",
        *FEW,
        "logger=none",
        "figures=[training]",
    ]
    run.run(compose([*command, "folder=whole"]))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for room, there in ((10_000, "config.yaml"), (100_000, "data/test.npz"), (300_000, "snapshots/step-4.pt")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        monkeypatch.setattr(sys, "argv", ["predcg", *command, "folder=parts"])
        with pytest.raises(SystemExit) as end:
            main()
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        error = [line for line in capsys.readouterr().err.splitlines() if line and "step/s" not in line]
        assert (
            end.value.code == 2
            and len(error) == 1
            and re.search(r"predcg: .*File too large: .*parts/.*the same command goes on", error[0])
        ), error
        assert Path("parts", there).exists() and not [path for path in Path("parts").rglob(".*")]
    run.run(compose([*command, "folder=parts"]))
    whole, parts = content(Path("whole")), content(Path("parts"))
    assert [name for name in whole | parts if whole.get(name) != parts.get(name)] == []


def test_two_equal_commands_at_once_run_once(tmp_path, monkeypatch, capsys):
    """The second, called while the first trains, waits for it and finds it finished."""
    monkeypatch.chdir(tmp_path)
    overrides = ["experiment=double_well/forward_kl", "steps=400", "epoch_steps=100", "logger=none", "figures=[]", *FEW]
    first = subprocess.Popen([sys.executable, "-m", "predcg.run", *overrides], stdout=subprocess.PIPE, text=True)
    while not list(Path("outputs").rglob("last.ckpt")) and first.poll() is None:
        time.sleep(0.01)
    assert call(monkeypatch, *overrides) == 0
    captured = capsys.readouterr()
    assert "waiting for another process that works in outputs/double_well" in captured.out + captured.err
    assert "finished already" in captured.out
    output = first.communicate(timeout=240)[0]
    assert first.returncode == 0 and "finished: " in output and "finished already" not in output


def test_a_folder_is_worked_in_by_one_process_and_several_devices_are_one(tmp_path, monkeypatch):
    with alone(tmp_path / "one"), alone(tmp_path / "other"):
        monkeypatch.setenv("LOCAL_RANK", "1")
        with alone(tmp_path / "one"):
            pass


WORKERS = """
import time, joblib
from pathlib import Path
from predcg.processes import end_with_parent

def work(name):
    end_with_parent()
    Path(name).touch()
    time.sleep(600)

joblib.Parallel(n_jobs=2)(joblib.delayed(work)(name) for name in ("one", "other"))
"""


def test_workers_of_a_killed_process_end_by_themselves(tmp_path):
    """Of joblib, as a sweep has them; the sweep itself is among the slow tests."""
    parent = subprocess.Popen([sys.executable, "-c", WORKERS], cwd=tmp_path)
    until(lambda: len(list(tmp_path.iterdir())) == 2, parent)
    assert_gone_with(parent)


def test_every_job_of_the_command_line_ends_with_its_parent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []
    monkeypatch.setattr("predcg.processes.end_with_parent", lambda: told.append(True))
    assert call(monkeypatch, "-m", "experiment=double_well/mixed", "steps=0", "figures=[]", "seed=0,1") == 0
    assert told == [True, True]


@pytest.mark.slow
def test_no_worker_outlives_a_killed_sweep(tmp_path):
    sweep = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1", "steps=2000000", "epoch_steps=1000"]
    command = [
        sys.executable,
        "-m",
        "predcg.run",
        "-m",
        "experiment=double_well/forward_kl",
        *sweep,
        "logger=none",
        "figures=[]",
    ]
    parent = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(list(tmp_path.glob("outputs/double_well/forward_kl/*/*/checkpoints/last.ckpt"))) == 2, parent)
    assert_gone_with(parent)


def until(begun, process):
    deadline = time.monotonic() + 120
    while not begun():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def assert_gone_with(parent):
    """SIGKILL: workers that nobody tells to end do so themselves."""
    workers = descendants(parent.pid)
    assert len(workers) >= 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []


def descendants(pid: int) -> list[int]:
    """Processes that a process has made, and those that these have."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return children + [one for child in children for one in descendants(child)]


BROKEN = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "junk": lambda file: file.write_bytes(bytes(range(256)) * 4),
    "pickled": lambda file: file.write_bytes(b"cbuiltins\nprint\n(S'run'\ntR."),
}
FILES = [
    "config.yaml",
    "data/train.npz",
    "data/test.npz",
    "data/cost.json",
    "metrics.csv",
    "summary.json",
    "inputs.json",
    "posterior.npz",
    "checkpoints/last.ckpt",
    "snapshots/step-4.pt",
]


WHOLE = [
    "experiment=double_well/forward_kl",
    "steps=4",
    "epoch_steps=4",
    "snapshots=4",
    "posterior=laplace",
    "prior=gaussian",
    "acquisition.frames=20",
    "acquisition.test_frames=8",
    *FEW,
    "logger=none",
    "folder=mine",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the finished run mine, and a copy of it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run.run(compose([*WHOLE, "figures=[training]"]))
    shutil.copytree(folder / "mine", folder / "copy")
    return folder


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_named_in_one_line_with_the_cure(how, made, monkeypatch):
    """In whatever reads it: the next call of the command, finished or not, and load."""
    monkeypatch.chdir(made)
    shutil.rmtree("mine")
    shutil.copytree("copy", "mine")
    same, undrawn = (compose([*WHOLE, figures]) for figures in ("figures=[training]", "figures=[]"))
    kept = {name: Path("mine", name).read_bytes() for name in FILES}
    for name in FILES:
        BROKEN[how](Path("mine", name))
        refusals = []
        for read in (
            lambda: run.run(undrawn),
            lambda: resumed(same),
            loaded,
        ):
            try:
                read()
            except InputError as reason:
                refusals.append(str(reason))
            for other, whole in kept.items():
                if other != name:
                    Path("mine", other).write_bytes(whole)
            BROKEN[how](Path("mine", name)) if Path("mine", name).read_bytes() == kept[name] else None
            Path("mine/finished").touch()
        Path("mine", name).write_bytes(kept[name])
        assert refusals or name in {"metrics.csv", "summary.json"}, (how, name)  # text that is cut may still be text
        for line in refusals:
            assert (
                "\n" not in line
                and ("force=true" in line or "choose" in line)
                and (Path(name).name in line or name == "config.yaml")
            ), (name, line)


def resumed(cfg):
    """The same command where the marker is missing."""
    Path("mine/finished").unlink()
    run.run(cfg)


def loaded():
    finished = run.load("mine")
    finished.snapshot(4)


@pytest.mark.parametrize("how", ["truncated", "empty", "junk", "pickled"])
def test_a_broken_simulation_is_named(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("predcg.samplers.recorder.SAVE_EVERY_S", 0.0)
    for file in ("state.pt", "frames.npz"):
        recorder = Recorder(tmp_path)
        recorder.save({"step": 1, "x": torch.zeros(3)})
        (tmp_path / "frames.npz").write_bytes((tmp_path / "state.pt").read_bytes())
        BROKEN[how](tmp_path / file)
        with pytest.raises(InputError, match=file):
            Recorder(tmp_path).resume() if file == "state.pt" else Recorder(tmp_path).finished()


@pytest.mark.parametrize("kind", [Langevin, Gibbs])
def test_samplers_say_what_a_beginning_costs(kind):
    assert kind.evaluations_to_begin == (1 if kind is Langevin else 0)
