"""The comparison of reads from memory runs, and all give what was stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.near import peers

pytestmark = pytest.mark.deep

ROOT = Path(__file__).parents[2]


def test_it_measures_all() -> None:
    command = [sys.executable, "-m", "benchmarks.near", "--rounds", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "failed" not in done.stdout
    assert done.stdout.count("| near=1.0 |") == done.stdout.count('| near="request" |') == 4
    assert done.stdout.count("| Django's LocMemCache |") == 3
    for name in ("DictCache", "DictCache, NEAR=1.0", 'DictCache, NEAR="request"'):
        assert done.stdout.count(f"| {name} |") == 5  # the fifth is that of a page
    for name in (peers.REDIS_PY, peers.GLIDE, peers.CASHEWS, peers.CACHETOOLS):
        assert name in done.stdout  # or why it isn't there
