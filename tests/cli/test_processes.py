"""The command as a program: statuses, streams, and what a shell sees of an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class

from redisdict import PersistentDict
from redisdict.cli.output import EXIT_STATUSES, ExitStatus
from redisdict.management.commands.redisdict import ACTIONS

ROOT = Path(__file__).parents[2]

Program = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def program(
    valkey_url: str, alias_for: Callable[..., dict[str, Any]], settings: Any, tmp_path: Path
) -> Program:
    """Runs `manage.py redisdict` with the alias of this test."""
    alias = alias_for(valkey_url)
    settings.REDISDICT = {"default": alias}
    module = tmp_path / "own_settings.py"
    module.write_text(f"from tests.settings import *\nREDISDICT = {{'default': {alias!r}}}\n")
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "own_settings",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "COLUMNS": "100",
    }

    def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "django", "redisdict", *arguments],
            input=stdin, capture_output=True, env=environment, cwd=tmp_path, check=False,
        )  # fmt: skip

    return run


def test_items_go_through_a_pipe(program: Program) -> None:
    shop: PersistentDict[str, object] = PersistentDict("shop")
    shop.update({f"{number} \ud800": (number,) for number in range(100)})
    exported = program("export", "shop")
    assert exported.returncode == 0
    assert exported.stderr.startswith(b"Exported 100 items of shop (hash)")
    assert json.loads(exported.stdout.splitlines()[-1]) == {"items": 100}
    imported = program("import", "other", stdin=exported.stdout)
    assert (imported.returncode, imported.stderr) == (0, b"")
    assert dict(PersistentDict("other")) == dict(shop)


def test_a_shell_sees_the_status_and_one_line(program: Program) -> None:
    for arguments, status in {
        ("get", "shop"): 2,
        ("clear", "shop"): ExitStatus.REFUSED,
    }.items():
        PersistentDict("shop")["x"] = 1
        done = program(*arguments)
        assert done.returncode == status, arguments
        assert b"Traceback" not in done.stderr
    assert len(PersistentDict("shop")) == 1


def test_nobody_reads_the_output_to_its_end(program: Program, tmp_path: Path) -> None:
    PersistentDict("shop").update({f"key {number}": "x" * 100 for number in range(20_000)})
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "own_settings",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    command = [sys.executable, "-m", "django", "redisdict", "export", "shop"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == ExitStatus.INTERRUPTED


def test_the_help_says_all() -> None:
    parser = load_command_class("redisdict", "redisdict").create_parser("manage.py", "redisdict")
    text = parser.format_help()
    for status in EXIT_STATUSES:
        assert f"  {status}: " in text
    for action in ACTIONS:
        assert f"\n    {action} " in text
