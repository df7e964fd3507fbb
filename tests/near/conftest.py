"""Dicts with `near` on the two servers, and another process that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.near.clock import clock
from redisdict.near.listener import Listener
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.waiting import wait_until

#: A bound that no test can come near to.
AGES = 10_000.0


@pytest.fixture(params=["redis", "valkey"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture(params=["redis", "valkey"])
def own_server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server that the test may stop, flush and kill."""
    with ServerProcess(program_for_tests(request.param), listen="tcp") as server:
        yield server


@contextmanager
def opened(values: dict[str, Any]) -> Iterator[Backend]:
    backend = Backend(parse_alias("test", values))
    try:
        yield backend
    finally:
        backend.close()


@pytest.fixture(params=["auto", "plain"])
def tracking(request: pytest.FixtureRequest) -> str:
    """The setting NEAR_TRACKING: the server tells of all keys, or of those that were asked for."""
    return str(request.param)


@pytest.fixture
def backend(url: str, tracking: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[Backend]:
    with opened(alias_for(url, NEAR_TRACKING=tracking)) as backend:
        yield backend


@pytest.fixture
def elsewhere(url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[Backend]:
    """Another backend of the same server: to the near cache it is another process."""
    with opened(alias_for(url)) as backend:
        yield backend


@pytest.fixture
def own_backend(
    own_server: ServerProcess, tracking: str, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[Backend]:
    values = {"OPTIONS": {"socket_timeout": 1}, "NEAR_TRACKING": tracking}
    with opened(alias_for(own_server.url, **values)) as backend:
        yield backend


@pytest.fixture
def own_elsewhere(
    own_server: ServerProcess, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[Backend]:
    with opened(alias_for(own_server.url)) as backend:
        yield backend


@pytest.fixture(params=[True, False], ids=["hash", "keys"])
def is_hash(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def make(backend: Backend, near: Any = AGES, name: str = "d", **options: Any) -> Any:
    options.setdefault("hset_enabled", False)
    return PersistentDict(name, backend, near=near, **options)


def wait_until_on(*mappings: Any) -> None:
    """Read until the listener is there."""
    for mapping in mappings:

        def is_on(mapping: Any = mapping) -> bool:
            with_near: bool = mapping.near_stats().is_on
            if not with_near:
                mapping.get("to start it")
            return with_near

        wait_until(is_on)


def settle(mapping: Any) -> None:
    """Let the pushes of all changes before this arrive."""
    _ = mapping._bound
    for reader in mapping._near._readers:
        assert reader.listener.ping_after(clock())


def is_served(mapping: Any, key: Any) -> bool:
    """Whether a read of this key is answered from memory."""
    before = mapping.near_stats().hits
    mapping.get(key)
    return bool(mapping.near_stats().hits > before)


def listener_of(backend: Backend) -> Listener:
    found: Listener = backend.attachments["near"].listener  # type: ignore[attr-defined]
    return found


def kept(mapping: Any, value: Any = "old") -> None:
    """Have a value in memory."""
    mapping["k"] = value
    settle(mapping)
    assert mapping["k"] == value
    assert is_served(mapping, "k")
