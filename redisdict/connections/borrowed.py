"""Pools borrowed from django-redis: `{"CACHE": "default"}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from django.conf import settings

from redisdict.conf import Options
from redisdict.connections.locations import Location, parse_location
from redisdict.exceptions import ConfigurationError

#: Options of django-redis's OPTIONS that have an argument of redis-py's connection.
CONNECTION_OPTIONS: Mapping[str, str] = {
    "USERNAME": "username",
    "PASSWORD": "password",
    "SOCKET_TIMEOUT": "socket_timeout",
    "SOCKET_CONNECT_TIMEOUT": "socket_connect_timeout",
}


def pool(cache: str) -> redis.ConnectionPool:
    """Borrow the very pool that django-redis holds for `CACHES[cache]`.

    Raises:
        ConfigurationError: there is no such cache, or it isn't a django-redis cache.
    """
    _settings_of(cache)
    from django_redis import get_redis_connection

    borrowed: redis.ConnectionPool = get_redis_connection(cache).connection_pool
    return borrowed


def location_and_options(cache: str) -> tuple[Location, dict[str, Any]]:
    """Read where `CACHES[cache]` is, and the options of its connections.

    django-redis has no pools for tasks, so those are made from its settings.

    Raises:
        ConfigurationError: as `pool()`; or its LOCATION can't be read.
    """
    values = _settings_of(cache)
    where = f'CACHES["{cache}"]["LOCATION"]'
    location = values.get("LOCATION") or ""
    if not isinstance(location, str):
        location = location[0]  # the others are read replicas
    options: Options = values.get("OPTIONS") or {}
    arguments = {
        argument: options[name]
        for name, argument in CONNECTION_OPTIONS.items()
        if options.get(name)
    }
    arguments |= options.get("CONNECTION_POOL_KWARGS") or {}
    if options.get("SENTINELS"):
        return _sentinel_location(where, location, options), arguments
    return parse_location(location, where), arguments


def _sentinel_location(where: str, location: str, options: Options) -> Location:
    """django-redis has the service where others have the host: redis://SERVICE/DB."""
    named = parse_location(location, where)
    database = named.options.get("db", 0)
    nodes = tuple((str(host), int(port)) for host, port in options["SENTINELS"])
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


def _settings_of(cache: str) -> Mapping[str, Any]:
    caches = getattr(settings, "CACHES", {})
    if cache not in caches:
        known = ", ".join(sorted(caches)) or "none"
        raise ConfigurationError(
            f'An alias of REDISDICT has "CACHE": {cache!r}, but CACHES has no such cache'
            f" (it has: {known}). Add it to CACHES, or give a LOCATION instead."
        )
    values: Mapping[str, Any] = caches[cache]
    backend = values.get("BACKEND", "")
    if not str(backend).startswith("django_redis."):
        raise ConfigurationError(
            f'An alias of REDISDICT has "CACHE": {cache!r}, but CACHES["{cache}"] is a'
            f" {backend}; only the pool of a django_redis.cache.RedisCache can be borrowed."
            " Give a LOCATION instead."
        )
    return values
