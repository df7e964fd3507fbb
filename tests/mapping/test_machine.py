"""The state machine of `machine.py`: both layouts, every serializer, on Redis 7 and Valkey 9."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from tests.depth import examples
from tests.mapping.machine import VALUES, DictMachine

#: For each serializer: 500 for each layout on each server, in all 2,000.
EXAMPLES = examples(125)
STEPS = 50

pytestmark = pytest.mark.hypothesis


@pytest.mark.parametrize("serializer", VALUES)
@pytest.mark.parametrize("is_hash", [True, False], ids=["hash", "keys"])
def test_a_dict_does_what_a_plain_one_does(
    own_server_url: str, alias_for: Callable[..., dict[str, Any]], is_hash: bool, serializer: str
) -> None:
    backend = Backend(parse_alias("test", alias_for(own_server_url)))
    with asyncio.Runner() as runner:
        cls = type("Machine", (DictMachine,), {"is_hash": is_hash, "serializer": serializer})
        cls.backend, cls.runner, cls.begun = backend, runner, 0
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
    assert cls.begun >= EXAMPLES
