"""Processes killed, files broken, disks full, commands given twice: what is left is whole, or goes on as if nothing had
been.

    python experiments/reliability/trials.py [kills[=40]] [broken] [full] [together] [orphans]

tries what is named, or all; prints the rows of the kept table and, above each, what ended otherwise; exits with 1 where
something did.
"""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from predcg import cli
from predcg.errors import InputError
from predcg.files import read_json
from predcg.run import load

Trials = Iterator[tuple[str, bool]]  # of each trial its name, and whether it went as it must
FEW = "+callbacks.bounds.draws=100"
SMALL = {  # between them every kind of data, objective, decoder, callback and posterior that has a state; some seconds
    "double_well/reverse_kl": ["steps=300", "epoch_steps=20", "callbacks.tempering.steps=10", FEW],
    "double_well/mixed": ["steps=200", "epoch_steps=20", FEW],
    "schoberl2015/long_range": ["steps=120", "epoch_steps=10"],
    "schoberl2019/ala2": ["acquisition.frames=100", "acquisition.test_frames=50", "sampler.burn_in=0", "steps=600"],
    "ala2/biased": ["acquisition.frames=100", "acquisition.test_frames=50", "sampler.burn_in=0", "steps=40"],
}
SMALL["schoberl2019/ala2"] += ["epoch_steps=50", "acquisition.replicas=5", "sampler.stride=20", "acquisition.first=50"]
SMALL["ala2/biased"] += ["epoch_steps=10", "acquisition.replicas=5", "sampler.stride=20", "sampler.exchange=10"]
WELL = ["steps=40", "epoch_steps=20", "snapshots=40", "acquisition.frames=40", "acquisition.test_frames=20", FEW]
BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "junk": lambda whole: bytes(range(256)) * 4,
    "pickled": lambda whole: b"cbuiltins\nprint\n(S'run'\ntR.",
}
PROGRAM = [sys.executable, "-m", "predcg.run"]
MOUNT = 'mount -t tmpfs -o size={room}k none "$0" && cd "$0" && "$@"; code=$?; cd /; {save}; exit $code'


class Ended(NamedTuple):
    """How a process has ended."""

    code: int
    output: str
    errors: str

    @property
    def told(self) -> bool:
        """Whether with one line of its own, beside the bars of its progress, and exit code 2."""
        lines = [line for line in self.errors.replace("\r", "\n").splitlines() if line.strip() and "step/s" not in line]
        return self.code == 2 and len(lines) == 1 and lines[0].startswith("predcg: ")


def overrides(experiment: str, folder: str | Path, *more: str) -> list[str]:
    return [f"experiment={experiment}", "logger=none", "figures=[training]", f"folder={folder}", *more]


def begin(arguments: list[str]) -> multiprocessing.Process:
    """The command line in a process that need not import all anew; what it says goes to the files out and err."""
    process = multiprocessing.get_context("fork").Process(target=_command, args=(arguments,))
    process.start()
    return process


def _command(arguments: list[str]) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    if arguments[0] == "load":
        try:
            load(arguments[1]).snapshot(40)
            load(arguments[1], checkpoint="best")
        except InputError as reason:
            print("predcg:", reason, file=sys.stderr)
            sys.exit(2)
    else:
        sys.argv = ["predcg", *arguments]
        cli.main()


def call(arguments: list[str]) -> Ended:
    process = begin(arguments)
    process.join()
    return Ended(process.exitcode, Path("out").read_text(), Path("err").read_text())


def whole(experiment: str, folder: str, *more: str) -> Path:
    """The folder of a run that nothing happens to."""
    done = call(overrides(experiment, folder, *more))
    assert done.code == 0, done.errors
    return Path(folder)


def state(folder: Path) -> dict:
    """Weights, data, posterior, metrics and numbers of a finished run."""
    weights = torch.load(folder / "checkpoints/last.ckpt", weights_only=True, map_location="cpu")["state_dict"]
    found = {name: value.numpy().tobytes() for name, value in weights.items()}
    for file in (path for path in folder.rglob("*.npz") if "simulation" not in path.parts):
        with np.load(file) as arrays:
            found |= {f"{file.relative_to(folder)} {key}": arrays[key].tobytes() for key in arrays}
    found["metrics"] = (folder / "metrics.csv").read_bytes()
    return found | {
        "summary": {k: repr(v) for k, v in read_json(folder / "summary.json").items() if k != "wall_time_s"}
    }


def equal(folder: Path, other: Path) -> bool:
    return (folder / "finished").exists() and state(folder) == state(other) and not list(folder.rglob(".*"))


def kills(count: int) -> Trials:
    """SIGKILL at a random moment after the folder is there; the same command then leaves what nobody had killed."""
    for experiment, sizes in SMALL.items():
        name, simulated = experiment.replace("/", "_"), "acquisition.replicas=5" in sizes
        kept = [f"acquisition.kept=kept_{name}"] * simulated
        untouched = whole(experiment, f"whole_{name}", *sizes, *kept)
        seconds, done = read_json(untouched / "summary.json")["wall_time_s"], 0
        while done < count // len(SMALL):
            folder = Path(f"killed_{name}_{done}")
            shutil.rmtree(folder, ignore_errors=True)
            kept = [f"acquisition.kept=kept_{folder}"] * simulated
            process = begin(overrides(experiment, folder, *sizes, *kept))
            while not folder.exists() and process.is_alive():
                time.sleep(0.01)
            time.sleep(seconds * random.random())
            process.kill()
            process.join()
            if not (folder / "finished").exists():  # else it had ended before
                done += 1
                again = call(overrides(experiment, folder, *sizes, *kept))
                yield f"{folder}: {again.errors[-300:]}", again.code == 0 and equal(folder, untouched)


def broken() -> Trials:
    """Every file of a run folder that is read again, broken in every way, for the same command where the run is not
    finished and for what loads it: one line, or what was broken is made again and equal.
    """
    posterior = ["posterior=laplace", "prior=gaussian"]
    untouched = whole("double_well/forward_kl", "whole", *WELL, *posterior)
    names = [path.relative_to(untouched) for path in sorted(untouched.rglob("*.*")) if path.is_file()]
    names = [name for name in names if name.parts[0] not in ("figures", "provenance.json")]
    reads = {"command": overrides("double_well/forward_kl", "broken", *WELL, *posterior), "load": ["load", "broken"]}
    for name in names:
        for how, break_ in BROKEN.items():
            for what, read in reads.items():
                shutil.rmtree("broken", ignore_errors=True)
                shutil.copytree(untouched, "broken")
                Path("broken", name).write_bytes(break_((untouched / name).read_bytes()))
                if what == "command":
                    Path("broken/finished").unlink()
                done = call(read)
                unhurt = done.code == 0 and (what == "load" or equal(Path("broken"), untouched))
                yield f"{name} {how}, {what}: {done.output[-300:]}{done.errors[-300:]}", done.told or unhurt


def full(sizes: int = 12) -> Trials:
    """A disk of some kB, from next to none to nearly enough: one line, and with room again what nobody had disturbed.

    A tmpfs in a mount namespace of its own; where the machine allows none, a limit of the size of a file.
    """
    untouched = whole("double_well/forward_kl", "roomy", *WELL)
    needed = sum(path.stat().st_size for path in untouched.rglob("*")) / 1024
    try_one = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", tempfile.mkdtemp(dir=".")]
    mounts = subprocess.run(try_one, capture_output=True, check=False).returncode == 0
    print("disk full: a tmpfs" if mounts else "disk full: no right to mount; a limit of the size of a file")
    for index in range(sizes):
        room = round(needed * (index + 0.5) / sizes)
        folder = Path(f"tight_{room}").absolute()
        run = overrides("double_well/forward_kl", folder.name, *WELL)
        run_there, little = [*PROGRAM, *run], None
        if mounts:
            place = os.path.abspath(tempfile.mkdtemp(dir="."))
            save = f'cp -a "$0/{folder.name}" {folder.parent}/ 2> {os.devnull} || true'
            run_there = ["unshare", "-rm", "sh", "-c", MOUNT.format(room=room, save=save), place, *run_there]
        else:
            # Of all files none is larger than a checkpoint.
            largest = max(path.stat().st_size for path in untouched.rglob("*"))
            little = partial(_little, round(largest * (index + 0.5) / sizes))
        done = subprocess.run(run_there, capture_output=True, text=True, check=False, preexec_fn=little)
        refused, again = Ended(done.returncode, done.stdout, done.stderr), call(run)
        one_line = refused.told and ("No space" in refused.errors or "too large" in refused.errors)
        name = f"{room} kB: {refused.code} {refused.errors[-400:]} then {again.code} {again.errors[-300:]}"
        yield name, one_line and again.code == 0 and equal(folder, untouched)


def _little(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def together() -> Trials:
    """Two equal commands at once: one runs, the other waits and finds it finished; nothing of the run is lost."""
    untouched = whole("double_well/forward_kl", "alone", *WELL)
    for repeat in range(4):
        run = overrides("double_well/forward_kl", f"both_{repeat}", *WELL)
        both = [subprocess.Popen([*PROGRAM, *run], stdout=subprocess.PIPE, text=True) for _ in range(2)]
        texts = [process.communicate()[0] for process in both]
        finished = sum("finished already" in text for text in texts) == 1
        ended = all(process.returncode == 0 for process in both)
        yield f"{texts}", ended and finished and equal(Path(f"both_{repeat}"), untouched)


def orphans() -> Trials:
    """SIGKILL of a sweep in two processes: none of its session is there ten seconds later."""
    options = ["logger=none", "figures=[]", "steps=2000000", "epoch_steps=20", "+callbacks.bounds.draws=10"]
    for repeat in range(4):
        sweep = ["-m", "experiment=double_well/forward_kl", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
        folders = f"folder='sweep_{repeat}_${{seed}}'"
        parent = subprocess.Popen(
            [*PROGRAM, *sweep, *options, "seed=0,1", folders],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while len(list(Path().glob(f"sweep_{repeat}_*/checkpoints/last.ckpt"))) < 2 and parent.poll() is None:
            time.sleep(0.2)
        ran = parent.poll() is None
        parent.kill()
        parent.wait()
        time.sleep(10)
        left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _session(pid) == parent.pid]
        yield f"left over: {left}; it ran: {ran}", ran and not left


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def main(arguments: list[str]) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    trials = {
        "kills": ("SIGKILL at a random moment", lambda: kills(int(chosen["kills"] or 40))),
        "broken": ("a file of a run folder broken", broken),
        "full": ("disk full", full),
        "together": ("two equal commands at once", together),
        "orphans": ("SIGKILL of a sweep", orphans),
    }
    chosen, failed = dict(argument.partition("=")[::2] for argument in arguments or trials), 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for what, tried in (trials[name] for name in chosen):
            began, outcomes = time.perf_counter(), []
            for name, right in tried():
                outcomes.append(right)
                if not right:
                    print("otherwise", what, " ".join(name.split()), sep=" | ", flush=True)
            failed += len(outcomes) - sum(outcomes)
            seconds = time.perf_counter() - began
            print(f"| {what} | {len(outcomes)} | {sum(outcomes)} as they must | {seconds:.0f} |", flush=True)
        os.chdir("/")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
