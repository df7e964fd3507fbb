"""A dict in every form it has: sync and async, both layouts, on each of the servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from tests.colours import OneColour
from tests.conftest import is_installed, program_for_tests


class Face(OneColour):
    """Calls a dict's methods, and what a dict has operators for, in one colour."""

    @property
    def mapping(self) -> PersistentDict[Any, Any]:
        found: PersistentDict[Any, Any] = self.target
        return found

    def getitem(self, key: Any) -> Any:
        return self.choose(lambda: self.mapping[key], lambda: self.mapping.agetitem(key))

    def setitem(self, key: Any, value: Any) -> None:
        self.choose(
            lambda: self.mapping.__setitem__(key, value), lambda: self.mapping.aset(key, value)
        )

    def delitem(self, key: Any) -> None:
        self.choose(lambda: self.mapping.__delitem__(key), lambda: self.mapping.adelitem(key))

    def contains(self, key: Any) -> bool:
        return bool(self.choose(lambda: key in self.mapping, lambda: self.mapping.acontains(key)))

    def len(self) -> int:
        return int(self.choose(lambda: len(self.mapping), self.mapping.alen))

    def keys(self) -> list[Any]:
        return self.collect(self.mapping.__iter__, self.mapping.__aiter__)

    def values(self) -> list[Any]:
        return self.collect(self.mapping.values, self.mapping.avalues)

    def items(self) -> list[tuple[Any, Any]]:
        return self.collect(self.mapping.items, self.mapping.aitems)

    def matching(self, pattern: str) -> list[Any]:
        return self.collect(
            lambda: self.mapping.keys_matching(pattern),
            lambda: self.mapping.akeys_matching(pattern),
        )

    def copy(self) -> dict[Any, Any]:
        copied: dict[Any, Any] = self.choose(self.mapping.copy, self.mapping.acopy)
        return copied

    def edit(self, key: Any, change: Callable[[Any], Any]) -> None:
        """Have a function change a value in the block of `editing()` or `aediting()`."""

        def edit() -> None:
            with self.mapping.editing(key) as value:
                change(value)

        async def aedit() -> None:
            async with self.mapping.aediting(key) as value:
                change(value)

        self.choose(edit, aedit)


# Servers with the keys of one module alone, where a SCAN meets those of no other test.


@pytest.fixture(scope="module")
def own_redis_url() -> Iterator[str]:
    with ServerProcess(program_for_tests("redis"), listen="unix") as server:
        yield server.url


@pytest.fixture(scope="module")
def own_valkey_url() -> Iterator[str]:
    with ServerProcess(program_for_tests("valkey"), listen="unix") as server:
        yield server.url


@pytest.fixture(scope="module")
def own_keydb_url() -> Iterator[str]:
    with ServerProcess(program_for_tests("keydb"), listen="unix") as server:
        yield server.url


@pytest.fixture(scope="module")
def own_dragonfly_url() -> Iterator[str]:
    with ServerProcess(program_for_tests("dragonfly"), listen="unix") as server:
        yield server.url


@pytest.fixture(
    scope="module", params=["redis", "valkey", *filter(is_installed, ("keydb", "dragonfly"))]
)
def own_server_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"own_{request.param}_url")
    return url


@pytest.fixture
def backend(server_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[Backend]:
    made = Backend(parse_alias("test", alias_for(server_url)))
    yield made
    made.close()


@pytest.fixture(params=[True, False], ids=["hash", "keys"])
def hset_enabled(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def make(backend: Backend, hset_enabled: bool) -> Iterator[Callable[..., PersistentDict[Any, Any]]]:
    """Makes dicts of this test's layout on this test's server, and clears them afterwards."""
    made: list[PersistentDict[Any, Any]] = []

    def make_one(name: str = "d", **options: Any) -> PersistentDict[Any, Any]:
        mapping: PersistentDict[Any, Any] = PersistentDict(
            name, backend, hset_enabled=hset_enabled, **options
        )
        made.append(mapping)
        return mapping

    yield make_one
    for mapping in made:
        mapping.clear()


@pytest.fixture
def mapping(make: Callable[..., PersistentDict[Any, Any]]) -> PersistentDict[Any, Any]:
    return make()


@pytest.fixture
def face(mapping: PersistentDict[Any, Any], runner: asyncio.Runner | None) -> Face:
    return Face(mapping, runner)
