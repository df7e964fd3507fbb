"""Borrow pools from django-redis: `{"CACHE": "default"}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from django.conf import settings

from redisdict.conf import Options
from redisdict.connections.locations import Location, parse_location
from redisdict.described import described, quoted, telling_of
from redisdict.exceptions import ConfigurationError

#: Options of django-redis's OPTIONS that have an argument of redis-py's connection.
CONNECTION_OPTIONS: Mapping[str, str] = {
    "USERNAME": "username",
    "PASSWORD": "password",
    "SOCKET_TIMEOUT": "socket_timeout",
    "SOCKET_CONNECT_TIMEOUT": "socket_connect_timeout",
}


#: The name of the borrowing alias in errors, if none is given.
AN_ALIAS = "An alias of REDISDICT"


def pool(cache: str, borrower: str = AN_ALIAS) -> redis.ConnectionPool:
    """Borrow the very pool that django-redis holds for `CACHES[cache]`.

    Raises:
        ConfigurationError: there is no such cache, or it isn't a django-redis cache.
    """
    _settings_of(cache, borrower)
    from django_redis import get_redis_connection

    borrowed: redis.ConnectionPool = get_redis_connection(cache).connection_pool
    return borrowed


def location_and_options(cache: str, borrower: str = AN_ALIAS) -> tuple[Location, dict[str, Any]]:
    """Read where `CACHES[cache]` is, and the options of its connections.

    django-redis has no pools for tasks, so those are made from its settings.

    Raises:
        ConfigurationError: as `pool()`; or its LOCATION can't be read.
    """
    with telling_of(f"CACHES[{quoted(cache)}]"):
        return _location_and_options(cache, borrower)


def _location_and_options(cache: str, borrower: str) -> tuple[Location, dict[str, Any]]:
    values = _settings_of(cache, borrower)
    where = f'CACHES[{quoted(cache)}]["LOCATION"]'
    location = values.get("LOCATION") or ""
    if isinstance(location, list | tuple) and location:
        location = location[0]  # the others are read replicas
    if not isinstance(location, str):
        raise ConfigurationError(
            f"{where} is {described(location)}; a text such as redis://127.0.0.1:6379/0, or a list"
            " of them, is expected."
        )
    options: Options = values.get("OPTIONS") or {}
    kwargs = options.get("CONNECTION_POOL_KWARGS") if isinstance(options, Mapping) else None
    if not isinstance(options, Mapping) or not isinstance(kwargs, Mapping | None):
        raise ConfigurationError(
            f'CACHES[{quoted(cache)}]["OPTIONS"], and CONNECTION_POOL_KWARGS in it, have to be'
            " dicts."
        )
    arguments = {
        argument: options[name]
        for name, argument in CONNECTION_OPTIONS.items()
        if options.get(name)
    }
    arguments |= kwargs or {}
    if options.get("SENTINELS"):
        return _sentinel_location(where, location, options), arguments
    return parse_location(location, where), arguments


def _sentinel_location(where: str, location: str, options: Options) -> Location:
    """django-redis has the service where others have the host: redis://SERVICE/DB."""
    named = parse_location(location, where)
    database = named.options.get("db", 0)
    try:
        nodes = tuple((str(host), int(port)) for host, port in options["SENTINELS"])
    except (TypeError, ValueError) as error:
        setting = where.replace('["LOCATION"]', '["OPTIONS"]["SENTINELS"]')
        raise ConfigurationError(
            f"{setting} can't be read ({error}); pairs of a host and a port are expected, such as"
            ' [("10.0.0.1", 26379)].'
        ) from error
    service = str(named.options["host"])
    listed = ",".join(f"{host}:{port}" for host, port in nodes)
    return Location(
        kind="sentinel",
        address=f"redis+sentinel://{listed}/{service}/{database}",
        options={
            name: value for name, value in named.options.items() if name not in ("host", "port")
        },
        nodes=nodes,
        service=service,
        node_options=dict(options.get("SENTINEL_KWARGS") or {}),
        is_tls=named.is_tls,
    )


def _settings_of(cache: str, borrower: str) -> Mapping[str, Any]:
    caches = getattr(settings, "CACHES", None)
    if not isinstance(caches, Mapping):
        raise ConfigurationError(
            f'{borrower} has "CACHE": {cache!r}, but CACHES is {type(caches).__name__}; a dict is'
            " expected."
        )
    if cache not in caches:
        known = ", ".join(sorted(caches)) or "none"
        raise ConfigurationError(
            f'{borrower} has "CACHE": {cache!r}, but CACHES has no such cache'
            f" (it has: {known}). Add it to CACHES, or give a LOCATION instead."
        )
    values: Mapping[str, Any] = caches[cache]
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f'{borrower} has "CACHE": {cache!r}, but CACHES[{quoted(cache)}] is'
            f" {type(values).__name__}; a dict is expected."
        )
    backend = values.get("BACKEND", "")
    if not str(backend).startswith("django_redis."):
        raise ConfigurationError(
            f'{borrower} has "CACHE": {cache!r}, but CACHES[{quoted(cache)}] is a'
            f" {backend}; only the pool of a django_redis.cache.RedisCache can be borrowed."
            " Give a LOCATION instead."
        )
    return values
