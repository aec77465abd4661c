"""Configurations from a file."""

from pathlib import Path

from predcg.acquisitions.acquisition import Acquisition
from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.model import Model
from predcg.samplers import Sampler
from predcg.systems import System
from predcg.systems.trajectory import read_frames


class Load(Acquisition):
    """Frames of a file; the last `test_fraction` of them, in the order of the file, is held out.

    Args:
        path, unit, topology: see systems.trajectory.read_frames.
        test_fraction: share of held-out frames, in (0, 1).
    """

    def __init__(self, path: str, unit: str | None = None, topology: str | None = None, test_fraction: float = 0.25):
        if not 0 < test_fraction < 1:
            raise InputError(f"acquisition.test_fraction: expected a number in (0, 1); found {test_fraction}")
        self.path, self.unit, self.topology, self.test_fraction = path, unit, topology, test_fraction

    def acquire(self, model: Model, system: System, sampler: Sampler, folder: Path | None = None) -> Data:
        x = read_frames(self.path, system, self.unit, self.topology)
        cut = round(len(x) * (1 - self.test_fraction))
        if not 0 < cut < len(x):
            raise InputError(f"acquisition.path: expected enough frames to hold out {self.test_fraction:.0%}; {self.path!r} has {len(x)}")
        return Data(Batch.of(x[:cut]), Batch.of(x[cut:]))
