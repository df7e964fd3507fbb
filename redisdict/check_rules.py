"""What the system checks look for: mistakes in one alias, dangers of one server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from redis.exceptions import ResponseError

from redisdict import conf
from redisdict.codec import get_codec
from redisdict.connections.backend import Backend
from redisdict.connections.factory import PoolFactory
from redisdict.connections.registry import get_backend
from redisdict.connections.requests import Operation
from redisdict.connections.sentinel import SentinelRoute
from redisdict.exceptions import BackendUnavailable, ConfigurationError

__all__ = ["check_alias", "check_server"]


def check_alias(alias: str) -> Iterator[CheckMessage]:
    try:
        config = conf.get_alias(alias)
        factory = PoolFactory(config)
        factory.verify()
        get_codec(config.serializer, config.compressor)
    except ConfigurationError as error:
        yield Error(str(error), id="redisdict.E001")
        return
    where = f'REDISDICT["{alias}"]'
    if config.serializer == "pickle" and factory.location.kind not in ("unix", "embedded"):
        yield CheckWarning(
            f"{where} reads pickles from {factory.address}: whoever can write to that server can"
            " run code in this project.",
            hint='Use "SERIALIZER": "msgpack", or a server on a unix socket.',
            id="redisdict.W001",
        )
    if not factory.socket_timeout_s:
        yield CheckWarning(
            f"{where} has no socket timeout: a server that hangs holds every caller for ever.",
            hint='Set "OPTIONS": {"socket_timeout": 5}, or leave it out, for 5 s is the default.',
            id="redisdict.W002",
        )


def check_server(alias: str) -> Iterator[CheckMessage]:
    try:
        backend = get_backend(alias)
    except ConfigurationError:
        return  # check_settings reports it
    try:
        info, save, hello = backend.driver.run(_ask())
        quorum = _quorum(backend)
    except (BackendUnavailable, redis.RedisError) as error:
        yield Error(
            str(error),
            hint="Check the address, the credentials, and that the server runs.",
            id="redisdict.E002",
        )
        return
    where = f'The server of REDISDICT["{alias}"] ({backend.address})'
    if info.get("aof_enabled") == "0" and save == "":
        yield CheckWarning(
            f"{where} writes nothing to disk: a restart loses every dict.",
            hint="Start it with --appendonly yes, or with points to save at.",
            id="redisdict.W003",
        )
    policy = info.get("maxmemory_policy", "")
    if policy.startswith("allkeys-"):
        yield CheckWarning(
            f"{where} has maxmemory-policy {policy}: when memory is short it deletes any dict.",
            hint="Set maxmemory-policy to noeviction, or to a volatile-* policy.",
            id="redisdict.W004",
        )
    if hello is None:
        yield CheckWarning(
            f"{where} speaks RESP2 only, for it has no HELLO.",
            hint="Use Redis 6 or later, Valkey, KeyDB or Dragonfly.",
            id="redisdict.W005",
        )
    if quorum == 1:
        yield CheckWarning(
            f"{where} fails over when a single sentinel has lost sight of the primary (quorum 1):"
            " a network fault can leave two primaries, and what one of them was given is lost.",
            hint="Run three sentinels or more, with a quorum of more than half of them.",
            id="redisdict.W006",
        )


def _ask() -> Operation[tuple[dict[str, str], str | None, Any]]:
    """INFO, the points to save at where CONFIG is allowed, and the reply to HELLO where it is."""
    text = yield (b"INFO",)
    lines = text.decode("utf-8", "replace").splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    save: str | None = None
    try:
        pairs = yield (b"CONFIG", b"GET", b"save")
    except ResponseError:
        pairs = None
    if pairs:
        save = (pairs[b"save"] if isinstance(pairs, dict) else pairs[1]).decode()
    hello: Any
    try:
        hello = yield (b"HELLO",)
    except ResponseError as error:
        hello = None if "unknown command" in str(error) else error
    return info, save, hello


def _quorum(backend: Backend) -> int | None:
    route = backend.pool().connection_kwargs.get("connection_pool")
    return route.quorum() if isinstance(route, SentinelRoute) else None
