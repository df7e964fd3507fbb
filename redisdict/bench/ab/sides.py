"""Parse the sides of `redisbench ab`: commits, checkouts, environments, settings, servers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import redisdict
from redisdict.bench.errors import UsageError
from redisdict.bench.measure.services import Service, discover

#: The root of the package that is running.
ROOT = Path(redisdict.__file__).resolve().parents[1]

#: As wide as a service may be in a stored run.
LONGEST_TITLE = 100

EXPECTED = (
    "a commit of this checkout, the directory of another checkout or of a virtual environment,"
    ' settings of an alias such as "SERIALIZER=json", a service of `redisbench services`, or an'
    " address such as redis://127.0.0.1:6379/0 is expected"
)

_SETTINGS = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Side:
    """One of the two things that take turns.

    Attributes:
        title: what the report calls it.
        python: the interpreter of its process.
        root: where the package has to come from; None is whatever that interpreter has.
        alias: further keys of its alias.
        service: where its server comes from; None is the one that both share.
    """

    title: str
    python: str = field(default_factory=lambda: sys.executable)
    root: Path | None = ROOT
    alias: Mapping[str, Any] = field(default_factory=dict)
    service: Service | None = None


def find_side(letter: str, text: str, stack: ExitStack, *, allow_remote: bool = False) -> Side:
    """Find the side that this argument names.

    Args:
        letter: "A" or "B".
        stack: removes what a commit was unpacked to.
        allow_remote: whether a server may be on another machine.

    Raises:
        UsageError: it is nothing that can be compared.
    """
    # An address may hold a password.
    shown = text.rpartition("@")[2] if "://" in text else text
    title = f"{letter}: {shown}"[:LONGEST_TITLE]
    if "://" in text:
        *_, service = discover([f"{letter}={text}"], allow_remote=allow_remote)
        return Side(title, service=service)
    if _SETTINGS.match(text):
        return Side(title, alias=_settings(text))
    path = Path(text).expanduser()
    if path.is_dir():
        return _of_directory(title, path.resolve(), text)
    known = [one for one in discover() if text.lower() in (one.key, one.title.lower())]
    if known:
        if not known[0].is_available:
            raise UsageError(f"{known[0].title} is not available: {known[0].reason}")
        return Side(title, service=known[0])
    return Side(title, root=_unpacked(text, stack))


def _of_directory(title: str, path: Path, text: str) -> Side:
    python = next(
        (one for one in (path / "bin" / "python", path / "Scripts" / "python.exe") if one.exists()),
        None,
    )
    if (path / "redisdict" / "__init__.py").exists():
        return Side(title, root=path)
    if python is not None:
        return Side(title, python=str(python), root=None)
    raise UsageError(
        f"{text} is neither a checkout (it has no redisdict/__init__.py) nor a virtual environment"
        " (it has no bin/python)."
    )


def _settings(text: str) -> dict[str, Any]:
    """Parse "NAME=VALUE,NAME=VALUE"; values that aren't Python literals are texts."""
    values = {}
    for part in re.split(r",(?=[A-Z_]+=)", text):
        name, _, value = part.partition("=")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[name] = value
    return values


def _unpacked(revision: str, stack: ExitStack) -> Path:
    """Unpack a commit of the checkout that is running; the work tree isn't touched."""
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise UsageError(f"{revision!r} can't be compared: {EXPECTED}.")
    directory = Path(stack.enter_context(TemporaryDirectory(prefix="redisbench-")))
    with TemporaryFile() as archive:
        archive.write(_git("archive", found.stdout.decode().strip(), "redisdict").stdout)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(directory, filter="data")
    return directory


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command: Sequence[str] = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - fixed words and a revision
    except OSError as error:
        raise UsageError(f"git can't be run: {error}. Give the directory of a checkout.") from error
