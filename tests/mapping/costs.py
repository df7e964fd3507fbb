"""What each method of a dict asks a server for: the round trips, each with its commands.

`test_commands.py` counts them on servers, and `test_docs.py` compares them with the table in
docs/mapping.md.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redisdict.mapping.dump_format import DumpWriter
from redisdict.mapping.layouts.base import FOREVER
from tests.mapping.conftest import Face

#: Round trips, one after the other; each names its commands.
Trips = list[str]

ITEMS: dict[str, Any] = {"a": 1, "b": 2, "list": [0]}

#: A run of a script by its digest.
SCRIPT = "EVALSHA"

#: A page of the database's keys.
PAGE = "MULTI SCAN EXEC"


@dataclass(frozen=True)
class Cost:
    """A call on a dict that has `ITEMS`.

    Attributes:
        method: as the documentation writes it, up to its arguments.
        hash, keys: the round trips in the two layouts; of a hash on a server without HGETDEL
            `old_hash`, where that differs.
        timeout: seconds, of the dict.
    """

    method: str
    call: Callable[[Face], Any]
    hash: Trips
    keys: Trips
    old_hash: Trips = field(default_factory=list)
    timeout: float | None = None

    def __str__(self) -> str:
        return f"{self.method}: {', '.join(self.hash)}"


def _load(timeout_ms: int) -> Callable[[Face], Any]:
    writer = DumpWriter("str")
    file = writer.header() + writer.items([(b"x", b"1", timeout_ms)]) + writer.end()
    return lambda face: face.load(io.BytesIO(file))


def _with_lock(face: Face) -> None:
    lock = face.mapping.lock("l")
    if face.runner is None:
        with lock:
            pass
        return

    async def hold() -> None:
        async with lock:
            pass

    face.runner.run(hold())


ONE_ITEM = [
    Cost("d[key]", lambda d: d.getitem("a"), ["HGET"], ["GET"]),
    Cost("get", lambda d: d.get("x"), ["HGET"], ["GET"]),
    Cost("d[key] = value", lambda d: d.setitem("a", [3]), ["HSET"], ["SET"]),
    Cost("set", lambda d: d.set("a", [3]), ["HSET"], ["SET"]),
    Cost("del d[key]", lambda d: d.delitem("a"), ["HDEL"], ["DEL"]),
    Cost("delete", lambda d: d.delete("x"), ["HDEL"], ["DEL"]),
    Cost("key in d", lambda d: d.contains("a"), ["HEXISTS"], ["EXISTS"]),
    Cost("add", lambda d: d.add("x", 1), ["HSETNX"], ["SET"]),
    Cost("add", lambda d: d.add("a", 1), ["HSETNX"], ["SET"]),
    Cost("setdefault", lambda d: d.setdefault("a", 1), ["HGET"], ["GET"]),
    Cost("setdefault", lambda d: d.setdefault("x", 1), ["HGET", "HSETNX"], ["GET", "SET"]),
    Cost("pop", lambda d: d.pop("a"), ["HGETDEL"], ["GETDEL"], [SCRIPT]),
    Cost("pop", lambda d: d.pop("x", None), ["HGETDEL"], ["GETDEL"], [SCRIPT]),
    Cost("popitem", lambda d: d.popitem(), [SCRIPT], ["SCAN", "GETDEL"]),
    Cost("incr", lambda d: d.incr("a"), ["HINCRBY"], ["INCRBY"]),
    Cost("incr", lambda d: d.incr("x", 5), ["HINCRBY"], ["INCRBY"]),
    Cost("incr", lambda d: d.incr("a", 0.5), ["HGET", SCRIPT], ["GET", SCRIPT]),
    Cost("incr", lambda d: d.incr("x"), [SCRIPT], ["MULTI SET INCRBY EXEC"], timeout=60),
    Cost("decr", lambda d: d.decr("a", 5), ["HINCRBY"], ["INCRBY"]),
    Cost("decr", lambda d: d.decr("a", 0.5), ["HGET", SCRIPT], ["GET", SCRIPT]),
    Cost("touch", lambda d: d.touch("a", None), ["HEXISTS"], ["MULTI PERSIST EXISTS EXEC"]),
    Cost("touch", lambda d: d.touch("a", 60), [SCRIPT], ["PEXPIRE"]),
    Cost("ttl", lambda d: d.ttl("a"), ["HEXISTS PTTL"], ["PTTL"]),
    # With a time to live
    Cost("d[key] = value", lambda d: d.setitem("a", 1), [SCRIPT], ["SET"], timeout=60),
    Cost("set", lambda d: d.set("a", 1, timeout=60), [SCRIPT], ["SET"]),
    Cost("add", lambda d: d.add("x", 1, timeout=60), [SCRIPT], ["SET"]),
    Cost("setdefault", lambda d: d.setdefault("x", 1), ["HGET", SCRIPT], ["GET", "SET"], timeout=9),
]

CHANGES = [
    Cost("compare_and_set", lambda d: d.compare_and_set("a", 5, 2), ["HGET"], ["GET"]),
    Cost(
        "compare_and_set",
        lambda d: d.compare_and_set("a", 1, 2),
        ["HGET", SCRIPT],
        ["GET", SCRIPT],
    ),
    Cost("transform", lambda d: d.transform("a", str), ["HGET", SCRIPT], ["GET", SCRIPT]),
    Cost("transform", lambda d: d.transform("x", str, 0), ["HGET", "HSETNX"], ["GET", "SET"]),
    Cost(
        "editing",
        lambda d: d.edit("list", lambda value: value.append(1)),
        ["HGET", SCRIPT],
        ["GET", SCRIPT],
    ),
    Cost("editing", lambda d: d.edit("list", lambda value: None), ["HGET"], ["GET"]),
    Cost("get_or_set", lambda d: d.get_or_set("a", int), ["HGET"], ["GET"]),
    Cost(
        "get_or_set",
        lambda d: d.get_or_set("a", int, 60, stale=60, refresh_ahead=9),
        ["HGET PTTL"],
        ["GET PTTL"],
    ),
    Cost(
        "get_or_set",
        lambda d: d.get_or_set("x", int),
        ["HGET", "SET", "HGET", "HSETNX", SCRIPT],
        ["GET", "SET", "GET", "SET", SCRIPT],
    ),
    Cost("lock", _with_lock, ["SET", SCRIPT], ["SET", SCRIPT]),
]

MANY_ITEMS = [
    Cost("get_many", lambda d: d.get_many(["a", "x"]), ["HMGET"], ["MGET"]),
    Cost("set_many", lambda d: d.set_many({"a": 1, "x": 2}), ["HSET"], ["MSET"]),
    Cost("set_many", lambda d: d.set_many({"a": 1, "x": 2}, timeout=9), [SCRIPT], ["SET SET"]),
    Cost("update", lambda d: d.update({"a": 1}, x=2), ["HSET"], ["MSET"]),
    Cost("delete_many", lambda d: d.delete_many(["a", "x"]), ["HDEL"], ["DEL"]),
]

#: The number of pages depends on the keys of others; these have one where no others are.
WHOLE = [
    Cost("len(d)", lambda d: d.len(), ["HLEN"], [PAGE]),
    Cost("for key in d", lambda d: d.keys(), ["HSCAN"], [PAGE]),
    Cost("values", lambda d: d.values(), ["HSCAN"], [PAGE, "MGET"]),
    Cost("items", lambda d: d.items(), ["HSCAN"], [PAGE, "MGET"]),
    Cost("copy", lambda d: d.copy(), ["HSCAN"], [PAGE, "MGET"]),
    Cost("keys_matching", lambda d: d.matching("a*"), ["HSCAN"], [PAGE]),
    Cost("clear", lambda d: d.clear(), ["UNLINK"], [PAGE, "UNLINK"]),
    Cost("expire", lambda d: d.expire(60), [SCRIPT], [PAGE, SCRIPT]),
    Cost("expire", lambda d: d.expire(None), [SCRIPT], [PAGE, "PERSIST PERSIST PERSIST"]),
    Cost(
        "memory_usage",
        lambda d: d.memory_usage(),
        ["MEMORY MEMORY MEMORY"],
        [PAGE, "MEMORY MEMORY MEMORY"],
    ),
    Cost(
        "dump",
        lambda d: d.dump(io.BytesIO()),
        ["HSCAN PTTL"],
        [PAGE, "MULTI GET PTTL GET PTTL GET PTTL EXEC"],
    ),
    Cost("load", _load(FOREVER), ["HSET"], ["MSET"]),
    Cost("load", _load(60_000), [SCRIPT], ["SET"]),
    Cost(
        "clone_to",
        lambda d: d.clone_to(d.mapping),
        ["HSCAN PTTL", "HSET"],
        [PAGE, "MULTI GET PTTL GET PTTL GET PTTL EXEC", "MSET"],
    ),
]

COSTS = [*ONE_ITEM, *CHANGES, *MANY_ITEMS, *WHOLE]
