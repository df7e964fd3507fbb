"""Tokens of a provider that announces new ones: they reach every open connection."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
import redis.asyncio

from redisdict import ConfigurationError, PersistentDict
from redisdict.connections.backend import Backend
from redisdict.pools.credentials import SharedCredentials, shared_by_all
from redisdict.pools.fast_connection import FAST_PATH_UNAVAILABLE
from redisdict.wire.packing import pack_command
from tests.managed.service import ManagedService
from tests.managed.tokens import (
    POOLED,
    ManagedTokens,
    PlainTokens,
    Streamed,
    User,
    end,
    token_of,
)
from tests.waiting import await_until, wait_until

PING = pack_command((b"PING",))


def test_threads(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["n"] = 1
    assert backend.execute(PING) is not FAST_PATH_UNAVAILABLE
    old, new = provider.renew()
    assert backend.execute(PING) is FAST_PATH_UNAVAILABLE  # the token comes first
    assert mapping.incr("n") == 2
    assert service.tokens == [new.encode()]
    assert backend.execute(PING) is not FAST_PATH_UNAVAILABLE
    assert end(service, provider.user, old) == 0
    assert mapping.incr("n") == 3
    assert service.names.count("AUTH") == 1
    assert service.names.count("HELLO") == 1


def test_a_connection_in_use_authenticates_when_it_is_returned(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider})
    pool: Any = backend.pool()
    connection = pool.get_connection()
    connection.send_command("PING")
    old, new = provider.renew()
    assert connection.read_response() == b"PONG"
    pool.release(connection)
    assert service.tokens == [new.encode()]
    assert end(service, provider.user, old) == 0


def test_a_token_that_is_refused(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    """The connection is opened anew, with what the provider gives then; nothing is lost."""
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["n"] = 1
    provider.send("nonsense")
    assert mapping.incr("n") == 2
    assert service.names.count("HELLO") == 2
    connection: Any = backend.pool().get_connection()
    provider.send("nonsense")
    backend.pool().release(connection)
    assert not connection.is_connected
    assert mapping.incr("n") == 3

    async def in_tasks() -> None:
        assert await mapping.aincr("n") == 4
        pool: Any = backend.async_pool()
        shared = pool.shared
        provider.send("nonsense")
        await await_until(lambda: pool.shared is not shared)
        assert await mapping.aincr("n") == 5
        await backend.aclose()

    asyncio.run(in_tasks())


@pytest.mark.parametrize("pool_class", [None, POOLED], ids=["shared", "pooled"])
def test_tasks(
    service: ManagedService,
    provider: Streamed,
    open_backend: Callable[..., Backend],
    pool_class: str | None,
) -> None:
    settings = {"ASYNC_POOL_CLASS": pool_class} if pool_class else {}
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider}, **settings)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)

    async def work() -> None:
        await mapping.aset("n", 1)
        old, new = provider.renew()
        await asyncio.sleep(0)  # the token comes from another thread
        assert await mapping.aincr("n") == 2
        await await_until(lambda: service.tokens == [new.encode()])
        assert end(service, provider.user, old) == 0
        assert await mapping.aincr("n") == 3
        await backend.aclose()

    asyncio.run(work())
    assert service.names.count("HELLO") == 1
    # Of a loop that has ended nothing is told any more.
    provider.renew()
    asyncio.run(_incr(backend, mapping, 4))


async def _incr(backend: Backend, mapping: Any, expected: int) -> None:
    assert await mapping.aincr("n") == expected
    await backend.aclose()


def test_clients_of_redis_py_over_the_shared_pool(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    """A connection that got a socket of its own authenticates over that, and only over that."""
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider})

    async def work() -> None:
        client: Any = backend.async_client()
        assert await client.ping()
        async with client.pipeline() as pipeline:
            pipeline.set(provider.user.name, 1)
            provider.renew()
            await pipeline.execute()
        old, new = provider.renew()
        await asyncio.sleep(0)
        async with client.pipeline() as pipeline:
            pipeline.delete(provider.user.name)
            assert await pipeline.execute() == [1]
        assert await client.ping()
        await await_until(lambda: service.tokens == [new.encode()] * 2)
        assert end(service, provider.user, old) == 0
        await backend.aclose()

    asyncio.run(work())


def test_a_token_that_comes_while_the_shared_connection_is_opened(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)

    async def work() -> None:
        setting = asyncio.create_task(mapping.aset("n", 1))
        pool: Any = backend.async_pool()
        while pool._opening is None:  # noqa: ASYNC110  # at each turn of the loop: it soon is again
            await asyncio.sleep(0)
        _, new = provider.renew()
        await setting
        await await_until(lambda: service.tokens == [new.encode()])
        await backend.aclose()

    asyncio.run(work())


def test_one_provider_for_all(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    """A client of redis-py's that asks to be told doesn't keep others from it."""
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["n"] = 1
    shared = shared_by_all(provider)
    assert shared_by_all(provider) is shared
    assert shared_by_all(shared) is shared
    plain = PlainTokens(provider.user)
    assert shared_by_all(plain) is plain

    client = redis.Redis(host=service.host, port=service.port, credential_provider=shared)
    assert client.ping()
    pubsub = backend.client().pubsub()  # asks the provider, too
    pubsub.subscribe("channel")
    old, new = provider.renew()
    assert client.ping()
    assert mapping.incr("n") == 2
    wait_until(lambda: set(service.tokens) == {new.encode()})
    assert end(service, provider.user, old) == 0
    pubsub.close()
    client.close()

    async def of_redis_py() -> None:
        client = redis.asyncio.Redis(
            host=service.host, port=service.port, credential_provider=shared
        )
        assert await client.ping()
        _, new = provider.renew()
        await await_until(lambda: new.encode() in service.tokens)
        assert await client.ping()
        await client.aclose()

    asyncio.run(of_redis_py())
    provider.renew()  # that loop is closed
    assert mapping.incr("n") == 3


def test_redis_py_hands_a_token_on_to_all(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    """Its publish/subscribe tells the pool, in place of the provider."""
    backend = open_backend(service.url, OPTIONS={"credential_provider": provider})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["n"] = 1
    new = provider.user.issue()
    pool: Any = backend.pool()
    pool.re_auth_callback(token_of(provider.user.name, new))
    assert mapping.incr("n") == 2
    assert service.tokens == [new.encode()]

    async def work() -> None:
        await mapping.aincr("n")
        newer = provider.user.issue()
        pool: Any = backend.async_pool()
        await pool.re_auth_callback(token_of(provider.user.name, newer))
        await await_until(lambda: newer.encode() in service.tokens)
        await backend.aclose()

    asyncio.run(work())


def test_errors_are_told(provider: Streamed, caplog: pytest.LogCaptureFixture) -> None:
    shared = shared_by_all(provider)
    told: list[object] = []
    shared.on_error(told.append)
    shared.on_next(lambda _token: 1 / 0)
    shared.on_next(told.append)
    provider.fail(OSError("no identity"))
    provider.send("t")
    assert str(told[0]) == "no identity"
    assert len(told) == 2
    assert "couldn't renew its token: no identity" in caplog.text
    assert "couldn't take a new token" in caplog.text


def test_a_password_beside_a_provider_is_refused(
    service: ManagedService, provider: Streamed, open_backend: Callable[..., Backend]
) -> None:
    location = service.url.replace("redis://", "redis://:secret@")
    backend = open_backend(location, OPTIONS={"credential_provider": provider})
    with pytest.raises(ConfigurationError, match="credential_provider") as caught:
        backend.pool()
    assert "secret" not in str(caught.value)


@pytest.fixture
def managed(user: User) -> Iterator[ManagedTokens]:
    made = ManagedTokens(user)
    yield made
    made.manager.stop()


def test_the_token_manager_of_redis_py(
    service: ManagedService, managed: ManagedTokens, open_backend: Callable[..., Backend]
) -> None:
    """Begun in a loop it would end with it; begun in the thread of one it would wait for itself."""
    backend = open_backend(service.url, OPTIONS={"credential_provider": managed})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)

    async def work() -> None:
        mapping["n"] = 1  # blocks the loop, as it does, but not for ever
        for _ in range(2):
            tokens = managed.identities.requests
            await await_until(lambda: managed.identities.requests > tokens)  # noqa: B023
            await mapping.aincr("n")
        await backend.aclose()

    asyncio.run(work())
    asyncio.run(_incr(backend, mapping, 4))
    tokens = managed.identities.requests
    wait_until(lambda: managed.identities.requests > tokens + 1)
    assert mapping.incr("n") == 5
    assert len(set(service.tokens)) > 0


def test_the_token_manager_begun_by_a_task(
    service: ManagedService, managed: ManagedTokens, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(service.url, OPTIONS={"credential_provider": managed})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    asyncio.run(_incr(backend, mapping, 1))
    tokens = managed.identities.requests
    wait_until(lambda: managed.identities.requests > tokens + 1)  # that loop is closed
    asyncio.run(_incr(backend, mapping, 2))


class OnlyAsync(Streamed):
    """Gives credentials to tasks alone."""

    def get_credentials(self) -> tuple[str, str]:
        raise NotImplementedError

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.user.name, self.user.token

    def is_streaming(self) -> bool:
        return False


def test_a_provider_for_tasks_alone(
    service: ManagedService, user: User, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(service.url, OPTIONS={"credential_provider": OnlyAsync(user)})
    asyncio.run(_incr(backend, PersistentDict("d", backend), 1))


def test_the_wrapper_ends_with_the_provider(user: User) -> None:
    provider = Streamed(user)
    wrapper = weakref.ref(shared_by_all(provider))
    assert isinstance(wrapper(), SharedCredentials)
    del provider
    gc.collect()
    with suppress(TypeError):
        assert wrapper() is None
