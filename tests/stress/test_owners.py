"""Nothing survives the owners of private servers that are killed at random moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import program_for_tests
from tests.servers.conftest import ON_LINUX

pytestmark = pytest.mark.deep


@pytest.mark.skipif(not ON_LINUX, reason="only Linux gives an orphan to the process that asks")
def test_no_server_survives_the_kill_of_its_owner() -> None:
    program_for_tests("valkey")
    done = subprocess.run(
        [sys.executable, "-m", "tests.stress.owners", "valkey", "--kills", "20"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
