"""A server killed with SIGKILL and started again under load: what was acknowledged is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Program
from tests.backends.conftest import fetched
from tests.backends.load import Load, under_load
from tests.backends.test_durable import APPEND_ONLY
from tests.conftest import program_for_tests

PROGRAMS: dict[str, Callable[[], Program]] = {
    "redis-8.2": lambda: fetched("redis-8.2"),
    "valkey-installed": lambda: program_for_tests("valkey"),
}


def crash_and_check(server: ServerProcess, values: dict[str, Any], times: int) -> None:
    """Kill and start the server under load, and compare it with what was acknowledged."""
    settings = {"DURABLE": "aof", "RETRY_FOR": 60, "OPTIONS": {"socket_timeout": 5}}
    backend = Backend(parse_alias("test", {**values, **settings}))
    with under_load(Load(backend, pause_s=0.005)) as load:
        for _ in range(times):
            load.wait_for_acks_after(time.monotonic())
            server.kill()
            server.start()
        load.wait_for_acks_after(time.monotonic())
    load.check(is_durable=True)
    # A set is repeated until it is safe; what is left is an incr lost on its way.
    assert all("was not sent again" in str(error) for error in load.errors)
    assert len(load.errors) <= 8 * times
    backend.close()


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_was_acknowledged_is_there(
    program: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with ServerProcess(PROGRAMS[program](), arguments=APPEND_ONLY) as server:
        crash_and_check(server, alias_for(server.url), times=5)
