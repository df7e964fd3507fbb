"""The two commands of README.md, on Debian machines where something is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import fences

#: The commands begin with this part, which makes the virtual environment.
MAKES_ENVIRONMENT = [
    fence.text.partition(" && .venv/bin/pip ")[0]
    for fence in fences("README.md", "sh")
    if "-r requirements.txt" in fence.text
]

#: Programs of a machine, whose packages and lists of packages are files in its directory.
PROGRAMS = {
    "python3": """
[ -e "$MACHINE/python3-venv" ] || { echo "ensurepip is not available" >&2; exit 1; }
[ "$*" = "-m venv .venv" ] && echo made >>"$MACHINE/environment"
""",
    "apt-get": """
case "$*" in
    *update) touch "$MACHINE/lists" ;;
    *install*python3-venv)
        [ -e "$MACHINE/lists" ] || { echo "E: no installation candidate" >&2; exit 100; }
        [ -z "$(command -v sudo)" ] || [ -n "$IS_ROOT" ] || { echo "not root" >&2; exit 100; }
        touch "$MACHINE/python3-venv" ;;
    *) exit 100 ;;
esac
""",
    "sudo": 'IS_ROOT=1 exec "$@"\n',
}


def make_machine(directory: Path, *programs: str) -> dict[str, str]:
    """Put programs into a directory, and give the environment variables that find them alone."""
    for name in programs:
        path = directory / name
        path.write_text(f"#!/bin/sh\n{PROGRAMS[name].lstrip()}", encoding="utf-8")
        path.chmod(0o755)
    for name in ("sh", "touch"):
        found = shutil.which(name)
        assert found
        (directory / name).symlink_to(found)
    return {"PATH": str(directory), "MACHINE": str(directory)}


def test_both_commands_make_the_environment_in_the_same_way() -> None:
    first, second = MAKES_ENVIRONMENT
    assert first == second


@pytest.mark.parametrize("has_sudo", [True, False], ids=["user-with-sudo", "root-without-sudo"])
def test_a_machine_without_package_lists_gets_what_makes_environments(
    tmp_path: Path, has_sudo: bool
) -> None:
    programs = ("python3", "apt-get", *(["sudo"] if has_sudo else []))
    environment = make_machine(tmp_path, *programs)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", MAKES_ENVIRONMENT[0]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "environment").read_text() == "made\n"


def test_a_machine_that_has_all_is_left_as_it_is(tmp_path: Path) -> None:
    environment = make_machine(tmp_path, "python3", "apt-get")
    (tmp_path / "python3-venv").touch()
    subprocess.run(
        [shutil.which("bash") or "bash", "-c", MAKES_ENVIRONMENT[0]], env=environment, check=True
    )
    assert not (tmp_path / "lists").exists()
