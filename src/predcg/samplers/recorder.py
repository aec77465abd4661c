"""What a simulation leaves on disk while it runs and when it ends."""

import time
from pathlib import Path

import torch

from predcg.batch import Batch
from predcg.files import clear, reading, write_tensors
from predcg.systems import System
from predcg.systems.writing import write_trajectory

SAVE_EVERY_S = 30.0


class Recorder:
    """Frames of R replicas, kept in memory and, in a folder, in parts, each with the state from which the simulation
    goes on.

    A part is whole before the state that counts it is written, so a kill at any moment loses only what came after the
    last state.

    Args:
        folder: None keeps everything in memory.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._frames: list[Batch] = []
        self._parts = 0
        self._saved = time.monotonic()
        if folder is not None:
            clear(folder)

    def finished(self) -> Batch | None:
        """The frames of a simulation that has ended, else None."""
        if self.folder is None or not (self.folder / "frames.npz").exists():
            return None
        self._tidy()
        return Batch.load(self.folder / "frames.npz")

    def resume(self) -> dict | None:
        """The state that was saved last, else None."""
        if self.folder is None or not (self.folder / "state.pt").exists():
            return None
        with reading(self.folder / "state.pt", f"delete the folder {self.folder}, and the simulation is made again"):
            state = torch.load(self.folder / "state.pt", weights_only=True)
            self._parts = state.pop("parts")
            return state

    def record(self, frame: Batch) -> None:
        """One frame of each replica, x (R, D)."""
        self._frames.append(frame)

    def save(self, state: dict, due: bool = False) -> None:
        """Write frames and state where the last writing is long ago, or now where it is due."""
        if self.folder is None or not (due or time.monotonic() - self._saved > SAVE_EVERY_S):
            return
        if self._frames:
            Batch.join(self._frames).save(self._part(self._parts))
            self._frames, self._parts = [], self._parts + 1
        write_tensors(self.folder / "state.pt", state | {"parts": self._parts})
        self._saved = time.monotonic()

    def finish(self, system: System, replicas: int) -> Batch:
        """All frames, replica after replica; in a folder they replace parts and state."""
        parts = [self._part(i) for i in range(self._parts)]
        in_time = Batch.join([*map(Batch.load, parts), *self._frames])
        order = torch.arange(len(in_time)).view(-1, replicas).T.flatten()
        batch = in_time.frames(order)
        if self.folder is not None:
            if getattr(system, "topology", None) is not None:
                write_trajectory(self.folder, system, batch.x)
            batch.save(self.folder / "frames.npz")
            self._tidy()
        return batch

    def _tidy(self) -> None:
        """Remove what the frames replace, also where that was interrupted."""
        for path in [*self.folder.glob("part_*.npz"), self.folder / "state.pt"]:
            path.unlink(missing_ok=True)

    def _part(self, index: int) -> Path:
        return self.folder / f"part_{index:05d}.npz"
