"""Tokens that expire unannounced: connections are opened again, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import redis
import redis.asyncio

from redisdict import BackendUnavailable, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.credentials import RenewingCredentialProvider
from redisdict.pools.credentials import credentials_of
from tests.managed.service import ManagedService
from tests.managed.tokens import (
    POOLED,
    Overtaken,
    PlainTokens,
    User,
    end,
    token_of,
)
from tests.near.conftest import make, wait_until_on
from tests.waiting import await_until, wait_until


def test_tokens_that_end_without_a_word(
    service: ManagedService, user: User, alias_for: Callable[..., dict[str, Any]]
) -> None:
    """The service hangs up: nothing is lost, nothing counted twice, and what is unknown is told."""
    values = alias_for(
        service.url, OPTIONS={"credential_provider": PlainTokens(user)}, RETRY_FOR=30
    )
    backend = Backend(parse_alias("test", values))
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    counted, unknown = [0] * 4, [0] * 4
    errors: list[BackendUnavailable] = []
    is_over = threading.Event()

    def note(number: int, error: BackendUnavailable) -> None:
        unknown[number] += 1
        if not error.outcome_unknown:
            errors.append(error)

    def count(number: int) -> None:
        while not is_over.is_set():
            try:
                mapping.incr("n")
                counted[number] += 1
                mapping[f"{number}:{counted[number]}"] = 1
            except BackendUnavailable as error:
                note(number, error)

    async def count_in_tasks(number: int) -> None:
        while not is_over.is_set():
            try:
                await mapping.aincr("n")
                counted[number] += 1
                await mapping.aset(f"{number}:{counted[number]}", 1)
            except BackendUnavailable as error:
                note(number, error)

    async def in_tasks() -> None:
        await asyncio.gather(count_in_tasks(2), count_in_tasks(3))
        await backend.aclose()

    threads = [threading.Thread(target=count, args=(number,)) for number in range(2)]
    threads.append(threading.Thread(target=asyncio.run, args=(in_tasks(),)))
    for thread in threads:
        thread.start()
    ended = 0
    for _ in range(5):
        before = list(counted)
        wait_until(lambda: all(now > then for now, then in zip(counted, before, strict=True)))  # noqa: B023
        old = user.token
        user.issue()
        ended += end(service, user, old)
    is_over.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ended > 0
    total = mapping["n"]
    assert sum(counted) <= total <= sum(counted) + sum(unknown)
    assert all(f"{number}:{count}" in mapping for number, count in enumerate(counted))
    mapping.clear()
    backend.close()


@pytest.fixture
def overtaken(user: User) -> Overtaken:
    return Overtaken(user)


@pytest.mark.parametrize("pool_class", [None, POOLED], ids=["shared", "pooled"])
def test_a_token_that_ends_on_its_way(
    service: ManagedService,
    overtaken: Overtaken,
    open_backend: Callable[..., Backend],
    pool_class: str | None,
) -> None:
    """Nothing was sent before it: the next token is taken at once, once, whatever is called."""
    settings = {"ASYNC_POOL_CLASS": pool_class} if pool_class else {}
    options = {"credential_provider": overtaken}
    backend = open_backend(service.url, OPTIONS=options, RETRY_FOR=0, **settings)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)

    overtaken.times = 1
    assert mapping.incr("n") == 1
    backend.leave_connections()
    overtaken.times = 1
    mapping.update(a=1, b=2)
    hang_up(service)
    overtaken.times = 1
    assert mapping["n"] == 1
    hang_up(service)
    overtaken.times = 2
    with pytest.raises(BackendUnavailable, match="invalid username"):
        mapping.get("n")
    assert overtaken.times == 0

    async def in_tasks() -> None:
        overtaken.times = 1
        assert await mapping.aincr("n") == 2
        backend.leave_connections()
        overtaken.times = 1
        await mapping.aupdate(a=1, b=2)
        hang_up(service)
        overtaken.times = 1
        assert await mapping.aget("n") == 2
        hang_up(service)
        overtaken.times = 2
        with pytest.raises(BackendUnavailable, match="invalid username"):
            await mapping.aget("n")
        assert overtaken.times == 0
        await backend.aclose()

    asyncio.run(in_tasks())
    assert mapping.incr("n") == 3


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_a_token_that_ends_on_its_way_to_a_group(
    kind: str,
    request: pytest.FixtureRequest,
    open_backend: Callable[..., Backend],
    key_prefix: str,
) -> None:
    topology = request.getfixturevalue(kind)
    sentinels = getattr(topology, "sentinels", [])
    with ExitStack() as stack:
        servers = [server for server in topology.members if server not in sentinels]
        clients = [stack.enter_context(server.client()) for server in servers]
        user = User(*clients, name=key_prefix)
        stack.callback(user.remove)
        overtaken = Overtaken(user)
        options = {"credential_provider": overtaken}
        backend = open_backend(topology.location, OPTIONS=options, RETRY_FOR=0)
        mapping: PersistentDict[str, int] = PersistentDict("d", backend, hset_enabled=False)
        numbers = {str(number): number for number in range(50)}  # on all nodes

        overtaken.times = 1
        assert mapping.incr("n") == 1
        backend.close()
        overtaken.times = 1
        mapping.update(numbers)

        async def in_tasks() -> None:
            overtaken.times = 1
            assert await mapping.aincr("n") == 2
            await backend.aclose()
            overtaken.times = 1
            assert await mapping.aget_many(numbers) == numbers
            await backend.aclose()

        asyncio.run(in_tasks())
        assert overtaken.times == 0
        mapping.clear()


def hang_up(service: ManagedService) -> None:
    assert service.drop(lambda _: True) > 0


def test_a_token_of_the_near_cache_that_ends_on_its_way(
    service: ManagedService, overtaken: Overtaken, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(service.url, OPTIONS={"credential_provider": overtaken})
    near = make(backend, name="near")
    near["a"] = 1
    overtaken.times = 2
    wait_until_on(near)
    assert overtaken.times == 0
    assert near["a"] == 1


class Failing(PlainTokens):
    """Fails when it is told to."""

    error: Exception | None = None

    def get_credentials(self) -> tuple[str, str]:
        if self.error is not None:
            raise self.error
        return super().get_credentials()


def test_tokens_are_renewed_for_a_provider_that_tells_of_none(
    service: ManagedService,
    user: User,
    open_backend: Callable[..., Backend],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = Failing(user)
    renewing = RenewingCredentialProvider(plain, every=0.02)
    backend = open_backend(service.url, OPTIONS={"credential_provider": renewing})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    near = make(backend, name="near")
    near["a"] = 1
    wait_until_on(near)
    assert renewing.is_streaming()

    async def work() -> None:
        await mapping.aset("n", 1)
        old, new = user.token, user.issue()
        await await_until(lambda: service.tokens.count(new.encode()) >= 2)  # shared, and near's
        assert mapping.get("n") == 1
        end(service, user, old)  # for connections that lay idle since
        assert near.near_stats().is_on
        assert await mapping.aincr("n") == 2
        assert service.tokens.count(new.encode()) >= 2
        await backend.aclose()

    asyncio.run(work())
    plain.error = OSError("no identity today")
    wait_until(lambda: "no identity today" in caplog.text)
    plain.error = None
    thread = renewing._thread
    renewing._begin_anew()  # as in a forked child
    assert not renewing.is_streaming()
    backend.close()
    assert mapping.get("n") == 2
    assert renewing._thread not in (None, thread)
    mapping.clear()
    renewing._every = 3600.0  # its threads are in nobody's way any more


def test_a_token_without_a_user(user: User) -> None:
    """Of the user "default", as where there is only a password."""
    told: list[Any] = []
    plain = redis.UsernamePasswordCredentialProvider(password="secret")
    renewing = RenewingCredentialProvider(plain, every=1000)
    renewing.on_next(told.append)
    renewing._renew()
    assert credentials_of(told[0]) == ("default", "secret")
    assert credentials_of(token_of("", "t")) == ("t",)


@pytest.mark.parametrize(
    ("provider", "every", "expected"),
    [
        (None, 1, "provider is NoneType"),
        (redis.UsernamePasswordCredentialProvider(), "1", "every is str"),
        (redis.UsernamePasswordCredentialProvider(), True, "every is bool"),
        (redis.UsernamePasswordCredentialProvider(), 0, "every is 0 s"),
        (redis.UsernamePasswordCredentialProvider(), float("nan"), "every is nan s"),
    ],
)
def test_what_cannot_be_renewed(provider: Any, every: Any, expected: str) -> None:
    with pytest.raises((TypeError, ValueError), match=expected):
        RenewingCredentialProvider(provider, every)
