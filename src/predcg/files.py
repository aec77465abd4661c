"""Files that are either whole or absent."""

import fcntl
import hashlib
import io
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predcg.errors import InputError

log = logging.getLogger(__name__)
AGAIN = "delete it and it is made again, or start again with force=true"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write to the yielded temporary name; on success it is renamed to `path`, on failure it is removed.

    The temporary name keeps the suffix, since many writers choose their format by it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as reason:
        if reason.filename is None:  # So it is where the disk is full.
            reason.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """Write `content` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, content: dict) -> None:
    """Write tensors and plain Python in torch's format, atomically. Raises OSError on a full disk, where torch, writing
    by itself, raises what names no cause.
    """
    import torch  # Help, which needs this module, does not wait for torch.

    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def clear(folder: Path) -> None:
    """Remove the temporary files that writers killed in a folder have left; to be called while nobody else writes
    there.
    """
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\..+\.\d+(\.\w+)?", path.name) and path.is_file():
            path.unlink()


@contextmanager
def reading(path: Path, cure: str = AGAIN) -> Iterator[None]:
    """Where a file that this program wrote cannot be read, raise InputError with its name, the reason, and the cure."""
    try:
        yield
    except InputError:
        raise
    except Exception as reason:
        first_line = (str(reason).splitlines() or [type(reason).__name__])[0]
        raise InputError(f"{path} cannot be read ({first_line}); {cure}") from reason


def read_json(path: Path, cure: str = AGAIN) -> dict:
    """What `write_json` wrote. Raises InputError where it cannot be read."""
    with reading(path, cure):
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError(f"expected names and their values; found {str(content)[:80]!r}")
        return content


@contextmanager
def locked(path: Path, what: str = "") -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, which is made and stays; another process waits, and says for `what`.
    The system frees it when a process dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that works in %s", what or path.with_suffix(""))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process of this machine that works in a folder, which need not be there yet; another one waits."""
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:  # The first of several that work together has the lock.
        yield
        return
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with locked(Path(tempfile.gettempdir()) / f"predcg-{os.getuid()}" / f"{name}.lock", str(folder)):
        yield
