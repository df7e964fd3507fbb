"""What the system checks look for: mistakes in one alias, dangers of one server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import redis
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from redis.exceptions import ResponseError

from redisdict import conf
from redisdict.codec import get_codec
from redisdict.connections.backend import Backend
from redisdict.connections.factory import PoolFactory
from redisdict.connections.registry import get_backend
from redisdict.connections.sentinel import SentinelRoute
from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.wire.requests import Operation
from redisdict.wire.server_info import (
    AT_SHUTDOWN,
    CACHE_MODE,
    PERSISTENCE_SETTINGS,
    ask_settings,
    eviction,
    evicts_any_key,
    parse_info,
    persistence,
)

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
        info, settings, has_hello = backend.driver.run(_ask())
        quorum = _quorum(backend)
    except (BackendUnavailable, redis.RedisError) as error:
        yield Error(
            str(error),
            hint="Check the address, the credentials, and that the server runs.",
            id="redisdict.E002",
        )
        return
    where = f'The server of REDISDICT["{alias}"] ({backend.address})'
    yield from _check_persistence(where, info, settings)
    yield from _check_eviction(where, info)
    if not has_hello:
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


def _check_persistence(
    where: str, info: Mapping[str, str], settings: Mapping[str, str]
) -> Iterator[CheckMessage]:
    kept = persistence(info, settings)
    hint = "Start it with --appendonly yes, or with points to save at."
    if "snapshot_cron" in settings:  # Dragonfly, which has no append-only file
        hint = 'Start it with --dbfilename=dump and --snapshot_cron="*/5 * * * *", say.'
    if kept == "off":
        text = "writes nothing to disk: a restart loses every dict."
        yield CheckWarning(f"{where} {text}", hint=hint, id="redisdict.W003")
    elif kept == AT_SHUTDOWN:
        text = "writes to disk only when it is shut down: a crash loses what was stored since then."
        yield CheckWarning(f"{where} {text}", hint=hint, id="redisdict.W003")


def _check_eviction(where: str, info: Mapping[str, str]) -> Iterator[CheckMessage]:
    if not evicts_any_key(info):
        return
    policy = eviction(info)
    if policy == CACHE_MODE:
        text, hint = "is in cache mode", "Start it without --cache_mode."
    else:
        text = f"has maxmemory-policy {policy}"
        hint = "Set maxmemory-policy to noeviction, or to a volatile-* policy."
    yield CheckWarning(
        f"{where} {text}: when memory is short it deletes any dict.", hint=hint, id="redisdict.W004"
    )


def _ask() -> Operation[tuple[dict[str, str], dict[str, str], bool]]:
    """INFO, the settings of persistence where CONFIG is allowed, and whether there is a HELLO.

    HELLO itself isn't called: without a version it takes a connection to Dragonfly back to RESP2.
    """
    info = parse_info((yield (b"INFO",)))
    settings = yield from ask_settings(*PERSISTENCE_SETTINGS)
    try:
        known = yield (b"COMMAND", b"INFO", b"HELLO")
    except ResponseError:  # the user may not ask
        return info, settings, True
    return info, settings, bool(known and known[0])


def _quorum(backend: Backend) -> int | None:
    route = backend.pool().connection_kwargs.get("connection_pool")
    return route.quorum() if isinstance(route, SentinelRoute) else None
