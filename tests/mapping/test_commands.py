"""What each method costs: the commands that the server counts, and the round trips."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import pytest
import redis

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import BATCH, CHUNK
from redisdict.pools.fast_connection import FAST_PATH_UNAVAILABLE
from tests.mapping.conftest import Face
from tests.mapping.costs import COSTS, ITEMS, ONE_ITEM, SCRIPT, Cost, Trips


@pytest.fixture
def backend(own_server_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[Backend]:
    made = Backend(parse_alias("test", alias_for(own_server_url)))
    yield made
    made.close()


@pytest.fixture
def counted(backend: Backend) -> Iterator[Callable[[Callable[[], Any]], Counter[str]]]:
    """The commands that the server carries out during a call, those in scripts too."""
    with backend.client() as client:

        def counts() -> Counter[str]:
            found: Counter[str] = Counter()
            for name, entry in client.info("commandstats").items():
                if not name.startswith("cmdstat_"):  # those that Dragonfly doesn't know
                    continue
                found[name.removeprefix("cmdstat_").partition("|")[0].upper()] += entry["calls"]
            return found

        def during(call: Callable[[], Any]) -> Counter[str]:
            before = counts()
            call()
            grown = counts() - before
            del grown["INFO"]
            return grown

        yield during


@pytest.fixture
def sent(backend: Backend) -> Callable[[Callable[[], Any]], Trips]:
    """The round trips that a call in this thread makes, but for what is asked once in a process."""
    backend.capabilities.runs_scripts = True
    pool = backend.pool()
    connection = pool.get_connection()
    pool.release(connection)
    send, execute = connection.send_packed_command, connection.execute
    trips: Trips = []

    def record(packed: bytes) -> None:
        reader = hiredis.Reader()  # commands have the form of replies
        reader.feed(packed)
        verbs = []
        while command := reader.gets():
            verbs.append(command[0].decode())
        trips.append(" ".join(verbs))

    def recording_send(packed: Any, *options: Any) -> Any:
        record(b"".join(packed))
        return send(packed, *options)

    def recording_execute(packed: bytes) -> Any:
        reply = execute(packed)
        if reply is not FAST_PATH_UNAVAILABLE:
            record(packed)
        return reply

    connection.send_packed_command = recording_send  # type: ignore[method-assign]  # watched
    connection.execute = recording_execute

    def during(call: Callable[[], Any]) -> Trips:
        trips.clear()
        call()
        return trips.copy()

    return during


def expected_trips(cost: Cost, is_hash: bool, backend: Backend) -> Trips:
    if not is_hash:
        return cost.keys
    return cost.hash if backend.capabilities.has_hash_getdel else cost.old_hash or cost.hash


@pytest.fixture
def prepared(
    make: Callable[..., PersistentDict[str, Any]], own_server_url: str, runner: Any
) -> Callable[[Cost], Face]:
    """A dict with its items, after a first call that taught all there is to know of the server."""

    def prepare(cost: Cost) -> Face:
        with redis.Redis.from_url(own_server_url) as client:
            # A SCAN goes through the table of all keys, which stays as large as they once made it.
            client.flushdb()
        face = Face(make(timeout=cost.timeout), runner)
        face.set_many(ITEMS, timeout=None)
        cost.call(face)
        face.pop("a", None)
        face.clear()
        fresh = Face(make(timeout=cost.timeout), runner)  # which has met no marker
        fresh.set_many(ITEMS, timeout=None)
        return fresh

    return prepare


@pytest.mark.parametrize("cost", COSTS, ids=str)
@pytest.mark.parametrize("runner", ["sync"], indirect=True)
def test_the_round_trips_of_each_method(
    prepared: Callable[[Cost], Face],
    backend: Backend,
    hset_enabled: bool,
    sent: Callable[[Callable[[], Any]], Trips],
    cost: Cost,
) -> None:
    face = prepared(cost)
    assert sent(lambda: cost.call(face)) == expected_trips(cost, hset_enabled, backend)


@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_what_the_server_counts_for_each_method(
    prepared: Callable[[Cost], Face],
    backend: Backend,
    hset_enabled: bool,
    counted: Callable[[Callable[[], Any]], Counter[str]],
    cost: Cost,
) -> None:
    face = prepared(cost)
    counts = counted(lambda: cost.call(face))
    expected = Counter(" ".join(expected_trips(cost, hset_enabled, backend)).split())
    assert counts["EVALSHA"] == expected[SCRIPT]
    assert counts["EVAL"] == 0
    if not expected[SCRIPT]:
        assert counts == expected


def test_an_item_without_a_timeout_takes_one_plain_command() -> None:
    """Of the operations on one item, only these take more, or a script."""
    more = {
        cost.method
        for cost in ONE_ITEM
        for trips in (cost.hash, cost.old_hash or cost.hash, cost.keys)
        if cost.timeout is None and (len(" ".join(trips).split()) > 1 or SCRIPT in trips)
    }
    assert more == {
        "setdefault",  # of an item that isn't there: it looks first, so as to change nothing
        "pop",  # of a hash where the server has no HGETDEL
        "popitem",  # no server has a command for it
        "incr",  # by a float: no server keeps 2.0 apart from 2
        "decr",
        "touch",  # PERSIST doesn't tell whether there is an item
        "ttl",  # a hash ends as a whole
        # With a time to live
        "set",
        "add",
    }


def test_many_items_go_together(
    mapping: PersistentDict[str, int],
    hset_enabled: bool,
    sent: Callable[[Callable[[], Any]], Trips],
) -> None:
    """Up to 16,000 small items one round trip, of 1,600 a command."""
    items = {str(number): number for number in range(BATCH)}
    commands = BATCH // CHUNK
    for call, name in (
        (lambda: mapping.set_many(items), "HSET" if hset_enabled else "MSET"),
        (lambda: mapping.get_many(items), "HMGET" if hset_enabled else "MGET"),
        (lambda: mapping.delete_many(items), "HDEL" if hset_enabled else "DEL"),
    ):
        assert sent(call) == [" ".join([name] * commands)]


FEW, MANY = 3, 300


@pytest.mark.parametrize("dead", [0, 1])
@pytest.mark.parametrize(
    "call",
    [
        lambda d, items: d.set_many(items, timeout=60),
        lambda d, items: d.set_many(items, timeout=None),
        lambda d, items: d.get_many(list(items)),
        lambda d, items: d.delete_many(list(items)),
        lambda d, items: list(d.items()),
        lambda d, items: [d.dump(file := io.BytesIO()), file.seek(0), d.load(file)],
    ],
    ids=["set_many", "set_many without a timeout", "get_many", "delete_many", "items", "dump"],
)
def test_a_script_calls_no_more_for_many_items(
    backend: Backend,
    counted: Callable[[Callable[[], Any]], Counter[str]],
    call: Callable[[Any, dict[str, int]], Any],
    dead: int,
) -> None:
    """A call within a script takes Dragonfly as long as some hundred items do."""
    totals = []
    for count in (FEW, MANY):
        mapping: PersistentDict[str, int] = PersistentDict(f"{count}", backend)
        items = {str(number): number for number in range(count)}
        mapping.set_many({**items, "other": 1}, timeout=60)
        mapping["immortal"] = 1
        deadlines = Names(backend.config.key_prefix, (str(count),)).deadlines
        if dead:
            backend.client().zadd(deadlines, {"0": 1, "other": 1})
        counts = counted(lambda mapping=mapping, items=items: call(mapping, items))  # type: ignore[misc]
        del counts["CLIENT"], counts["HELLO"]
        totals.append(counts)
        mapping.clear()
    few, many = totals
    # Dragonfly takes 300 fields for more than one page, and a page is a call of the script.
    pages = many["EVALSHA"] - few["EVALSHA"]
    assert all(many[name] - few[name] in range(pages + 1) for name in {*few, *many})
