"""What each method costs: the commands that the server counts, and the round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.mapping.layout import BATCH, CHUNK
from tests.mapping.conftest import Face

#: Each call, on a dict that has {"a": 1, "b": 2}, with its commands for a hash and for keys.
PLAIN: dict[str, tuple[Callable[[Face], Any], dict[str, int], dict[str, int]]] = {
    "d[k]": (lambda d: d.getitem("a"), {"hget": 1}, {"get": 1}),
    "get": (lambda d: d.get("x"), {"hget": 1}, {"get": 1}),
    "d[k] = v": (lambda d: d.set("a", [3]), {"hset": 1}, {"set": 1}),
    "del d[k]": (lambda d: d.delitem("a"), {"hdel": 1}, {"del": 1}),
    "delete": (lambda d: d.delete("x"), {"hdel": 1}, {"del": 1}),
    "in": (lambda d: d.contains("a"), {"hexists": 1}, {"exists": 1}),
    "add": (lambda d: d.add("x", 1), {"hsetnx": 1}, {"set": 1}),
    "incr": (lambda d: d.incr("a"), {"hincrby": 1}, {"incrby": 1}),
    "decr": (lambda d: d.decr("a", 5), {"hincrby": 1}, {"incrby": 1}),
    "get_many": (lambda d: d.get_many(["a", "x"]), {"hmget": 1}, {"mget": 1}),
    "set_many": (lambda d: d.set_many({"a": 1, "x": 2}), {"hset": 1}, {"mset": 1}),
    "update": (lambda d: d.update(a=1, x=2), {"hset": 1}, {"mset": 1}),
    "delete_many": (lambda d: d.delete_many(["a", "x"]), {"hdel": 1}, {"del": 1}),
    "setdefault, there": (lambda d: d.setdefault("a", 1), {"hget": 1}, {"get": 1}),
    "get_or_set, there": (lambda d: d.get_or_set("a", 1), {"hget": 1}, {"get": 1}),
    "touch": (
        lambda d: d.touch("a", None),
        {"hexists": 1},
        {"multi": 1, "persist": 1, "exists": 1, "exec": 1},
    ),
    "ttl": (lambda d: d.ttl("a"), {"hexists": 1, "pttl": 1}, {"pttl": 1}),
    "len": (lambda d: d.len(), {"hlen": 1}, {"scan": 1}),
    "keys": (lambda d: d.keys(), {"hscan": 1}, {"scan": 1}),
    "items": (lambda d: d.items(), {"hscan": 1}, {"scan": 1, "mget": 1}),
    "clear": (lambda d: d.clear(), {"unlink": 1}, {"scan": 1, "unlink": 1}),
}


@pytest.fixture
def counted(backend: Backend) -> Iterator[Callable[[Callable[[], Any]], dict[str, int]]]:
    """The commands that the server carries out during a call."""
    with backend.client() as client:

        def counts() -> dict[str, int]:
            stats = client.info("commandstats")
            return {name[len("cmdstat_") :]: entry["calls"] for name, entry in stats.items()}

        def during(call: Callable[[], Any]) -> dict[str, int]:
            before = counts()
            call()
            after = counts()
            grown = {name: after[name] - before.get(name, 0) for name in after}
            return {name: count for name, count in grown.items() if count and name != "info"}

        yield during


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_command_each(
    face: Face, hset_enabled: bool, counted: Callable[..., dict[str, int]], name: str
) -> None:
    call, hash_commands, keys_commands = PLAIN[name]
    face.set_many({"a": 1, "b": 2})
    face.get("a")  # connected by now
    face.keys()  # whether the server has NOVALUES is known by now
    counts = counted(lambda: call(face))
    expected = hash_commands if hset_enabled else keys_commands
    if "scan" in expected:
        assert counts.keys() == expected.keys()  # how many depends on the keys of others
    else:
        assert counts == expected


def test_taking_out(
    face: Face,
    hset_enabled: bool,
    server_url: str,
    counted: Callable[..., dict[str, int]],
) -> None:
    """Redis 7 has no command that takes a field out of a hash, and none takes any item."""
    face.set_many({"a": 1, "b": 2})
    face.pop("x", None)
    popping = counted(lambda: face.pop("a"))
    any_item = counted(face.popitem)
    if not hset_enabled:
        assert popping == {"getdel": 1}
        assert any_item.pop("scan") >= 1
        assert any_item == {"getdel": 1}
    else:
        assert popping == {"hgetdel": 1} or popping["evalsha"] == 1
        assert any_item["evalsha"] == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.set("a", 1, timeout=60),
        lambda d: d.set_many({"a": 1, "b": 2}, timeout=60),
        lambda d: d.add("x", 1, timeout=60),
        lambda d: d.touch("a", 60),
        lambda d: d.compare_and_set("a", 1, 2),
    ],
)
def test_a_script_only_where_no_command_does_it(
    face: Face,
    hset_enabled: bool,
    counted: Callable[..., dict[str, int]],
    call: Callable[[Face], Any],
) -> None:
    face.set_many({"a": 1, "b": 2})
    call(face)  # the server knows the script by now
    face.set_many({"a": 1, "b": 2})
    face.delete("x")
    scripts = counted(lambda: call(face)).get("evalsha", 0)
    is_comparing = face.getitem("a") == 2
    assert scripts == (1 if hset_enabled or is_comparing else 0)


class Counting:
    """A driver that counts what is sent, through `send_packed_command` of its connections."""

    def __init__(self, backend: Backend) -> None:
        self.count = 0
        pool = backend.pool()
        connection = pool.get_connection()
        send = connection.send_packed_command

        def counting(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            return send(*arguments, **options)

        connection.send_packed_command = counting  # type: ignore[method-assign]
        pool.release(connection)

    def during(self, call: Callable[[], Any]) -> int:
        before = self.count
        call()
        return self.count - before


@pytest.mark.parametrize("name", PLAIN)
def test_one_round_trip_each(
    mapping: PersistentDict[str, Any],
    backend: Backend,
    hset_enabled: bool,
    counted: Callable[..., dict[str, int]],
    name: str,
) -> None:
    face = Face(mapping, None)
    counting = Counting(backend)
    face.set_many({"a": 1, "b": 2})
    face.keys()
    call, _, _ = PLAIN[name]
    trips = []
    counts = counted(lambda: trips.append(counting.during(lambda: call(face))))
    assert trips == [sum(counts.values()) if "scan" in counts else 1]


def test_many_items_go_together(
    mapping: PersistentDict[str, int],
    backend: Backend,
    hset_enabled: bool,
    counted: Callable[..., dict[str, int]],
) -> None:
    """Up to 16,000 small items one round trip, of 2,000 a command."""
    items = {str(number): number for number in range(BATCH)}
    commands = BATCH // CHUNK
    counting = Counting(backend)
    for call, name in (
        (lambda: mapping.set_many(items), "hset" if hset_enabled else "mset"),
        (lambda: mapping.get_many(items), "hmget" if hset_enabled else "mget"),
        (lambda: mapping.delete_many(items), "hdel" if hset_enabled else "del"),
    ):
        assert counted(call) == {name: commands}
        assert counting.during(call) == 1
