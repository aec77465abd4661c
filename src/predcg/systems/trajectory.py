"""Configurations from files, checked before anything is learnt from them."""

import os
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.systems.bonds import check_bonds, whole
from predcg.systems.system import System

UNITS_NM = {"nanometer": 1.0, "angstrom": 0.1}
ARRAYS = {".npy", ".txt", ".npz"}  # They have no topology: which atom a column is, nobody can tell.
OWN_TOPOLOGY = {".pdb", ".h5", ".gro", ".cif", ".mmcif", ".pdbx"}
RESTARTS = {".rst7", ".inpcrd", ".ncrst", ".restrt"}  # They hold one frame.
TRAJECTORIES = RESTARTS | {".dcd", ".xtc", ".trr", ".nc", ".netcdf", ".mdcrd", ".crd", ".lammpstrj", ".arc", ".gsd"}


def read_frames(
    path: str,
    system: System,
    unit: str | None = None,
    topology: str | None = None,
    stride: int = 1,
    atoms: str | None = None,
) -> Batch:
    """Configurations of `system` in nm, in the order of the file; of an `.npz` of this program with all that is in it:
    weights, energies, forces, inverse temperatures.

    Args:
        path: a trajectory that mdtraj reads; an `.npz` of this program; a bare array `.npy` or `.txt` with frames as
            rows or as columns, told apart by which axis has D entries.
        unit: "nanometer" or "angstrom", required for bare arrays and only there: other formats know their own.
        topology: PDB file for formats without a topology; default the system's.
        stride: every stride-th frame is read, from the first on.
        atoms: mdtraj selection of the system's atoms in the file's own topology, such as "protein"; default all.

    By the box in the file, molecules that it has torn are made whole, and several are put together.

    Raises:
        InputError: a missing or unreadable file, another number of atoms, other elements, a bare array without unit, a
            stride < 1, a selection that fits neither mdtraj nor the file, NaN or inf, bonds far off the force field's
            (systems.bonds), weights below 0 or none above it.
    """
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise InputError(f"acquisition.path: expected a file; found nothing at {path!r}")
    bare = file.suffix in {".npy", ".txt"}
    if bare and unit not in UNITS_NM:
        raise InputError(
            f"acquisition.unit: a bare array such as {file.name!r} has no unit of its own; expected one of"
            f" {list(UNITS_NM)}, found {unit!r}"
        )
    if not bare and unit is not None:
        raise InputError(f"acquisition.unit: {file.suffix} files carry their own unit; found {unit!r}; leave it out")
    if stride < 1:
        raise InputError(f"acquisition.stride: expected at least 1; found {stride}")
    if atoms is not None and file.suffix in ARRAYS:
        raise InputError(
            f"acquisition.atoms: {file.suffix} files have no topology to select from; found {atoms!r}; leave it out"
        )
    try:
        if file.suffix == ".npz":
            batch = Batch.load(file)
            array, box = batch.x.numpy(), None
        elif bare:
            array, box = np.load(file, allow_pickle=False) if file.suffix == ".npy" else np.loadtxt(file, ndmin=2), None
        else:
            array, box = _trajectory(file, system, topology, stride, atoms)
    except InputError:
        raise
    except ImportError as reason:
        raise InputError(
            f"acquisition.path: {file.suffix} files are read with PyTables, which is not installed; pip install -e"
            ' ".[h5]"'
        ) from reason
    except Exception as reason:
        raise InputError(f"acquisition.path: {path!r} cannot be read: {' '.join(str(reason).split())}") from reason
    if bare:
        array = _rows(array, system.size, path) * UNITS_NM[unit]
    if file.suffix in ARRAYS:
        array = array[::stride]
    if array.shape[-1] != system.size:
        raise InputError(
            f"acquisition.path: expected {_atoms(system.size)} as in the system; {path!r} has {_atoms(array.shape[-1])}"
        )
    finite = np.isfinite(array).all(-1)
    if not finite.all():
        raise InputError(
            f"acquisition.path: frame {stride * int((~finite).nonzero()[0][0])} of {path!r} has NaN or inf coordinates;"
            " remove it"
        )
    array = whole(system, np.ascontiguousarray(array, dtype=np.float32), box, repr(path))
    check_bonds(system, array, repr(path), "acquisition.path", stride)
    if file.suffix != ".npz":
        return Batch.of(torch.from_numpy(array))
    _check_columns(batch, path)
    batch = batch.frames(slice(None, None, stride))
    return Batch(**{name: column.float() for name, column in batch.columns().items()} | {"x": torch.from_numpy(array)})


def _check_columns(batch: Batch, path: str) -> None:
    """Raise InputError where what stands beside the configurations is not one finite row for each, or no weight."""
    for name, column in batch.columns().items():
        if column.shape[:1] != batch.x.shape[:1]:
            raise InputError(
                f"acquisition.path: expected as many rows of {name!r} as frames, {len(batch)}; {path!r} has shape"
                f" {tuple(column.shape)}"
            )
        if not column.isfinite().all():
            raise InputError(f"acquisition.path: {name!r} of {path!r} has NaN or inf; remove these frames")
    if (batch.w < 0).any() or not (batch.w > 0).any():
        raise InputError(
            f"acquisition.path: expected weights 'w' of at least 0, some above; {path!r} has them from"
            f" {batch.w.min():.4g} to {batch.w.max():.4g}"
        )


def configurations(frames: Any, system: System) -> Tensor:
    """Configurations of `system`, (n, D), of a trajectory of mdtraj, a file, or an array (n, atoms, 3) or (n, D) of
    numpy or torch, in nm.

    Raises:
        InputError: another shape, other elements, NaN or inf, bonds far off the force field's.
    """
    if isinstance(frames, (str, Path)):
        return read_frames(str(frames), system).x
    box = None
    if isinstance(frames, mdtraj.Trajectory):
        if getattr(system, "topology", None) is not None and frames.n_atoms == system.topology.n_atoms:
            _agree(frames.topology, system.topology, "the trajectory", "frames")
        frames, box = frames.xyz, frames.unitcell_vectors
    x = torch.as_tensor(frames).detach().cpu().to(torch.float32)
    x = x.reshape(len(x), -1) if x.ndim == 3 else x
    if x.ndim != 2 or x.shape[1] != system.size:
        raise InputError(
            f"frames: expected (n, {system.size // 3}, 3) or (n, {system.size}) coordinates in nm; found shape"
            f" {tuple(x.shape)}"
        )
    if not x.isfinite().all():
        raise InputError(
            f"frames: frame {int((~x.isfinite().all(-1)).nonzero()[0])} has NaN or inf coordinates; remove it"
        )
    array = whole(system, x.numpy(), box, "the frames")
    check_bonds(system, array, "the frames", "frames")
    return torch.from_numpy(array)


def _trajectory(
    file: Path, system: System, topology: str | None, stride: int, atoms: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates, (N, D), and the vectors of the periodic box, (N, 3, 3), where there is one, in nm."""
    if file.suffix not in OWN_TOPOLOGY | TRAJECTORIES:
        cure = (
            "save the positions of an OpenMM State with app.PDBFile.writeFile"
            if file.suffix == ".xml"
            else "convert it with mdconvert or cpptraj"
        )
        raise InputError(
            f"acquisition.path: expected one of {', '.join(sorted(ARRAYS | OWN_TOPOLOGY | TRAJECTORIES))}; found"
            f" {file.name!r}; {cure}"
        )
    ours, index = getattr(system, "topology", None), None
    own = file.suffix in OWN_TOPOLOGY
    theirs = (
        mdtraj.load_topology(str(file))
        if own
        else mdtraj.load_topology(os.path.expanduser(topology))
        if topology is not None
        else ours
    )
    if theirs is None or (atoms is not None and not own and topology is None):
        raise InputError(
            f"acquisition.topology: {file.suffix} files have none of their own; give the path of a PDB file of all"
            " their atoms"
        )
    top = {} if own else {"top": theirs}
    if atoms is not None:
        index = _select(theirs, atoms)
        # This fails on a topology of another size, which mdtraj overlooks once it reads a selection.
        mdtraj.load(str(file), frame=0, **top)
        theirs = theirs.subset(index)
    if 3 * theirs.n_atoms != system.size:
        raise InputError(
            f"acquisition.atoms: expected {_atoms(system.size)} as in the system; {atoms or 'all'!r} of {str(file)!r}"
            f" has {theirs.n_atoms} atoms; select the system's"
        )
    if ours is not None:
        _agree(theirs, ours, repr(str(file)), "acquisition.path")
    every = {} if file.suffix in RESTARTS else {"stride": stride}
    frames = mdtraj.load(str(file), atom_indices=index, **every, **top)
    return frames.xyz.reshape(-1, system.size), frames.unitcell_vectors


def _select(topology: mdtraj.Topology, atoms: str) -> np.ndarray:
    try:
        index = topology.select(atoms)
    except Exception as reason:
        raise InputError(
            f"acquisition.atoms: expected an mdtraj selection such as 'protein'; found {atoms!r}"
        ) from reason
    if not len(index):
        raise InputError(f"acquisition.atoms: {atoms!r} selects none of the file's {topology.n_atoms} atoms")
    return index


def _agree(theirs: mdtraj.Topology, ours: mdtraj.Topology, name: str, argument: str) -> None:
    for one, other in zip(theirs.atoms, ours.atoms, strict=True):
        if one.element != other.element:
            raise InputError(
                f"{argument}: expected the system's atoms in its order; atom {other.index} is {one}"
                f" ({one.element.symbol}) in {name}, {other} ({other.element.symbol}) in the system; select others or"
                " reorder them"
            )


def _rows(array: np.ndarray, size: int, path: str) -> np.ndarray:
    array = array.reshape(len(array), -1) if array.ndim == 3 else array
    if array.ndim != 2 or size not in array.shape:
        raise InputError(
            f"acquisition.path: expected {size} coordinates along one axis of {path!r}; found shape {array.shape}"
        )
    if array.shape == (size, size):
        raise InputError(
            f"acquisition.path: {path!r} is square ({size} x {size}), so frames and coordinates cannot be told apart;"
            " add or drop a frame"
        )
    return array if array.shape[1] == size else array.T


def _atoms(size: int) -> str:
    return f"{size // 3} atoms" if size % 3 == 0 else f"{size} coordinates"
