"""No walk over the keys of a KeyDB leaves another command, or itself, without its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.catalog import find_dicts
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.scan import Scan
from redisdict.wire.requests import Operation
from tests.mapping.conftest import Face
from tests.mapping.costs import COSTS, ITEMS, Cost
from tests.recorded import RecordedServer
from tests.waiting import LIMIT_S

MANY = {f"key {number}": number for number in range(1500)}


@pytest.fixture(scope="module")
def keydb() -> Iterator[RecordedServer]:
    with RecordedServer("keydb") as server:
        yield server


@pytest.fixture
def backend(keydb: RecordedServer, alias_for: Callable[..., dict[str, Any]]) -> Iterator[Backend]:
    values = alias_for(keydb.url, OPTIONS={"socket_timeout": LIMIT_S}, RETRY_FOR=0)
    with closing(Backend(parse_alias("test", values))) as made:
        keydb.calls.clear()
        keydb.held = 0
        yield made


def beside_others(keydb: RecordedServer) -> list[tuple[str, ...]]:
    """The SCANs that a KeyDB carries out beside other commands."""
    is_in_multi = False
    found = []
    for call in keydb.calls:
        is_in_multi = call[0] == "MULTI" or (is_in_multi and call[0] != "EXEC")
        if call[0] == "SCAN" and not is_in_multi and int(call[call.index("COUNT") + 1]) >= 100:
            found.append(call)
    return found


def open_dict(backend: Backend, shards: int | None = None) -> PersistentDict[str, Any]:
    mapping: PersistentDict[str, Any] = PersistentDict(
        "d", backend, hset_enabled=False, shards=shards
    )
    mapping.set_many(MANY)
    return mapping


@pytest.mark.parametrize("shards", [None, 2, 9])
@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_no_method_of_a_dict_sends_one(
    keydb: RecordedServer, backend: Backend, cost: Cost, shards: int | None
) -> None:
    mapping: PersistentDict[str, Any] = PersistentDict(
        "d", backend, hset_enabled=False, shards=shards, timeout=cost.timeout
    )
    mapping.set_many(ITEMS)
    cost.call(Face(mapping, None))
    assert beside_others(keydb) == []
    assert keydb.held == 0


def asked_while(begun: Callable[[], Awaitable[Any]], mapping: PersistentDict[str, Any]) -> Any:
    """What it gives when other tasks send what they ask in the same bytes."""

    async def together() -> Any:
        # The connection writes at once for a task alone, and for many what came in one turn.
        await asyncio.gather(*(mapping.aget("key 1") for _ in range(3)))
        given, *others = await asyncio.gather(begun(), mapping.aincr("n"), mapping.aget("key 1"))
        assert others == [1, 1]
        return given

    return asyncio.run(together())


@pytest.mark.parametrize("shards", [None, 2, 9])
def test_the_lengths_of_two_tasks(
    keydb: RecordedServer, backend: Backend, shards: int | None
) -> None:
    mapping = open_dict(backend, shards)

    async def lengths() -> list[int]:
        return await asyncio.gather(mapping.alen(), mapping.alen())

    assert len(mapping) == len(MANY)
    assert asked_while(lengths, mapping)[0] >= len(MANY)
    assert keydb.held == 0


def run(backend: Backend, operation: Operation[Any]) -> Callable[[], Awaitable[Any]]:
    return lambda: backend.async_driver.run(operation)


def test_the_dicts_of_a_server(keydb: RecordedServer, backend: Backend) -> None:
    mapping = open_dict(backend)
    find = run(backend, find_dicts(backend.config.key_prefix, b"0"))
    assert asked_while(find, mapping).cursor != b"0"
    assert keydb.held == 0


def test_the_rows_of_a_model(keydb: RecordedServer, backend: Backend) -> None:
    mapping = open_dict(backend)

    def lift(keys: list[bytes], _: bytes) -> Operation[None]:
        given.extend(keys)
        yield from ()

    given: list[bytes] = []
    patterns = [f"{backend.config.key_prefix}*".encode()]
    table = SimpleNamespace(store=SimpleNamespace(patterns=patterns, lift=lift))
    asked_while(run(backend, Scan(cast(CachedTable, table)).remove_page()), mapping)
    assert given
    assert keydb.held == 0


def test_a_plain_client_of_the_pool(keydb: RecordedServer, backend: Backend) -> None:
    """Its walks have a connection of their own."""
    mapping = open_dict(backend)
    match = f"{backend.config.key_prefix}:*"

    async def walk() -> int:
        client = backend.async_client()
        found = {key async for key in client.scan_iter(match, count=1000)}
        return len(found.intersection(await client.keys(match)))

    assert asked_while(walk, mapping) >= len(MANY)
    assert keydb.held == 0
