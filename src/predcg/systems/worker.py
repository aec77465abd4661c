"""The far side of a Bridge: a process with one OpenMM context. Run by path, so that it imports openmm and numpy, never
torch.

A message is its kind, its length and its bytes. Two come first, the XML of the system and the platform with one
configuration; every further one is a batch of float64 coordinates. Each but the first has one answer.
"""

import os
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import BinaryIO

import numpy as np

HEADER = struct.Struct("<cQ")
DONE, FAILED = b"+", b"!"


def send(stream: BinaryIO, payload: bytes | np.ndarray, kind: bytes = DONE) -> None:
    payload = memoryview(payload).cast("B")
    stream.write(HEADER.pack(kind, len(payload)))
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[bytes, bytearray]:
    """Kind and payload of the next message. Raises EOFError where the other side has ended."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    kind, length = HEADER.unpack(header)
    payload = bytearray(length)
    if stream.readinto(payload) < length:
        raise EOFError
    return kind, payload


def fastest(system, frame: np.ndarray, budget_s: float = 0.05) -> tuple[str, str]:
    """The name of the OpenMM platform with the cheapest energy and forces of frame, (n_atoms, 3) in nm, and a line of
    all timings.
    """
    import openmm

    cost_us, notes, row = {}, [], np.empty(1 + frame.size)
    for name in (openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())):
        try:
            context = new_context(system, name)
            evaluate(context, frame, row)
            begin, count = time.perf_counter(), 0
            while count == 0 or time.perf_counter() - begin < budget_s:
                evaluate(context, frame, row)
                count += 1
        except Exception as reason:  # It may be a GPU platform without a GPU.
            notes.append(f"{name} fails: {reason}")
            continue
        cost_us[name] = (time.perf_counter() - begin) / count * 1e6
        notes.append(f"{name} {cost_us[name]:.0f} µs")
    if not cost_us:
        raise RuntimeError("; ".join(notes))
    return min(cost_us, key=cost_us.get), ", ".join(notes)


def evaluate(context, frame: np.ndarray, row: np.ndarray) -> None:
    """Writes the energy and the forces of frame, (n_atoms, 3), into row, (1 + 3 n_atoms,)."""
    context.setPositions(frame)
    state = context.getState(energy=True, forces=True)
    row[0] = state.getPotentialEnergy()._value
    # What getForces(asNumpy=True) does around this call costs a third of the evaluation of a small molecule.
    state._getVectorAsNumpy(state.Forces, row[1:])


def new_context(system, platform: str):
    """An OpenMM context on the named platform."""
    import openmm

    return openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    import openmm

    system = openmm.XmlSerializer.deserialize(receive(requests)[1].decode())
    context = None
    while True:
        payload, i = receive(requests)[1], 0
        try:
            if context is None:
                name, _, frame = payload.partition(b"\n")
                name, timings = (name.decode(), "") if name else fastest(system, np.frombuffer(frame).reshape(-1, 3))
                context, answer = new_context(system, name), f"{name}\n{timings}".encode()
            else:
                frames = np.frombuffer(payload).reshape(-1, system.getNumParticles(), 3)
                answer = np.empty((len(frames), 1 + frames[0].size))
                for i, (frame, row) in enumerate(zip(frames, answer, strict=True)):  # noqa: B007, a failure names it
                    evaluate(context, frame, row)
        except Exception as reason:
            send(answers, f"{i}\n{reason}".encode(), FAILED)
        else:
            send(answers, answer)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What libraries print must not come between the answers.
    # The end of the input ends an idle worker; this thread ends one that computes, or whose pipe a fork of the parent
    # holds open.
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    with suppress(EOFError, BrokenPipeError):
        _serve(sys.stdin.buffer, answers)
