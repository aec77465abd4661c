"""Energies and forces of any OpenMM system from worker processes, each with one context on one thread."""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import BinaryIO
from weakref import finalize

import numpy as np
import openmm

from predcg.errors import InputError
from predcg.systems.particles import check_free
from predcg.systems.worker import FAILED, receive, send

log = logging.getLogger(__name__)
SCRIPT = Path(__file__).with_name("worker.py")
ONE_THREAD = {"OPENMM_CPU_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# A batch is cut into so many blocks per worker: few enough that messages cost little, enough that a slow core does not
# hold up the rest.
BLOCKS = 2
MESSAGE = 1 << 20  # Bytes: a message of more than one configuration is at most so large.


class Bridge:
    """E(x) and F(x) of an openmm.System, with its cut-offs and its periodic box, configurations spread over worker
    processes.

    The workers start at the first evaluation, are kept, and end with this process however it ends. One thread at a time
    may evaluate.

    Args:
        system: what OpenMM makes a context of.
        workers: how many processes.
        platform: name of an OpenMM platform; None takes the one that a short timing in the first worker finds fastest.

    Raises:
        InputError: workers < 1, a platform that OpenMM does not have, constraints, virtual sites.
    """

    def __init__(self, system: openmm.System, workers: int, platform: str | None = None):
        if workers < 1:
            raise InputError(f"system.workers: expected a positive number of processes; found {workers}")
        known = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
        if platform is not None and platform not in known:
            raise InputError(f"system.platform: expected one of {', '.join(known)}; found {platform!r}")
        # Of a virtual site OpenMM leaves the force in place after it has passed it on: the forces were no gradient.
        check_free(system)
        self.size = 3 * system.getNumParticles()
        self.workers = workers
        self.platform = platform
        self._xml = openmm.XmlSerializer.serialize(system).encode()
        self._running: list[_Worker] = []
        self._owner = os.getpid()
        self._fastest: str | None = None

    def evaluate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Potential energies in kJ/mol, (n,), and forces in kJ/mol/nm, (n, D), of x in nm, (n, D).

        Raises:
            InputError: another D.
            FloatingPointError: a configuration whose coordinates, energy or forces are not finite; the workers go on.
            RuntimeError: OpenMM refuses a configuration, or a worker died; the next call starts new workers.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.size:
            raise InputError(f"x: expected (n, {self.size}) coordinates; found shape {x.shape}")
        _refuse(~np.isfinite(x).all(1), "coordinates")
        energies, forces = np.empty(len(x)), np.empty_like(x)
        if len(x) == 0:
            return energies, forces
        try:
            self._start(x[0])
            for begin, table in self._answers(x):
                energies[begin : begin + len(table)], forces[begin : begin + len(table)] = table[:, 0], table[:, 1:]
        except BaseException:  # Ctrl-C counts too: a worker may be in the middle of a message.
            self.close()
            raise
        _refuse(~(np.isfinite(energies) & np.isfinite(forces).all(1)), "energy or forces")
        return energies, forces

    def close(self) -> None:
        """Ends the workers; a further evaluation starts new ones."""
        for worker in self._running:
            worker.end()
        self._running = []

    def __getstate__(self) -> dict:
        """Processes do not travel, nor does what was fastest here: a copy starts its own."""
        return self.__dict__ | {"_running": [], "_fastest": None}

    def _start(self, frame: np.ndarray) -> None:
        if self._owner != os.getpid():  # This is a fork or a copy: the workers are the other process's.
            self._running, self._owner = [], os.getpid()
        if self._running:
            return
        self._running = [_Worker() for _ in range(self.workers)]
        for worker in self._running:
            worker.send(self._xml)
        waiting = list(self._running)
        if self.platform is None and self._fastest is None:
            first = waiting.pop(0)
            first.greet("", frame)
            self._fastest, timings = first.welcome()
            log.info(
                "OpenMM platform: %s, the fastest of energy + forces per configuration on one thread (%s)",
                self._fastest,
                timings,
            )
        for worker in waiting:
            worker.greet(self.platform or self._fastest, frame)
        for worker in waiting:
            worker.welcome()

    def _answers(self, x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Index of the first configuration of a block, and its energies and forces, (n, 1 + D), in the order in which
        the workers finish.

        A worker has one block at a time: it reads when it is written to, and writes when it is read, so that pipes of
        any size suffice.
        """
        step = max(1, min(-(-len(x) // (BLOCKS * self.workers)), MESSAGE // (8 * self.size)))
        begins = iter(range(0, len(x), step))
        busy, idle = {}, list(self._running)
        while True:
            for worker, begin in zip(idle, begins, strict=False):
                worker.send(x[begin : begin + step])
                busy[worker.output] = worker, begin
            if not busy:
                return
            idle = []
            for output in wait(list(busy)):
                worker, begin = busy.pop(output)
                yield begin, np.frombuffer(worker.answer(begin)).reshape(-1, 1 + self.size)
                idle.append(worker)


class _Worker:
    """One worker process and its two pipes, from this side."""

    def __init__(self):
        self._stderr = tempfile.TemporaryFile()
        # It has a session of its own, since Ctrl-C is this process's to handle. With -P the script's folder shadows no
        # module.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | ONE_THREAD,
            start_new_session=True,
        )
        self.output = self._process.stdout
        self.end = finalize(self, _end, self._process, self._stderr)

    def send(self, payload: bytes | np.ndarray) -> None:
        try:
            send(self._process.stdin, payload)
        except BrokenPipeError:
            raise self._death() from None

    def greet(self, platform: str, frame: np.ndarray) -> None:
        self.send(f"{platform}\n".encode() + frame.tobytes())

    def welcome(self) -> tuple[str, str]:
        """Name of the platform, and the timings that it was chosen by."""
        name, _, timings = self.answer(0).decode().partition("\n")
        return name, timings

    def answer(self, begin: int) -> bytearray:
        """What the worker makes of the message that began with this configuration."""
        try:
            kind, payload = receive(self.output)
        except EOFError:
            raise self._death() from None
        if kind == FAILED:
            index, _, reason = payload.decode().partition("\n")
            raise RuntimeError(f"configuration {begin + int(index)}: OpenMM fails with: {reason}")
        return payload

    def _death(self) -> RuntimeError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._stderr.seek(0)
        last = self._stderr.read().decode(errors="replace").strip()[-2000:]
        return RuntimeError(
            f"an OpenMM worker (process {self._process.pid}) ended with exit code {self._process.returncode}:"
            f" {last or 'it left no message'}"
        )


def _end(process: subprocess.Popen, stderr: BinaryIO) -> None:
    process.kill()
    with suppress(BrokenPipeError), process:  # Leaving it closes the pipes and waits.
        pass
    stderr.close()


def _refuse(bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise FloatingPointError(f"configuration {bad.argmax()}: {what} not finite")
