"""Backends before a service that refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from tests.managed.service import ManagedService, managed_service
from tests.managed.tokens import Streamed, User
from tests.modelcache.conftest import add_sqlite


@pytest.fixture
def service(redis_server: ServerProcess) -> Iterator[ManagedService]:
    with managed_service(redis_server.port) as made:
        yield made


@pytest.fixture
def user(redis_server: ServerProcess, key_prefix: str) -> Iterator[User]:
    with redis_server.client() as client:
        made = User(client, name=key_prefix)
        yield made
        made.remove()


@pytest.fixture
def provider(user: User) -> Streamed:
    return Streamed(user)


@pytest.fixture(scope="session")
def shop_alias(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> str:
    """The alias of a database with the shop's tables, of these tests alone."""
    return add_sqlite("shop_managed", tmp_path_factory.mktemp("shop"), django_db_blocker)


@pytest.fixture
def open_backend(alias_for: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Backend]]:
    """Makes a backend of a location, with settings, and closes it at the end."""
    with ExitStack() as stack:

        def make(location: str, **settings: Any) -> Backend:
            backend = Backend(parse_alias("test", alias_for(location, **settings)))
            stack.callback(backend.close)
            return backend

        yield make
