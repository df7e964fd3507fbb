"""Failures again and again: ten failovers in a row, twenty crashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import SentinelTopology
from tests.backends.failover import Fault, fail_over, mend, switches_of
from tests.backends.load import Load, under_load
from tests.backends.test_crash import crash_and_check
from tests.backends.test_durable import APPEND_ONLY
from tests.backends.test_failover import OPTIONS
from tests.conftest import program_for_tests

pytestmark = pytest.mark.deep

FAULTS: list[Fault] = ["killed", "hung"]


def test_ten_failovers_in_a_row_lose_nothing(alias_for: Callable[..., dict[str, Any]]) -> None:
    # A busy machine may hold a primary up for a second, and a failover from one that is alive can
    # lose what it acknowledges before it learns of that.
    with SentinelTopology(program_for_tests("valkey"), down_after_ms=2000) as topology:
        values = alias_for(topology.location, OPTIONS=OPTIONS, DURABLE="replicas", RETRY_FOR=30)
        backend = Backend(parse_alias("test", values))
        load = Load(backend, pause_s=0.01)
        with switches_of(topology) as switches, under_load(load, threads=2, tasks=3):
            for number in range(10):
                load.wait_for_acks_after(0)
                before = len(switches.times)
                lost = fail_over(topology, FAULTS[number % 2])
                switched_at = switches.wait_for(before + 1)
                load.wait_for_acks_after(switched_at)
                mend(topology, lost)
        load.check(is_durable=True)
        assert all(error.outcome_unknown for error in load.errors)
        assert not backend.pool()._in_use_connections
        backend.close()


def test_twenty_crashes_lose_nothing(alias_for: Callable[..., dict[str, Any]]) -> None:
    with ServerProcess(program_for_tests("valkey"), arguments=APPEND_ONLY) as server:
        crash_and_check(server, alias_for(server.url), times=20)
