"""Read an entry of `CACHES` once, into a frozen object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from django.conf import settings

from redisdict.conf import (
    DEFAULTS,
    AliasConfig,
    check_durable,
    check_limit,
    is_one_of,
    parse_alias,
    plain_text,
)
from redisdict.described import described, quoted, telling_of
from redisdict.exceptions import ConfigurationError
from redisdict.near.reader import check_near
from redisdict.suggestions import did_you_mean, known_instead

#: The prefix of a LOCATION that names an alias of REDISDICT.
ALIAS_SCHEME = "alias:"

#: The capitals of OPTIONS that say how to reach the server, as an alias of REDISDICT does.
OF_THE_POOL = ("POOL_CLASS", "ASYNC_POOL_CLASS", "RETRY_FOR", "TRACER")

#: All capitals of OPTIONS, with the value each has when it isn't given. None of SERIALIZER,
#: COMPRESSOR, DURABLE, NEAR_MAX_BYTES and NEAR_MAX_ITEMS means that of the alias, where there is
#: one.
CAPITALS: Mapping[str, Any] = MappingProxyType(
    {
        "SERIALIZER": None,
        "COMPRESSOR": None,
        "READ_FROM": None,
        "WRITE_FOR": None,
        "CLEAR": "keys",
        "IGNORE_EXCEPTIONS": False,
        "DURABLE": None,
        "NEAR": None,
        "NEAR_MAX_BYTES": None,
        "NEAR_MAX_ITEMS": None,
        **{name: DEFAULTS[name] for name in OF_THE_POOL},
        # Django's own, for caches that have to make room themselves; a server does that.
        "MAX_ENTRIES": None,
        "CULL_FREQUENCY": None,
    }
)

#: Options that have another name in other backends, or that aren't needed here.
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "CLIENT_CLASS": "there is one client for all servers; LOCATION says which they are",
        "CONNECTION_POOL_KWARGS": 'write its items into OPTIONS itself, as "max_connections": 50',
        "CONNECTION_POOL_CLASS": 'did you mean "POOL_CLASS"?',
        "CONNECTION_POOL_CLASS_KWARGS": "write its items into OPTIONS itself",
        "CONNECTION_FACTORY": "LOCATION says where the servers are",
        "REDIS_CLIENT_CLASS": "cache.client is redis-py's own client",
        "REDIS_CLIENT_KWARGS": "write its items into OPTIONS itself",
        "PASSWORD": 'did you mean "password"?',
        "SOCKET_TIMEOUT": 'did you mean "socket_timeout"?',
        "SOCKET_CONNECT_TIMEOUT": 'did you mean "socket_connect_timeout"?',
        "PARSER_CLASS": "the pools have a parser of their own",
        "PICKLE_VERSION": "pickles are always of protocol 5",
        "SENTINELS": 'LOCATION says where they are: "redis+sentinel://HOST:PORT,…/SERVICE/DB"',
        "SENTINEL_KWARGS": 'write them into LOCATION, as "?sentinel_password=…"',
        "REPLICA_READ_ONLY": "reads go to the replicas, if there are any",
        "serializer": 'did you mean "SERIALIZER"?',
        "pool_class": 'did you mean "POOL_CLASS"?',
        "KEY_PREFIX": "it belongs beside OPTIONS, not into it",
        "TIMEOUT": "it belongs beside OPTIONS, not into it",
        "VERSION": "it belongs beside OPTIONS, not into it",
        "LOCATION": "it belongs beside OPTIONS, not into it",
    }
)

READERS = ("django-redis", "django-redis+json", "django-redis+msgpack")
WRITERS = ("django-redis",)
CLEARING = ("keys", "database")


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """One checked entry of `CACHES`, without the keys that Django itself reads.

    Attributes:
        name: its alias, as errors call it.
        using: the alias of REDISDICT whose server and pools it has, if it names one.
        locations: where its servers are otherwise, the primary first and then its replicas.
        pool: the values of an alias of REDISDICT that lead to them; they may hold a password.
    """

    name: str
    using: str | None
    locations: tuple[str, ...] = field(repr=False)
    pool: Mapping[str, Any] = field(repr=False, hash=False)
    serializer: str | None = None
    compressor: str | None = None
    read_from: str | None = None
    write_for: str | None = None
    clear: str = "keys"
    ignore_exceptions: bool = False
    durable: str | None = None
    near: float | str | None = None
    near_max_bytes: int | None = None
    near_max_items: int | None = None

    @property
    def where(self) -> str:
        """Name the entry in an error."""
        return f"CACHES[{quoted(self.name)}]"

    def config_of(self, location: str) -> AliasConfig:
        """Make the configuration of one of its servers.

        Raises:
            ConfigurationError: one of its values can't be used.
        """
        try:
            return parse_alias(self.name, {**self.pool, "LOCATION": location}, "CACHES")
        except ConfigurationError as error:
            raise reworded(error, self.name) from None


def parse_options(name: str, location: Any, params: Mapping[str, Any]) -> CacheOptions:
    """Check an entry of `CACHES`.

    Args:
        name: its alias.
        location: its LOCATION.
        params: the rest of it.

    Raises:
        ConfigurationError: an unknown option, or a value that can't be used.
    """
    with telling_of(f"CACHES[{quoted(name)}]"):
        return _parse_options(name, location, params)


def _parse_options(name: str, location: Any, params: Mapping[str, Any]) -> CacheOptions:
    where = f"CACHES[{quoted(name)}]"
    given = params.get("OPTIONS") or {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f'{where}["OPTIONS"] is {type(given).__name__}; a dict is expected.'
        )
    for key in params:
        if key in CAPITALS and key not in ("MAX_ENTRIES", "CULL_FREQUENCY"):
            raise ConfigurationError(
                f'{where} has the key {key!r}, which belongs into its "OPTIONS": {{{key!r}: …}}.'
            )
    for key in given:
        _refuse_unknown(f'{where}["OPTIONS"]', key)
    values = {**CAPITALS, **{key: value for key, value in given.items() if key in CAPITALS}}
    of_pool = {key: given[key] for key in OF_THE_POOL if key in given}
    small = {key: value for key, value in given.items() if key not in CAPITALS}
    _check(where, values)
    using, locations = _servers(where, location)
    if using is not None and (of_pool or small):
        wrong = ", ".join(map(repr, (*of_pool, *small)))
        raise ConfigurationError(
            f"{where} has the pools of REDISDICT[{quoted(using)}], so {wrong} of its OPTIONS must"
            " be given there instead."
        )
    return CacheOptions(
        name=name,
        using=using,
        locations=locations,
        pool=MappingProxyType({**of_pool, "OPTIONS": small}),
        serializer=values["SERIALIZER"],
        compressor=values["COMPRESSOR"],
        read_from=values["READ_FROM"],
        write_for=values["WRITE_FOR"],
        clear=values["CLEAR"],
        ignore_exceptions=values["IGNORE_EXCEPTIONS"],
        durable=values["DURABLE"],
        near=values["NEAR"],
        near_max_bytes=values["NEAR_MAX_BYTES"],
        near_max_items=values["NEAR_MAX_ITEMS"],
    )


def name_in_settings(location: Any, params: Mapping[str, Any]) -> str:
    """Find the alias of the `CACHES` entry with these values; Django doesn't pass it."""
    for name, entry in (getattr(settings, "CACHES", None) or {}).items():
        if not isinstance(entry, Mapping):
            continue  # Django's to report
        if entry.get("LOCATION", "") == location and all(
            entry.get(key) == value for key, value in params.items()
        ):
            return str(name)
    return "?"


def reworded(error: ConfigurationError, name: str) -> ConfigurationError:
    """Reword the error of an alias's configuration for one that stands in `CACHES`."""
    names = "|".join(OF_THE_POOL)
    where = f"CACHES[{quoted(name)}]"
    pattern = re.escape(where) + rf'\["({names})"\]'
    return ConfigurationError(
        re.sub(pattern, lambda found: f'{where}["OPTIONS"]["{found[1]}"]', str(error))
    )


def _servers(where: str, location: Any) -> tuple[str | None, tuple[str, ...]]:
    if isinstance(location, str):
        location = plain_text(location)
        if location.startswith(ALIAS_SCHEME):
            return location.removeprefix(ALIAS_SCHEME), ()
        # The hosts of one Cluster, or of one group of sentinels, have commas between them, too.
        locations = [each.strip() for each in re.split(r"[;,](?=\s*[a-z+]+://)", location)]
    elif isinstance(location, list | tuple):
        locations = [plain_text(each) if isinstance(each, str) else each for each in location]
    else:
        locations = []
    if not all(isinstance(each, str) and each for each in locations) or not locations:
        raise ConfigurationError(
            f'{where}["LOCATION"] names no server: give "redis://127.0.0.1:6379/0" (of several,'
            ' the primary comes first and then its replicas), or "alias:NAME" of REDISDICT.'
        )
    return None, tuple(locations)


def _refuse_unknown(where: str, key: Any) -> None:
    if not isinstance(key, str):
        raise ConfigurationError(f"{where} has the key {described(key)}; names are expected.")
    if key in ELSEWHERE:
        raise ConfigurationError(f"{where} has the unknown key {key!r}; {ELSEWHERE[key]}.")
    if key.upper() == key and key not in CAPITALS:
        end = known_instead(key, CAPITALS)
        raise ConfigurationError(f"{where} has the unknown key {described(key)}{end}")
    if key.upper() in CAPITALS and key not in CAPITALS:
        raise ConfigurationError(
            f'{where} has the unknown key {key!r}; did you mean "{key.upper()}"?'
        )


def _check(where: str, values: Mapping[str, Any]) -> None:
    where = f'{where}["OPTIONS"]'
    for key, known in (("READ_FROM", READERS), ("WRITE_FOR", WRITERS), ("CLEAR", CLEARING)):
        value = values[key]
        if not is_one_of(value, known) and not (value is None and key != "CLEAR"):
            hint = did_you_mean(value, known)
            raise ConfigurationError(
                f'{where}["{key}"] is {described(value)}{hint}; {" or ".join(map(repr, known))}'
                f"{'' if key == 'CLEAR' else ' or None'} is expected."
            )
    if not isinstance(values["IGNORE_EXCEPTIONS"], bool):
        raise ConfigurationError(
            f'{where}["IGNORE_EXCEPTIONS"] is {described(values["IGNORE_EXCEPTIONS"])};'
            " True or False is expected."
        )
    for key in ("SERIALIZER", "COMPRESSOR"):
        if not isinstance(values[key], str | None):
            raise ConfigurationError(
                f'{where}["{key}"] is {type(values[key]).__name__}; a name or a dotted path is'
                " expected."
            )
    for key in ("SERIALIZER", "COMPRESSOR"):
        if "django_redis." in str(values[key]) or "django_valkey." in str(values[key]):
            plain = values[key].split(".")[2]
            raise ConfigurationError(
                f'{where}["{key}"] is {values[key]!r}, another package\'s; give {plain!r}, and'
                ' "READ_FROM": "django-redis" to read what that has written.'
            )
    check_durable(f'{where}["DURABLE"]', values["DURABLE"])
    check_near(f'{where}["NEAR"]', values["NEAR"])
    for key in ("NEAR_MAX_BYTES", "NEAR_MAX_ITEMS"):
        if values[key] is not None:
            check_limit(f'{where}["{key}"]', values[key])
    if values["WRITE_FOR"] is not None and values["SERIALIZER"] != "pickle":
        raise ConfigurationError(
            f'{where} has "WRITE_FOR": {values["WRITE_FOR"]!r}, which reads pickles, so it needs'
            ' "SERIALIZER": "pickle" as well.'
        )
