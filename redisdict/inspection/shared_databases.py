"""Find caches of `CACHES` whose `clear()` would delete dicts, by their settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from django.conf import settings

from redisdict.connections import borrowed
from redisdict.connections.locations import Location, parse_location
from redisdict.described import quoted, telling_of
from redisdict.exceptions import ConfigurationError

#: Names of this machine that mean one server; one of another family may listen on each, but rarely.
LOOPBACK = ("localhost", "127.0.0.1", "::1")

#: Beginnings of backends whose `clear()` is FLUSHDB.
DJANGO, DJANGO_REDIS, DJANGO_VALKEY = (
    "django.core.cache.backends.redis.",
    "django_redis.",
    "django_valkey.",
)


def caches_that_empty(location: Location) -> list[str]:
    """List the entries of `CACHES` by whose `clear()` everything goes that lies there."""
    place = _place(location)
    return [
        str(name)
        for name, entry in (getattr(settings, "CACHES", None) or {}).items()
        if isinstance(entry, Mapping) and place in map(_place, _emptied_by(str(name), entry))
    ]


def _emptied_by(name: str, entry: Mapping[str, Any]) -> list[Location]:
    """Return the databases that `clear()` of an entry empties; none if it can't be read."""
    backend = str(entry.get("BACKEND"))
    with suppress(ConfigurationError), telling_of(f"CACHES[{quoted(name)}]"):
        if backend.startswith(DJANGO_REDIS):
            return [borrowed.location_and_options(name)[0]]
        if backend.startswith((DJANGO, DJANGO_VALKEY)):
            return [_location_of(entry)]
        if not backend.startswith("django."):
            from redisdict.cache.checks import empties_its_database

            return empties_its_database(name, entry)
    return []


def _location_of(entry: Mapping[str, Any]) -> Location:
    """Read the first LOCATION, whose server is the one that is written to."""
    given = entry.get("LOCATION") or ""
    first = given[0] if isinstance(given, list | tuple) else str(given)
    url = first.split(",")[0].split(";")[0].strip().replace("valkey", "redis", 1)
    location = parse_location(url)
    database = (entry.get("OPTIONS") or {}).get("db")
    if database is None or "db" in location.options:
        return location
    return replace(location, options={**location.options, "db": int(database)})


def _place(location: Location) -> tuple[Any, ...]:
    """Name the database, however its address is written."""
    options = location.options
    host = options.get("host")
    return (
        "localhost" if host in LOOPBACK else host,
        options.get("port"),
        options.get("path") or location.path,
        frozenset(location.nodes),
        location.service,
        int(options.get("db") or 0),
    )
