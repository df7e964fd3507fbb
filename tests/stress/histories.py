"""Random histories of a dict in shards on any server, compared with a plain dict step by step.

    python -m tests.stress.histories redis://127.0.0.1:6379/0 50000

A number behind these is that of the shards, 3 unless told otherwise. It is the state machine of
`tests/mapping`, in both layouts and with each serializer in turn, until so many steps are made.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import sys
from typing import Any

import django

EXAMPLES = 10
STEPS = 50


def run_histories(url: str, steps: int, shards: int) -> None:
    """Run at least so many steps, and print now and then how many there were.

    Raises:
        AssertionError: the dict did something else than a plain one; the history is printed.
    """
    from hypothesis import HealthCheck, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

    from redisdict.conf import parse_alias
    from redisdict.connections.backend import Backend
    from tests.mapping.machine import NAMES, VALUES, DictMachine

    class ShardedMachine(DictMachine):
        steps = 0

        @initialize(
            names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True),
            timeout=st.sampled_from([None, None, 2500]),
            shards=st.just(shards),
        )
        def begin(self, names: list[str], timeout: float | None, shards: int) -> None:
            type(self)._begin(self, names, timeout, shards)

        _begin = DictMachine.begin

        @invariant()
        def count(self) -> None:
            ShardedMachine.steps += hasattr(self, "model")

    values = {"LOCATION": url, "KEY_PREFIX": f"histories-{secrets.token_hex(4)}"}
    backend = Backend(parse_alias("histories", values))
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    with asyncio.Runner() as runner:
        for is_hash, serializer in itertools.cycle(itertools.product([True, False], VALUES)):
            if ShardedMachine.steps >= steps:
                break
            given: dict[str, Any] = {"is_hash": is_hash, "serializer": serializer}
            machine = type("Machine", (ShardedMachine,), given)
            machine.backend, machine.runner, machine.begun = backend, runner, 0
            run_state_machine_as_test(machine, settings=profile)
            print(f"{ShardedMachine.steps} steps, as a plain dict", flush=True)
    backend.close()


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    url, steps, *rest = arguments
    run_histories(url, int(steps), int(rest[0]) if rest else 3)


if __name__ == "__main__":
    main(sys.argv[1:])
