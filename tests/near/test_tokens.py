"""Tokens that end, on the connection by which the server tells of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from redisdict.connections.backend import Backend
from redisdict.near.listener import Listener
from redisdict.servers.process import ServerProcess
from tests.managed.conftest import open_backend, service
from tests.managed.service import ManagedService
from tests.managed.tokens import Streamed, User, token_of
from tests.near.conftest import is_served, make, settle, wait_until_on
from tests.waiting import wait_until

__all__ = ["open_backend", "service"]


@pytest.fixture
def provider(redis_server: ServerProcess, key_prefix: str) -> Iterator[Streamed]:
    with redis_server.client() as client:
        user = User(client, name=key_prefix)
        yield Streamed(user)
        user.remove()


@pytest.mark.parametrize("tracking", ["auto", "plain"])
def test_a_new_token_forgets_nothing(
    service: ManagedService,
    provider: Streamed,
    open_backend: Callable[..., Backend],
    tracking: str,
) -> None:
    options = {"credential_provider": provider}
    backend = open_backend(service.url, OPTIONS=options, NEAR_TRACKING=tracking)
    elsewhere = open_backend(service.url, OPTIONS=options)
    mapping, other = make(backend), make(elsewhere, near=None)
    mapping["a"] = 1
    wait_until_on(mapping)
    settle(mapping)
    assert mapping["a"] == 1
    assert is_served(mapping, "a")
    old, new = provider.renew()
    wait_until(lambda: new.encode() in service.tokens)
    settle(mapping)
    provider.user.end(old)
    service.end_token(old)  # for connections that lay idle since
    assert is_served(mapping, "a")  # nothing was forgotten
    other["a"] = 2
    wait_until(lambda: mapping["a"] == 2)
    settle(mapping)
    greetings = service.names.count("HELLO")
    provider.send("nonsense")  # another connection takes the place of that which is refused
    wait_until(lambda: mapping["a"] == 2 and service.names.count("HELLO") > greetings)
    wait_until_on(mapping)
    assert mapping["a"] == 2


def test_a_token_before_there_is_a_connection(
    redis_url: str, open_backend: Callable[..., Backend]
) -> None:
    """It is sent over the first one, which may have been opened with the one before."""
    listener = Listener(open_backend(redis_url))
    assert listener.next_token() is None
    token = token_of("user", "t")
    listener.take_token(token)
    assert listener.next_token() is token
    assert listener.next_token() is None
