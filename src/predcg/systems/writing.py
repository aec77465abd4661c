"""Configurations to files that other programs read."""

from pathlib import Path

import mdtraj
import numpy as np
from torch import Tensor

from predcg.files import atomic
from predcg.systems.system import System


def write_trajectory(folder: Path, system: System, x: Tensor) -> None:
    """`topology.pdb` and `trajectory.dcd` of a molecule's configurations, (N, D), as mdtraj and other programs read
    them.
    """
    frames = mdtraj.Trajectory(x.view(len(x), -1, 3).cpu().numpy(), system.topology)
    with atomic(folder / "topology.pdb") as temporary:
        frames[0].save_pdb(str(temporary))
    with atomic(folder / "trajectory.dcd") as temporary:
        frames.save_dcd(str(temporary))
        # The two titles hold the time and what was in memory: the same frames are the same bytes.
        with temporary.open("r+b") as file:
            file.seek(100)
            file.write(b"REMARKS".ljust(160, b"\0"))


def write_frame(path: Path, system: System, x: Tensor) -> Path:
    """One configuration, (D,), as a PDB file where the system has atoms and the format the digits, else as an array;
    return the file.
    """
    # In nm: the eight columns of a PDB hold no -1000 Å.
    if getattr(system, "topology", None) is None or not x.abs().max() < 99:
        path = path.with_suffix(".npy")
        with atomic(path) as temporary:
            np.save(temporary, x.cpu().numpy())
        return path
    path = path.with_suffix(".pdb")
    with atomic(path) as temporary:
        mdtraj.Trajectory(x.view(1, -1, 3).cpu().numpy(), system.topology).save_pdb(str(temporary))
    return path
