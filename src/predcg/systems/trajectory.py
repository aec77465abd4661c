"""Configurations from files, checked before anything is learnt from them."""

from pathlib import Path

import mdtraj
import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.files import atomic
from predcg.systems.system import System

UNITS_NM = {"nanometer": 1.0, "angstrom": 0.1}


def read_frames(path: str, system: System, unit: str | None = None, topology: str | None = None) -> Tensor:
    """Configurations of `system` in nm, (N, D), in the order of the file.

    Args:
        path: a trajectory that mdtraj reads; an `.npz` of this program; a bare array `.npy` or `.txt` with frames as rows
            or as columns, told apart by which axis has D entries.
        unit: "nanometer" or "angstrom", required for bare arrays and only there: other formats know their own.
        topology: PDB file for formats without a topology; default the system's.

    Raises:
        InputError: a missing or unreadable file, another number of atoms, a bare array without unit, NaN or inf.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"acquisition.path: expected a file; found nothing at {path!r}")
    bare = file.suffix in {".npy", ".txt"}
    if bare and unit not in UNITS_NM:
        raise InputError(f"acquisition.unit: a bare array such as {file.name!r} has no unit of its own; expected one of {list(UNITS_NM)}, found {unit!r}")
    if not bare and unit is not None:
        raise InputError(f"acquisition.unit: {file.suffix} files carry their own unit; found {unit!r}; leave it out")
    try:
        array = _array(file, system, topology)
    except InputError:
        raise
    except Exception as reason:
        raise InputError(f"acquisition.path: {path!r} cannot be read: {reason}") from reason
    if bare:
        array = _rows(array, system.size, path) * UNITS_NM[unit]
    if array.shape[-1] != system.size:
        raise InputError(f"acquisition.path: expected {_atoms(system.size)} as in the system; {path!r} has {_atoms(array.shape[-1])}")
    finite = np.isfinite(array).all(-1)
    if not finite.all():
        raise InputError(f"acquisition.path: frame {int((~finite).nonzero()[0][0])} of {path!r} has NaN or inf coordinates; remove it")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def write_trajectory(folder: Path, system: System, x: Tensor) -> None:
    """`topology.pdb` and `trajectory.dcd` of a molecule's configurations, (N, D), as mdtraj and other programs read them."""
    frames = mdtraj.Trajectory(x.view(len(x), -1, 3).cpu().numpy(), system.topology)
    with atomic(folder / "topology.pdb") as temporary:
        frames[0].save_pdb(str(temporary))
    with atomic(folder / "trajectory.dcd") as temporary:
        frames.save_dcd(str(temporary))


def _array(file: Path, system: System, topology: str | None) -> np.ndarray:
    if file.suffix == ".npy":
        return np.load(file, allow_pickle=False)
    if file.suffix == ".txt":
        return np.loadtxt(file, ndmin=2)
    if file.suffix == ".npz":
        return Batch.load(file).x.numpy()
    if file.suffix in {".pdb", ".h5"}:
        return _flat(mdtraj.load(str(file)))
    known = topology if topology is not None else getattr(system, "topology", None)
    if known is None:
        raise InputError(f"acquisition.topology: {file.suffix} files need a topology; give the path of a PDB file")
    return _flat(mdtraj.load(str(file), top=known))


def _flat(trajectory: mdtraj.Trajectory) -> np.ndarray:
    return trajectory.xyz.reshape(trajectory.n_frames, -1)


def _rows(array: np.ndarray, size: int, path: str) -> np.ndarray:
    array = array.reshape(len(array), -1) if array.ndim == 3 else array
    if array.ndim != 2 or size not in array.shape:
        raise InputError(f"acquisition.path: expected {size} coordinates along one axis of {path!r}; found shape {array.shape}")
    if array.shape == (size, size):
        raise InputError(f"acquisition.path: {path!r} is square ({size} x {size}), so frames and coordinates cannot be told apart; add or drop a frame")
    return array if array.shape[1] == size else array.T


def _atoms(size: int) -> str:
    return f"{size // 3} atoms" if size % 3 == 0 else f"{size} coordinates"
