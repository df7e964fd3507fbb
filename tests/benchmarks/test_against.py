"""The comparison of two checkouts runs, and every call of both gives what was stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.against", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_it_measures_every_call_of_both() -> None:
    done = run(ROOT, "--rounds", "2", "--generations", "1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "failed" not in done.stdout
    for call in ("hash get", "keys aget in 50 tasks", "cache set", "ModelDict hit", "save()"):
        assert f"| {call}" in done.stdout


@pytest.mark.deep
def test_calls_can_be_chosen() -> None:
    done = run(ROOT, "--rounds", "2", "--generations", "2", "--call", "hash set")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == 3
    done = run(ROOT, "--rounds", "2", "--generations", "1", "--call", "nothing")
    assert done.returncode == 1
    assert "No such call: nothing." in done.stderr


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "is no checkout" in done.stderr


def test_a_checkout_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    (tmp_path / "redisdict").mkdir()
    (tmp_path / "redisdict" / "__init__.py").write_text("raise ImportError('broken')")
    done = run(tmp_path, "--rounds", "2", "--generations", "1")
    assert done.returncode == 1
    assert "its process has ended" in done.stderr
