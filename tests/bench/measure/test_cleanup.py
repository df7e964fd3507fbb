"""Keys of a run on somebody else's server: all gone afterwards, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis

from redisdict.bench.measure.cleanup import (
    LEDGER,
    clear_ended_runs,
    keys_removed_after,
    new_token,
    remove_keys,
)
from redisdict.bench.measure.environment import machine_hash
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program


@pytest.fixture
def client(server_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server_url, decode_responses=True) as client:
        yield client


def note(client: redis.Redis, token: str, *, pid: int, machine: str, age: timedelta) -> None:
    """The entry of a run that began `age` ago."""
    started_at = (datetime.now(UTC) - age).isoformat()
    entry = {"pid": pid, "machine": machine, "started_at": started_at}
    client.hset(LEDGER, token, json.dumps(entry))


def ended_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_keys_are_removed_and_others_stay(client: redis.Redis, key_prefix: str) -> None:
    token = new_token()
    client.set(f"{key_prefix}:mine", "1")
    with keys_removed_after(client, token, pytest.fail):
        assert client.hexists(LEDGER, token)
        client.mset({f"redisbench:{token}:{number}": "x" for number in range(2500)})
        client.hset(f"redisbench:{token}:h:{{d}}", "field", "x")
    assert list(client.scan_iter(match=f"*{token}*", count=1000)) == []
    assert not client.hexists(LEDGER, token)
    assert client.get(f"{key_prefix}:mine") == "1"


def test_keys_are_removed_after_an_error(client: redis.Redis) -> None:
    token = new_token()

    def interrupted() -> None:
        with keys_removed_after(client, token, pytest.fail):
            client.set(f"redisbench:{token}:1", "x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert remove_keys(client, token) == 0
    assert not client.hexists(LEDGER, token)


def test_a_server_that_is_gone_in_the_end_is_told_and_raises_nothing() -> None:
    told: list[str] = []
    with ServerProcess(find_program("valkey")) as server, server.client() as client:
        with keys_removed_after(client, new_token(), told.append):
            server.kill()
    assert len(told) == 1
    assert "onnect" in told[0]


@pytest.mark.parametrize(
    ("is_here", "is_alive", "age", "is_over"),
    [
        (True, False, timedelta(), True),
        (True, True, timedelta(), False),
        (True, True, timedelta(days=2), True),
        (False, False, timedelta(), False),
        (False, False, timedelta(days=2), True),
    ],
)
def test_what_killed_runs_left_is_cleared_by_the_next(
    client: redis.Redis, is_here: bool, is_alive: bool, age: timedelta, is_over: bool
) -> None:
    token = new_token()
    note(
        client,
        token,
        pid=os.getpid() if is_alive else ended_pid(),
        machine=machine_hash() if is_here else "elsewhere",
        age=age,
    )
    client.set(f"redisbench:{token}:1", "x")
    try:
        with keys_removed_after(client, new_token(), pytest.fail):
            assert client.exists(f"redisbench:{token}:1") == (not is_over)
            assert client.hexists(LEDGER, token) == (not is_over)
    finally:
        client.unlink(f"redisbench:{token}:1")
        client.hdel(LEDGER, token)


def test_clearing_says_how_many_keys(client: redis.Redis) -> None:
    token = new_token()
    note(client, token, pid=ended_pid(), machine=machine_hash(), age=timedelta())
    client.mset({f"redisbench:{token}:{number}": "x" for number in range(3)})
    assert clear_ended_runs(client) == 3
