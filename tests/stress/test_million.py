"""A million items: flat memory here, and no command that holds a server up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Family
from tests.conftest import program_for_tests

pytestmark = pytest.mark.deep

ITEMS = 1_000_000
GROWN_MOST = 50 * 1024 * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
@pytest.mark.parametrize(
    ("family", "form"),
    [("redis", "hash"), ("valkey", "relocated"), ("redis", "keys")],
)
def test_a_large_dict_costs_little_at_a_time(family: Family, form: str) -> None:
    with ServerProcess(program_for_tests(family), listen="unix") as server:
        operations = measured(server.url, form)
    assert len(operations) == 16
    assert all(one["longest_ms"] > 0 for one in operations)
    assert [one for one in operations if one["slow"]] == []
    assert [one for one in operations if one["grown_bytes"] > GROWN_MOST] == []


def measured(url: str, form: str) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "tests.stress.million", url, form, str(ITEMS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
