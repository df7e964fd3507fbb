"""The comparison of cache backends runs, and every contender gives what was stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deep

ROOT = Path(__file__).parents[2]


def test_it_measures_every_backend() -> None:
    command = [sys.executable, "-m", "benchmarks.caches", "--rounds", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "failed" not in done.stdout
    for title in ("get, one thread", "aset, 50 tasks", "cache_page", "reads the session"):
        assert title in done.stdout
    assert done.stdout.count("| DictCache |") == done.stdout.count("| django-redis |") == 6
