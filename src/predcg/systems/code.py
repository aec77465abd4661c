"""Code in data: force-field files and serialised Systems may carry Python, which OpenMM runs when it reads them."""

import os
import xml.etree.ElementTree as etree
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import openmm
from openmm import app

from predcg.errors import InputError

_trusted = ContextVar("trusted", default=False)
CODE = ("Script", "InitializationScript")
EVALUATED = "useDispersionCorrection"  # It is the one attribute that OpenMM's ForceField reads with eval.


@contextmanager
def trusted_code(yes: bool = True) -> Iterator[None]:
    """Inside, files with code of their own are used. Nothing that is stored in a file can say so.

    >>> with trusted_code():
    ...     system = deserialise(path)  # doctest: +SKIP
    """
    token = _trusted.set(yes)
    try:
        yield
    finally:
        _trusted.reset(token)


def paths(given: str | Path | list[str | Path]) -> list[str]:
    """Paths as texts, with the user's home for `~`; a single one is a list of one.

    >>> paths("amber96.xml"), paths([Path("a.prmtop")])
    (['amber96.xml'], ['a.prmtop'])
    """
    return [os.path.expanduser(one) for one in ([given] if isinstance(given, str | Path) else given)]


def force_field(files: list[str]) -> app.ForceField:
    """OpenMM's ForceField. Raises InputError where a file, or one that it includes, has code in it and is not OpenMM's
    own.
    """
    for path, root in () if _trusted.get() else _foreign(files):
        for element in root.iter():
            if element.tag in CODE or element.get(EVALUATED, "True") not in ("True", "False", "0", "1"):
                raise _refusal(path, f"<{element.tag}>")
    return app.ForceField(*files)


def deserialise(path: str) -> openmm.System:
    """An openmm.System from its XML. Raises InputError where a pickled function, or a force of a plugin, is in it."""
    text = Path(path).read_text()
    if not _trusted.get():
        root = etree.fromstring(text)
        for kind in (element.get("type", "System") for element in root.iter()):
            if kind == "PythonForce" or not hasattr(openmm, kind):
                raise _refusal(path, kind)
        # OpenMM's own parser sees elements in what is a comment to others: it is given nothing but what has been looked
        # at.
        text = etree.tostring(root, encoding="unicode")
    return openmm.XmlSerializer.deserialize(text)


def _foreign(files: list[str]) -> Iterator[tuple[str, etree.Element]]:
    """Files and what they include, found as ForceField.loadFile finds them, with their content; those that an installed
    package ships are left out.
    """
    shipped = [os.path.abspath(folder) for folder in app.forcefield._getDataDirectories()]
    pending = list(files)
    for name in pending:  # The list grows while it is read.
        path = next(
            (place for place in (name, *(os.path.join(folder, name) for folder in shipped)) if os.path.isfile(place)),
            None,
        )
        if path is None or os.path.abspath(path).startswith(tuple(folder + os.sep for folder in shipped)):
            continue
        root = etree.parse(path).getroot()
        yield path, root
        for include in (element.attrib["file"] for element in root.findall("Include")):
            beside = os.path.join(os.path.dirname(path), include)
            include = beside if os.path.isfile(beside) else include
            pending += [include] if include not in pending else []


def _refusal(path: str, what: str) -> InputError:
    return InputError(
        f"system.forcefield: {path!r} holds code ({what}), which would run with your rights; read it, and if you trust"
        " it say trust_code=true, or from Python `with predcg.systems.trusted_code():`"
    )
