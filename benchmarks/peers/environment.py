"""The environment that the peers are installed into, beside this package itself."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["REPORT", "REQUIREMENTS", "ensure_environment", "requirements"]

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements-peers.txt"

#: In the environment: requirement -> what there is to say about its installation.
REPORT = "peers.json"


def ensure_environment(directory: Path, package: Path) -> Path:
    """The Python of an environment that has the package and its peers; made at the first call.

    It is made anew when the list of peers, the package's own requirements or the Python changes.

    Args:
        directory: where it is, or is going to be.
        package: this package's source; installed so that changes of it count at once.

    Raises:
        subprocess.CalledProcessError: the package itself can't be installed.
    """
    python = directory / "bin" / "python"
    stamp = directory / "made-from"
    wanted = _fingerprint(package)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Making an environment for the peers in {directory}", file=sys.stderr)
    venv.create(directory, clear=True, with_pip=True)
    _pip(python, "install", "--editable", str(package), check=True)
    constraints = directory / "constraints.txt"
    constraints.write_text(_pip(python, "freeze", "--exclude-editable", check=True).stdout)
    report = {line: _install(python, line, constraints) for line in requirements()}
    (directory / REPORT).write_text(json.dumps(report, indent=1))
    stamp.write_text(wanted)
    return python


def requirements() -> list[str]:
    """The peers, as pip names them."""
    lines = (line.strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _install(python: Path, requirement: str, constraints: Path) -> str:
    """Install a peer over the same redis-py as everything else; empty, or what went wrong.

    A peer that asks for an older redis-py is tried with this one all the same: otherwise the
    comparison would be one of redis-py's versions.
    """
    print(f"  {requirement}", file=sys.stderr)
    done = _pip(python, "install", "--constraint", str(constraints), requirement)
    if done.returncode == 0:
        return ""
    alone = _pip(python, "install", "--no-deps", requirement)
    if alone.returncode == 0:
        return "installed although its own requirements don't allow the versions used here"
    return f"can't be installed: {_last_line(alone.stderr)}"


def _pip(python: Path, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = (str(python), "-m", "pip", "--disable-pip-version-check", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip
    if check and done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return done


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR")]
    return lines[-1] if lines else "pip doesn't say why"


def _fingerprint(package: Path) -> str:
    parts = (sys.version.encode(), REQUIREMENTS.read_bytes(), _own_requirements(package))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _own_requirements(package: Path) -> bytes:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return json.dumps([str(package), project["dependencies"]]).encode()
