"""The files that a configuration names: their content is part of what makes a run the same, and the run folder keeps a
copy of those of its system.
"""

import glob
import hashlib
import os
import shutil
import xml.etree.ElementTree as etree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from predcg.errors import InputError
from predcg.files import atomic, read_json, reading, write_json

INPUTS, COPIES = "inputs.json", "inputs"  # Names and SHA-256 of all input files; copies of those of the system.
# Values of these keys of a system are files: a sequence is none, even where a file has its name.
KEYS = {"pdb", "forcefield"}


def contents(resolved: dict) -> dict[str, str]:
    """SHA-256 of the content of every file that system and acquisition name."""
    return _contents(resolved["system"]) | _contents(resolved["acquisition"])


def keep(folder: Path, resolved: dict) -> None:
    """Write names and hashes of all files, and copies of those of the system: trajectories are in the folder's data."""
    for copy, original in copies(resolved).items():
        with atomic(folder / COPIES / copy) as temporary:
            shutil.copyfile(original, temporary)
    write_json(folder / INPUTS, contents(resolved))


def copies(resolved: dict) -> dict[Path, Path]:
    """What is copied for the files of the system, by its place among the copies: each with all that it includes, which
    lies to it as it does to the original. Raises InputError on an absolute path in an <Include>: it would stay where it
    is.
    """
    found = {}
    for name, digest in _contents(resolved["system"]).items():
        parts = _parts(Path(os.path.expanduser(name)).absolute())
        top = os.path.commonpath([part.parent for part in parts])
        found |= {Path(digest[:12], part.relative_to(top)): part for part in parts}
    return found


def recorded(folder: Path) -> dict[str, str]:
    """Names and hashes that `keep` wrote; none in folders of earlier versions. Raises InputError on a damaged file."""
    path, cure = folder / INPUTS, "put it back, or start again with force=true"
    if not path.exists():
        return {}
    found = read_json(path, cure)
    with reading(path, cure):
        return {name: bytes.fromhex(digest).hex() for name, digest in found.items()}


def kept(folder: Path, system: Any) -> Any:
    """The node of the system with the copies in the run folder for the files it names. Raises InputError on a copy that
    is not what was copied.
    """
    there = {}
    for name, digest in recorded(folder).items():
        named = sorted((folder / COPIES / digest[:12]).rglob(glob.escape(Path(name).name)))
        if named:
            same = [copy for copy in named if _digest(copy) == digest]
            if not same:
                raise InputError(
                    f"{named[0]}: expected {name!r} as it was when the run began; found other content; put it back, or"
                    " say force=true"
                )
            there[name] = str(same[0])
    return _replaced(system, there)


def _contents(node: Any) -> dict[str, str]:
    return {
        text: _digest(os.path.expanduser(text)) for text in _texts(node) if os.path.isfile(os.path.expanduser(text))
    }


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node


def _replaced(node: Any, copies: dict[str, str], of_files: bool = False) -> Any:
    if isinstance(node, dict):
        return {key: _replaced(value, copies, of_files or key in KEYS) for key, value in node.items()}
    if isinstance(node, list):
        return [_replaced(value, copies, of_files) for value in node]
    return copies.get(node, node) if of_files and isinstance(node, str) else node


def _digest(file: Path | str) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _parts(file: Path) -> list[Path]:
    """The file and what it includes (OpenMM's <Include>) beside it, below or above."""
    parts = [Path(os.path.normpath(file))]
    for part in parts:  # It grows while it is read.
        try:
            root = etree.parse(part).getroot() if part.suffix == ".xml" else etree.Element("none")
        except etree.ParseError:  # OpenMM's own parser reads it all the same.
            continue
        for included in (element.attrib["file"] for element in root.findall("Include")):
            path = Path(os.path.normpath(part.parent / included))
            if os.path.isabs(included):
                raise InputError(
                    f"system.forcefield: expected includes by a path relative to {part}, so that a copy finds them;"
                    f" found {included!r}; write {os.path.relpath(included, part.parent)!r}"
                )
            if path not in parts and path.is_file():
                parts.append(path)
    return parts
