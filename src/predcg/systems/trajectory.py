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
ARRAYS = {".npy", ".txt", ".npz"}  # no topology: which atom a column is, nobody can tell


def read_frames(path: str, system: System, unit: str | None = None, topology: str | None = None, stride: int = 1, atoms: str | None = None) -> Tensor:
    """Configurations of `system` in nm, (N, D), in the order of the file.

    Args:
        path: a trajectory that mdtraj reads; an `.npz` of this program; a bare array `.npy` or `.txt` with frames as rows
            or as columns, told apart by which axis has D entries.
        unit: "nanometer" or "angstrom", required for bare arrays and only there: other formats know their own.
        topology: PDB file for formats without a topology; default the system's.
        stride: every stride-th frame is read, from the first on.
        atoms: mdtraj selection of the system's atoms in the file's own topology, such as "protein"; default all.

    Raises:
        InputError: a missing or unreadable file, another number of atoms, other elements, a bare array without unit, a stride < 1,
            a selection that fits neither mdtraj nor the file, NaN or inf.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"acquisition.path: expected a file; found nothing at {path!r}")
    bare = file.suffix in {".npy", ".txt"}
    if bare and unit not in UNITS_NM:
        raise InputError(f"acquisition.unit: a bare array such as {file.name!r} has no unit of its own; expected one of {list(UNITS_NM)}, found {unit!r}")
    if not bare and unit is not None:
        raise InputError(f"acquisition.unit: {file.suffix} files carry their own unit; found {unit!r}; leave it out")
    if stride < 1:
        raise InputError(f"acquisition.stride: expected at least 1; found {stride}")
    if atoms is not None and file.suffix in ARRAYS:
        raise InputError(f"acquisition.atoms: {file.suffix} files have no topology to select from; found {atoms!r}; leave it out")
    try:
        array = _array(file) if file.suffix in ARRAYS else _trajectory(file, system, topology, stride, atoms)
    except InputError:
        raise
    except Exception as reason:
        raise InputError(f"acquisition.path: {path!r} cannot be read: {' '.join(str(reason).split())}") from reason
    if bare:
        array = _rows(array, system.size, path) * UNITS_NM[unit]
    if file.suffix in ARRAYS:
        array = array[::stride]
    if array.shape[-1] != system.size:
        raise InputError(f"acquisition.path: expected {_atoms(system.size)} as in the system; {path!r} has {_atoms(array.shape[-1])}")
    finite = np.isfinite(array).all(-1)
    if not finite.all():
        raise InputError(f"acquisition.path: frame {stride * int((~finite).nonzero()[0][0])} of {path!r} has NaN or inf coordinates; remove it")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def write_trajectory(folder: Path, system: System, x: Tensor) -> None:
    """`topology.pdb` and `trajectory.dcd` of a molecule's configurations, (N, D), as mdtraj and other programs read them."""
    frames = mdtraj.Trajectory(x.view(len(x), -1, 3).cpu().numpy(), system.topology)
    with atomic(folder / "topology.pdb") as temporary:
        frames[0].save_pdb(str(temporary))
    with atomic(folder / "trajectory.dcd") as temporary:
        frames.save_dcd(str(temporary))


def write_frame(path: Path, system: System, x: Tensor) -> Path:
    """One configuration, (D,), as a PDB file where the system has atoms and the format the digits, else as an array; return the file."""
    if getattr(system, "topology", None) is None or not x.abs().max() < 99:  # nm; eight columns of Å hold no -1000
        path = path.with_suffix(".npy")
        with atomic(path) as temporary:
            np.save(temporary, x.cpu().numpy())
        return path
    path = path.with_suffix(".pdb")
    with atomic(path) as temporary:
        mdtraj.Trajectory(x.view(1, -1, 3).cpu().numpy(), system.topology).save_pdb(str(temporary))
    return path


def _array(file: Path) -> np.ndarray:
    if file.suffix == ".npy":
        return np.load(file, allow_pickle=False)
    if file.suffix == ".txt":
        return np.loadtxt(file, ndmin=2)
    return Batch.load(file).x.numpy()


def _trajectory(file: Path, system: System, topology: str | None, stride: int, atoms: str | None) -> np.ndarray:
    ours, index = getattr(system, "topology", None), None
    source = file if file.suffix in {".pdb", ".h5"} else topology
    theirs = ours if source is None else mdtraj.load_topology(str(source))
    if theirs is None or (atoms is not None and source is None):
        raise InputError(f"acquisition.topology: {file.suffix} files have none of their own; give the path of a PDB file of all their atoms")
    top = {} if source == file else {"top": theirs}
    if atoms is not None:
        index = _select(theirs, atoms)
        mdtraj.load(str(file), frame=0, **top)  # fails on a topology of another size, which mdtraj overlooks once it reads a selection
        theirs = theirs.subset(index)
    if 3 * theirs.n_atoms != system.size:
        raise InputError(
            f"acquisition.atoms: expected {_atoms(system.size)} as in the system; {atoms or 'all'!r} of {str(file)!r} has {theirs.n_atoms} atoms; "
            "select the system's"
        )
    if ours is not None:
        _agree(theirs, ours, file)
    return mdtraj.load(str(file), stride=stride, atom_indices=index, **top).xyz.reshape(-1, system.size)


def _select(topology: mdtraj.Topology, atoms: str) -> np.ndarray:
    try:
        index = topology.select(atoms)
    except Exception as reason:
        raise InputError(f"acquisition.atoms: expected an mdtraj selection such as 'protein'; found {atoms!r}") from reason
    if not len(index):
        raise InputError(f"acquisition.atoms: {atoms!r} selects none of the file's {topology.n_atoms} atoms")
    return index


def _agree(theirs: mdtraj.Topology, ours: mdtraj.Topology, file: Path) -> None:
    for one, other in zip(theirs.atoms, ours.atoms, strict=True):
        if one.element != other.element:
            raise InputError(
                f"acquisition.path: expected the system's atoms in its order; atom {other.index} is {one} ({one.element.symbol}) in {str(file)!r}, "
                f"{other} ({other.element.symbol}) in the system; select others or reorder them"
            )


def _rows(array: np.ndarray, size: int, path: str) -> np.ndarray:
    array = array.reshape(len(array), -1) if array.ndim == 3 else array
    if array.ndim != 2 or size not in array.shape:
        raise InputError(f"acquisition.path: expected {size} coordinates along one axis of {path!r}; found shape {array.shape}")
    if array.shape == (size, size):
        raise InputError(f"acquisition.path: {path!r} is square ({size} x {size}), so frames and coordinates cannot be told apart; add or drop a frame")
    return array if array.shape[1] == size else array.T


def _atoms(size: int) -> str:
    return f"{size // 3} atoms" if size % 3 == 0 else f"{size} coordinates"
