"""The run folder: whose it is, what it holds, when it is finished."""

import os
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from predcg.errors import InputError
from predcg.files import atomic, read_json, write_json
from predcg.inputs import COPIES, INPUTS, contents, copies, keep, recorded
from predcg.provenance import commit

# These keys may differ between two calls of one run.
IGNORED = {"force", "trust_code", "folder", "threads", "logger", "figures", "rounds"}
# This is what runs did before there was a key for it.
SINCE = {
    "checkpoint": "last",
    "snapshots": None,
    "rounds": 1,
    "round": 1,
    "past": None,
    "reset": [],
    "stop": {},
    "z_torsions": None,
}
ROUNDS = "rounds"  # The part of a run folder with the second round and those after it.
# Every configuration of a run has these keys.
NOUNS = {"system", "latent", "decoder", "encoder", "objective", "acquisition", "steps", "seed"}
# What configurations of earlier versions call otherwise.
RENAMED = {"predcg.acquisitions.Nothing": "predcg.acquisitions.NoData"}
ZMATRIX = {"atoms", "bonds", "angles", "ranges", "folds"}  # In earlier versions it was given no torsions.
PACKAGES = ("predcg", "torch", "pytorch-lightning", "hydra-core", "openmm", "mdtraj", "zuko", "wandb")


def is_finished(folder: Path, resolved: dict) -> bool:
    """Whether the folder holds this very run, finished, and the run is not to be forced.

    Raises:
        InputError: the folder holds anything else.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return False
    there = configuration(folder)
    if there is None:
        raise InputError(
            f"folder: expected a run folder or none; {folder} has other content, or a config.yaml that cannot be read;"
            " choose another folder=..."
        )
    if resolved["force"]:
        if folder.is_symlink():
            raise InputError(
                f"folder: expected the run folder itself where force=true replaces it; {folder} is a link; give"
                f" {folder.resolve()}"
            )
        return False
    for key in sorted((resolved.keys() | there.keys()) - IGNORED):
        if resolved.get(key) != there.get(key):
            raise InputError(
                f"folder: {folder} holds a run of another configuration ({key}: {there.get(key)} there,"
                f" {resolved.get(key)} now); choose another folder=..., or replace it with force=true"
            )
    before = recorded(folder)
    for path, now in contents(resolved).items():
        if before.get(path, now) != now:
            raise InputError(
                f"folder: {folder} holds a run of another configuration (the content of {path} has changed since);"
                " choose another folder=..., or replace it with force=true"
            )
    planned, asked = there["rounds"], resolved["rounds"]
    if asked < begun(folder):
        raise InputError(
            f"rounds: expected at least {begun(folder)}, which {folder} has; found {asked}; ask for as many or more, or"
            " replace them with force=true"
        )
    if not (folder / "finished").exists():
        return False
    # It has as many as are asked for, or had ended by itself before.
    return asked <= planned or read_json(folder / "summary.json").get("rounds", 1) < planned


def reopen(folder: Path, resolved: dict) -> None:
    """Let a run that is there already go on, to as many rounds as are asked for."""
    there = configuration(folder)
    if there is None or resolved["force"]:
        return
    (folder / "finished").unlink(missing_ok=True)  # First: a marker beside a new number would say that it had ended.
    if resolved["rounds"] != there["rounds"]:
        _configure(folder, there | {"rounds": resolved["rounds"]})


def begun(folder: Path) -> int:
    """How many rounds a run folder has, the last of which need not be finished."""
    return max((int(path.name) for path in (folder / ROUNDS).glob("[0-9]*")), default=1)


def configuration(folder: Path) -> dict | None:
    """The configuration of a run folder, in the words of today, None of any other: many programs have a file of this
    name, and force=true removes the folder.
    """
    try:
        found = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError):
        return None
    return SINCE | _renamed(found) if isinstance(found, dict) and found.keys() >= NOUNS else None


def _renamed(node: Any) -> Any:
    """A configuration with the names of today."""
    if isinstance(node, dict):
        since = {"given": []} if node.keys() == ZMATRIX else {}
        return since | {key: _renamed(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_renamed(value) for value in node]
    return RENAMED.get(node, node) if isinstance(node, str) else node


def begin(folder: Path, resolved: dict) -> Path:
    """Write configuration and input files into an empty folder, or into that of a run which is replaced by force;
    return the topmost folder made.
    """
    copies(resolved)  # What cannot be kept is refused before anything is removed.
    if resolved["force"] and folder.exists():  # It is a run folder: is_finished has refused any other.
        shutil.rmtree(folder)
    made = folder
    while not made.parent.exists():
        made = made.parent
    _configure(folder, resolved | {"force": False, "trust_code": False})
    keep(folder, resolved)
    return made


def _configure(folder: Path, resolved: dict) -> None:
    with atomic(folder / "config.yaml") as temporary:
        OmegaConf.save(OmegaConf.create(resolved), temporary)


def withdraw(folder: Path, made: Path) -> None:
    """Undo `begin` where nothing has been written since."""
    if {path.name for path in folder.iterdir()} <= {"config.yaml", INPUTS, COPIES}:
        shutil.rmtree(made)


def finish(folder: Path, resolved: dict, summary: dict[str, float]) -> None:
    """Write summary and provenance, and last of all the marker."""
    write_json(folder / "summary.json", summary)
    provenance = {
        "commit": commit(),
        "command": sys.argv,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": resolved["threads"],
        "seed": resolved["seed"],
        "wall_time_s": summary["wall_time_s"],
    }
    write_json(folder / "provenance.json", provenance)
    with atomic(folder / "finished") as marker:
        marker.touch()
