"""The files that a configuration names: their content is part of what makes a run the same, and the run folder keeps a
copy of those of its system.
"""

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
    found = contents(resolved)
    for name in sorted(found.keys() & set(_texts(resolved["system"]))):
        copy = _copy(folder, name, found[name])
        for part in _parts(os.path.expanduser(name)):
            with atomic(copy.parent / part) as temporary:
                shutil.copyfile(Path(os.path.expanduser(name)).parent / part, temporary)
    write_json(folder / INPUTS, found)


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
    copies = {}
    for name, digest in recorded(folder).items():
        copy = _copy(folder, name, digest)
        if copy.is_file():
            if _digest(copy) != digest:
                raise InputError(
                    f"{copy}: expected {name!r} as it was when the run began; found other content; put it back, or say"
                    " force=true"
                )
            copies[name] = str(copy)
    return _replaced(system, copies)


def _copy(folder: Path, name: str, digest: str) -> Path:
    return folder / COPIES / digest[:12] / Path(name).name


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


def _parts(name: str) -> list[str]:
    """The file and what it includes (OpenMM's <Include>), relative to its folder; none if that leads out of the folder:
    a copy would not find it.
    """
    home, parts = os.path.dirname(name), [os.path.basename(name)]
    for part in parts:  # The list grows while it is read.
        try:
            root = etree.parse(os.path.join(home, part)).getroot() if part.endswith(".xml") else etree.Element("none")
        except etree.ParseError:  # OpenMM's own parser reads it all the same.
            continue
        beside = [
            os.path.normpath(os.path.join(os.path.dirname(part), include.attrib["file"]))
            for include in root.findall("Include")
        ]
        parts += [
            path for path in dict.fromkeys(beside) if path not in parts and os.path.isfile(os.path.join(home, path))
        ]
    return parts if not any(os.path.isabs(part) or part.startswith("..") for part in parts) else []
