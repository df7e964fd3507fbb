"""System checks of the caches in `CACHES` that are this package's. Nothing is connected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.utils.module_loading import import_string

from redisdict import conf
from redisdict.cache.cache import DictCache
from redisdict.cache.codecs import CacheCodec
from redisdict.cache.near_spaces import refuse_near
from redisdict.cache.options import CacheOptions, parse_options, reworded
from redisdict.cache.store import backend_of
from redisdict.conf import AliasConfig
from redisdict.connections.backend import Backend
from redisdict.connections.factory import PoolFactory
from redisdict.connections.locations import Location
from redisdict.described import quoted, telling_of
from redisdict.exceptions import ConfigurationError


def check_caches() -> Iterator[CheckMessage]:
    """Read each entry as its first use would."""
    for name, entry in (getattr(settings, "CACHES", None) or {}).items():
        if isinstance(entry, Mapping) and _is_ours(entry.get("BACKEND")):
            yield from _check(str(name), entry)


def backends_of_caches() -> Iterator[tuple[str, Backend]]:
    """Return the servers of each entry that names no alias. Connects nothing.

    Entries that can't be used are left out: `check_caches()` reports them.
    """
    for name, entry in (getattr(settings, "CACHES", None) or {}).items():
        if not (isinstance(entry, Mapping) and _is_ours(entry.get("BACKEND"))):
            continue
        with suppress(ConfigurationError):
            options = _options(str(name), entry)
            backends = [backend_of(options, location) for location in options.locations]
            yield from ((options.where, backend) for backend in backends)


def empties_its_database(name: str, entry: Mapping[str, Any]) -> list[Location]:
    """Find the databases that `clear()` of an entry empties; none if it empties none."""
    if not _is_ours(entry.get("BACKEND")):
        return []
    with suppress(ConfigurationError):
        options = _options(name, entry)
        if options.clear == "database":
            return [PoolFactory(config).location for config in _configs(options)]
    return []


def _options(name: str, entry: Mapping[str, Any]) -> CacheOptions:
    with telling_of(f"CACHES[{quoted(name)}]"):
        params = {key: value for key, value in entry.items() if key not in ("BACKEND", "LOCATION")}
    return parse_options(name, entry.get("LOCATION", ""), params)


def _is_ours(path: Any) -> bool:
    try:
        backend = import_string(path)
    except (ImportError, AttributeError, TypeError):
        return False  # Django's to report
    return isinstance(backend, type) and issubclass(backend, DictCache)


def _check(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    try:
        options = _options(name, entry)
        configs = _configs(options)
        factories = [PoolFactory(config) for config in configs]
        for factory in factories:
            factory.verify()
        refuse_near(options, factories[0])
        CacheCodec(options, configs[0].serializer, configs[0].compressor)
    except ConfigurationError as error:
        yield Error(str(reworded(error, name)), id="redisdict.E004")
        return
    reads_pickles = options.serializer == "pickle" or options.read_from == "django-redis"
    is_near = all(factory.location.kind in ("unix", "embedded") for factory in factories)
    if reads_pickles and not is_near:
        yield CheckWarning(
            f"{options.where} reads pickles from {factories[0].address}: anyone who can write to"
            " that server can run code in this project.",
            hint='Use "SERIALIZER": "msgpack" without "READ_FROM" once no old values are left'
            " there.",
            id="redisdict.W001",
        )


def _configs(options: CacheOptions) -> list[AliasConfig]:
    if options.using is not None:
        return [conf.get_alias(options.using)]
    return [options.config_of(location) for location in options.locations]
