"""A short one of the soaks that `tests.stress.soak` runs for as long as it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from redisdict.servers.process import ServerProcess
from tests.backends.test_durable import APPEND_ONLY
from tests.conftest import program_for_tests
from tests.stress.soak import soak

pytestmark = pytest.mark.deep

#: Of the server, and of clients.
LEAST_KILLS = 6

#: Seconds. On a busy machine, where clients begin late, so many kills take longer.
LEAST_S = 15


def test_kills_lose_nothing(tmp_path: Path) -> None:
    with ServerProcess(program_for_tests("valkey"), arguments=APPEND_ONLY) as server:

        def kill_server() -> None:
            server.kill()
            server.start()

        outcome = soak(server.url, kill_server, LEAST_S, tmp_path, least_kills=LEAST_KILLS)
    assert outcome.mistakes == []
    assert outcome.acknowledged > 1000
    assert min(outcome.server_kills, outcome.client_kills) >= LEAST_KILLS
