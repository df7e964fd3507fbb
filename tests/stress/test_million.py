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
from tests.stress.million import Watch

pytestmark = pytest.mark.deep

#: For each layout: the server that has it, and how many items. A whole dict of any of them in this
#: process would be found by GROWN_MOST.
PLACES: dict[str, tuple[Family, int]] = {
    "hash": ("redis", 1_000_000),
    "relocated": ("valkey", 300_000),
    "keys": ("redis", 300_000),
}

#: Ends a test that hangs. One takes minutes, and several times as long on a busy machine.
LIMIT_S = 3600

GROWN_MOST = 50 * 1024 * 1024

#: Of what a server does in a round trip, for slices of 10,000 items whose values have 100 bytes.
CALLS_MOST = 4_000
BYTES_MOST = 3_000_000

#: Commands that cost by their own arguments, or by the logarithm of what is there: none that goes
#: through a whole dict at once, such as HGETALL, HKEYS, KEYS, SORT, or DEL of a hash.
BOUNDED = """
    client eval evalsha exec exists expire get getdel getrange hdel hello hexists hget hincrby
    hlen hmget hscan hset hsetnx memory mget mset multi persist pexpire pexpireat pttl rename
    scan script set time type unlink zadd zcard zcount zmscore zrange zrangebyscore zrem
    """


def unbounded(operation: dict[str, Any], form: str) -> list[str]:
    """Name what an operation did that grows with its dict."""
    allowed = set(BOUNDED.split())
    if form == "keys":
        allowed.add("del")  # of strings, each of them named
    found = sorted(set(operation["commands"]) - allowed)
    if operation["calls"] > CALLS_MOST:
        found.append(f"{operation['calls']} commands in a round trip")
    if operation["bytes"] > BYTES_MOST:
        found.append(f"{operation['bytes']} bytes in a round trip")
    if operation["grown_bytes"] > GROWN_MOST:
        found.append(f"{operation['grown_bytes']} bytes of this process")
    return found


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
@pytest.mark.parametrize("form", PLACES)
def test_a_large_dict_costs_little_at_a_time(form: str) -> None:
    family, count = PLACES[form]
    with ServerProcess(program_for_tests(family), listen="unix") as server:
        operations = measured(server.url, form, count)
    assert len(operations) == 16
    assert all(one["trips"] for one in operations)
    assert {one["operation"]: told for one in operations if (told := unbounded(one, form))} == {}


def test_what_goes_through_a_whole_dict_is_found() -> None:
    with ServerProcess(program_for_tests("redis"), listen="unix") as server:
        client = server.client()
        client.hset("d", mapping={f"key:{number}": "v" * 100 for number in range(40_000)})
        watch = Watch(client)
        found = []
        for call in (
            lambda: client.hkeys("d"),
            lambda: client.eval("return #redis.call('HVALS', KEYS[1])", 1, "d"),
            lambda: client.eval(
                "for i = 1, 5000 do redis.call('HGET', KEYS[1], i) end return 1", 1, "d"
            ),
            lambda: client.hscan("d", count=40_000),
            lambda: client.delete("d"),
        ):
            watch.begin()
            call()
            watch.end_of_trip()
            found.append(unbounded(watch.told() | {"grown_bytes": 0}, "hash"))
    assert [[word.lstrip("0123456789 ") for word in told] for told in found] == [
        ["hkeys"],
        ["hvals"],
        ["commands in a round trip"],
        ["bytes in a round trip"],
        ["del"],
    ]


def measured(url: str, form: str, count: int) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "tests.stress.million", url, form, str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
