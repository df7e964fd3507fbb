"""The measurement of computations that hang runs, and has one of them an expiry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deep

ROOT = Path(__file__).parents[2]


def test_it_measures_threads_and_tasks() -> None:
    command = [sys.executable, "-m", "benchmarks.compute_once", "--expiries", "2", "--rounds", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for row in ("| threads |", "| tasks |", "| get_or_set(stale=) |"):
        assert row in done.stdout
