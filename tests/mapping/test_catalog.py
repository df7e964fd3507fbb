"""Dicts are found by their keys, whatever their names, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.catalog import (
    SAMPLE,
    CatalogPage,
    DictFacts,
    FoundDict,
    find_dicts,
    hash_facts,
    keys_facts,
)
from redisdict.mapping.keys import Names
from redisdict.wire.requests import Operation

NAMES = ["plain", "", "a:b", "a/b", "{a}", "%", "*", "[hk]:{x}", "\0", "é ☃", "\ud800", "h:{"]


@pytest.fixture
def backend(server_url: str, alias_for: Callable[..., dict[str, Any]]) -> Any:
    backend = Backend(parse_alias("default", alias_for(server_url)))
    yield backend
    backend.close()


def find_all(backend: Backend, prefix: str) -> dict[FoundDict, list[bytes]]:
    found: dict[FoundDict, list[bytes]] = {}
    cursor = b"0"
    while True:
        page: CatalogPage = backend.driver.run(find_dicts(prefix, cursor))
        for one, keys in page.dicts.items():
            found.setdefault(one, []).extend(keys)
        cursor = page.cursor
        if cursor == b"0":
            return found


@pytest.mark.parametrize("is_hash", [True, False])
def test_dicts_in_shards_are_found_once(backend: Backend, is_hash: bool) -> None:
    names = ["plain", "", "a/b", "%", "d%:1:3"]
    for name in names:
        mapping = PersistentDict[str, int](name, backend, hset_enabled=is_hash, shards=3)
        mapping.set_many({str(number): number for number in range(20)})
        mapping["0"] = 0
    found = find_all(backend, backend.config.key_prefix)
    assert set(found) == {FoundDict((name,), is_hash, 3) for name in names}
    if is_hash:
        one = Names(backend.config.key_prefix, ("plain",))
        facts = backend.driver.run(hash_facts(one, backend.capabilities, 3))
    else:
        facts = backend.driver.run(keys_facts(found[FoundDict(("plain",), is_hash, 3)]))
    assert facts.item_count == 20
    assert facts.memory_bytes is None or facts.memory_bytes > 0
    assert (facts.shortest_ms, facts.longest_ms) == (None, None)


def facts_of(backend: Backend, one: FoundDict) -> DictFacts:
    prefix = backend.config.key_prefix
    if one.is_hash:
        return backend.driver.run(hash_facts(Names(prefix, one.path), backend.capabilities))
    return backend.driver.run(keys_facts(find_all(backend, prefix)[one]))


@pytest.mark.parametrize("is_hash", [True, False])
def test_dicts_of_any_name_are_found(backend: Backend, is_hash: bool) -> None:
    for name in NAMES:
        PersistentDict[str, int](name, using=backend, hset_enabled=is_hash).update(a=1, b=2)
    found = find_all(backend, backend.config.key_prefix)
    assert set(found) == {FoundDict((name,), is_hash) for name in NAMES}
    assert all(len(keys) == (1 if is_hash else 2) for keys in found.values())


def test_a_prefix_with_special_characters_is_taken_literally(
    server_url: str, key_prefix: str
) -> None:
    for prefix in (f"{key_prefix}*[a]", f"{key_prefix}{{h:{{"):
        backend = Backend(parse_alias("default", {"LOCATION": server_url, "KEY_PREFIX": prefix}))
        PersistentDict[str, int]("d", using=backend)["x"] = 1
        assert set(find_all(backend, prefix)) == {FoundDict(("d",), is_hash=True)}
        backend.close()


def test_keys_of_other_programs_are_not_dicts(backend: Backend) -> None:
    prefix = backend.config.key_prefix
    client = backend.client()
    foreign = [
        f"{prefix}:h:{{unfinished",
        f"{prefix}:h:{{a}}more",
        f"{prefix}:k:{{a}}",
        f"{prefix}:k:{{a%2f}}:small escape",
        f"{prefix}:x:{{a}}:b",
        f"{prefix}:f:{{a}}",
        f"{prefix}:l:{{a}}:lock",
        f"{prefix}h:{{a}}",
        f"{prefix}:h:{{a%:one:3}}",
        f"{prefix}:h:{{a%:1}}",
    ]
    for key in foreign:
        client.set(key, "1")
    client.set(f"{prefix}:h:{{".encode() + b"\xff}", "1")
    assert find_all(backend, prefix) == {}


@pytest.mark.parametrize("is_hash", [True, False])
def test_facts_of_a_dict_without_timeouts(backend: Backend, is_hash: bool) -> None:
    mapping = PersistentDict[str, str]("d", using=backend, hset_enabled=is_hash)
    mapping.set_many({str(number): "x" * 100 for number in range(50)})
    facts = facts_of(backend, FoundDict(("d",), is_hash))
    assert facts.item_count == 50
    assert facts.memory_bytes is not None
    assert 50 * 100 < facts.memory_bytes < 50 * 500
    assert (facts.shortest_ms, facts.longest_ms) == (None, None)


@pytest.mark.parametrize("is_hash", [True, False])
def test_facts_of_a_dict_whose_items_expire(backend: Backend, is_hash: bool) -> None:
    mapping = PersistentDict[str, int]("d", using=backend, hset_enabled=is_hash)
    mapping.set("soon", 1, timeout=60)
    mapping.set("later", 2, timeout=600)
    facts = facts_of(backend, FoundDict(("d",), is_hash))
    assert facts.item_count == 2
    assert facts.shortest_ms is not None
    assert facts.longest_ms is not None
    assert 50_000 < facts.shortest_ms <= 60_000
    assert 590_000 < facts.longest_ms <= 600_000

    mapping["for ever"] = 3
    facts = facts_of(backend, FoundDict(("d",), is_hash))
    assert facts.item_count == 3
    assert facts.shortest_ms is not None
    assert facts.longest_ms is None


def test_items_of_a_hash_live_no_longer_than_the_hash(backend: Backend) -> None:
    mapping = PersistentDict[str, int]("d", using=backend)
    mapping["for ever"] = 1
    mapping.expire(30)
    facts = facts_of(backend, FoundDict(("d",), is_hash=True))
    assert facts.longest_ms is not None
    assert 20_000 < facts.longest_ms <= 30_000


def test_cost_does_not_grow_with_the_dict(backend: Backend) -> None:
    """Whatever the size, one command looks at a bounded number of items."""
    mapping = PersistentDict[str, int]("d", using=backend)
    mapping.set_many({str(number): number for number in range(5_000)})
    operation = hash_facts(Names(backend.config.key_prefix, ("d",)), backend.capabilities)
    asked, facts = answered(backend, operation)
    assert facts.item_count == 5_000
    assert len(asked) <= 2 + SAMPLE + 1
    names = [command[0] for request in asked for command in getattr(request, "commands", [request])]
    assert set(names) <= {
        b"HLEN",
        b"PTTL",
        b"MEMORY",
        b"HRANDFIELD",
        b"HEXISTS",
    }


def answered(backend: Backend, operation: Operation[DictFacts]) -> tuple[list[Any], DictFacts]:
    """The requests of an operation, each answered by the server, and its result."""
    asked: list[Any] = []
    reply: Any = None
    while True:
        try:
            request = operation.send(reply)
        except StopIteration as stop:
            return asked, stop.value
        asked.append(request)
        reply = backend.driver.run(only(request))


def only(request: Any) -> Operation[Any]:
    return (yield request)
