"""The state machine of `machine.py`, in both layouts, on Redis 7 and Valkey 9."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.mapping.machine import DictMachine

EXAMPLES = 500 if os.environ.get("CI") else 20
STEPS = 50


@pytest.fixture(scope="module", params=["redis", "valkey"])
def own_server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Servers of its own, on unix sockets: a SCAN walks over all keys of a server."""
    with ServerProcess(program_for_tests(request.param), listen="unix") as server:
        yield server.url


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_hash", [True, False], ids=["hash", "keys"])
def test_a_dict_does_what_a_plain_one_does(
    own_server_url: str, alias_for: Callable[..., dict[str, Any]], is_hash: bool
) -> None:
    backend = Backend(parse_alias("test", alias_for(own_server_url)))
    with asyncio.Runner() as runner:
        cls = type("Machine", (DictMachine,), {"is_hash": is_hash})
        cls.backend, cls.runner = backend, runner
        run_state_machine_as_test(
            cls,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
    backend.close()
