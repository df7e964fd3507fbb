"""Read the setting `REDISDICT` once, into frozen objects.

The user's dict is never changed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from redisdict.described import described, quoted, reason_of, telling_of
from redisdict.exceptions import ConfigurationError
from redisdict.suggestions import did_you_mean, known_instead

#: Arguments of redis-py's pools and connections, by name.
Options: TypeAlias = Mapping[str, Any]

DEFAULT_ALIAS = "default"

#: Seconds in a thousand years. The server keeps deadlines in 64 bits of milliseconds, which leaves
#: room for its clock.
LONGEST_S = 1000 * 365 * 86400

#: The values of DURABLE.
GUARANTEES = ("aof", "replicas")

#: The range of NEAR_LEASE, in seconds.
SHORTEST_NEAR_LEASE_S = 0.01
LONGEST_NEAR_LEASE_S = 1.0

#: The value of NEAR_TRACKING with which the server doesn't broadcast.
PLAIN_TRACKING = "plain"


@dataclass(frozen=True, kw_only=True)
class AliasConfig:
    """One alias of `REDISDICT`, checked: a field for each of its keys, with their defaults.

    `location` and `options` may hold a password, so they stay out of the repr.
    """

    alias: str
    #: The setting that has it: errors name it.
    setting: str = "REDISDICT"
    location: str | None = field(default=None, repr=False)
    cache: str | None = None
    pool_class: str = "redisdict.pools.BlockingConnectionPool"
    async_pool_class: str = "redisdict.pools.OptimizedAsyncConnectionPool"
    options: Options = field(default_factory=dict, repr=False, hash=False)
    key_prefix: str = "redisdict"
    timeout: float | None = None
    serializer: str = "msgpack"
    compressor: str | None = None
    retry_for: float | None = None
    durable: str | None = None
    tracer: str | None = None
    scope: str | None = None
    near_max_bytes: int = 64 * 1024 * 1024
    near_max_items: int = 100_000
    near_lease: float = 0.05
    near_tracking: str = "auto"

    @property
    def where(self) -> str:
        """Its name in errors."""
        return f"{self.setting}[{quoted(self.alias)}]"


#: The keys of one alias, with the value each has when it isn't given.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        name.upper(): value
        for name, value in vars(AliasConfig(alias=DEFAULT_ALIAS)).items()
        if name not in ("alias", "setting")
    }
)


#: Keys of other packages' settings, and where they belong here.
ELSEWHERE: Mapping[object, str] = MappingProxyType(
    {
        "BACKEND": "that is a key of CACHES; the scheme of LOCATION says what the server is",
        "ENGINE": "the scheme of LOCATION says what the server is",
        "URL": 'it is called "LOCATION" here',
        **dict.fromkeys(
            ("HOST", "PORT", "DB", "USER", "USERNAME"),
            'it stands in LOCATION, "redis://USER:PASSWORD@HOST:PORT/DB"',
        ),
        "PASSWORD": 'it stands in LOCATION or in OPTIONS, as "password"',
        "MAX_CONNECTIONS": 'it stands in OPTIONS, as "max_connections"',
        "SOCKET_TIMEOUT": 'it stands in OPTIONS, as "socket_timeout"',
        "PREFIX": 'it is called "KEY_PREFIX" here',
    }
)


def parse_alias(alias: str, values: Mapping[str, Any], setting: str = "REDISDICT") -> AliasConfig:
    """Check the values of one alias.

    Args:
        setting: where the values stand, as errors call it.

    Raises:
        ConfigurationError: an unknown key, a value of the wrong type, both or neither of
            `LOCATION` and `CACHE`.
    """
    if not isinstance(alias, str):
        raise ConfigurationError(
            f"{setting} has the alias {described(alias)} ({type(alias).__name__}); a name is"
            f' expected, such as "{DEFAULT_ALIAS}".'
        )
    if "://" in alias:
        raise ConfigurationError(
            f"{setting} has an address in place of an alias; a name is expected, such as"
            f' "{DEFAULT_ALIAS}", with the address in "LOCATION" of its dict.'
        )
    where = f"{setting}[{quoted(alias)}]"
    with telling_of(where):
        return _parse_alias(alias, values, setting, where)


def _parse_alias(alias: str, values: Mapping[str, Any], setting: str, where: str) -> AliasConfig:
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{where} is {type(values).__name__}; a dict is expected.")
    for key in values:
        if key not in DEFAULTS:
            hint = f"; {ELSEWHERE[key]}." if key in ELSEWHERE else known_instead(key, DEFAULTS)
            raise ConfigurationError(f"{where} has the unknown key {described(key)}{hint}")
    given = {**DEFAULTS, **values}
    for key in ("LOCATION", "CACHE", "COMPRESSOR", "TRACER", "SCOPE"):
        _check(where, key, given[key], (str, type(None)), "a string or None")
    for key in ("POOL_CLASS", "ASYNC_POOL_CLASS", "KEY_PREFIX", "SERIALIZER"):
        _check(where, key, given[key], (str,), "a string")
    given |= {key: plain_text(value) for key, value in given.items() if _is_text(value)}
    _check(where, "OPTIONS", given["OPTIONS"], (Mapping,), "a dict of pool options")
    _check_timeout(where, given["TIMEOUT"])
    _check_retry_for(where, given["RETRY_FOR"])
    check_durable(f'{where}["DURABLE"]', given["DURABLE"])
    for key in ("NEAR_MAX_BYTES", "NEAR_MAX_ITEMS"):
        check_limit(f'{where}["{key}"]', given[key])
    _check_near_lease(where, given["NEAR_LEASE"])
    _check_near_tracking(where, given["NEAR_TRACKING"])
    _check_source(where, values)
    given["OPTIONS"] = MappingProxyType(dict(given["OPTIONS"]))
    return AliasConfig(
        alias=alias, setting=setting, **{key.lower(): value for key, value in given.items()}
    )


def get_alias(alias: str) -> AliasConfig:
    """Return the checked configuration of `alias`.

    Without a `REDISDICT` setting, `default` borrows `CACHES["default"]` when that is a
    django-redis cache.

    Raises:
        ConfigurationError: no such alias, or its values are wrong.
    """
    try:
        return _parsed[alias]
    except KeyError:
        pass
    config = parse_alias(alias, _values(alias))
    _parsed[alias] = config
    return config


def aliases() -> tuple[str, ...]:
    """List the names of all configured aliases."""
    configured = _setting()
    if configured:
        return tuple(configured)
    return (DEFAULT_ALIAS,) if _is_django_redis(DEFAULT_ALIAS) else ()


def check_durable(where: str, durable: object) -> None:
    """Refuse a value that isn't a guarantee of writes.

    Raises:
        ConfigurationError: it is something else than None, "aof" or "replicas".
    """
    if durable is not None and not is_one_of(durable, GUARANTEES):
        raise ConfigurationError(
            f'{where} is {described(durable)}; "aof" (a write returns when it is on the server\'s'
            ' disk), "replicas" (when a replica has it) or None is expected.'
        )


def check_limit(where: str, limit: object) -> None:
    """Refuse a value that can't be a limit of memory.

    Raises:
        ConfigurationError: it isn't an int above 0.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigurationError(
            f"{where} is {described(limit)}; an int above 0 is expected: how much of one dict or"
            " cache a process keeps in its memory at most."
        )


def _check_near_lease(where: str, lease: object) -> None:
    if not SHORTEST_NEAR_LEASE_S <= _number(lease) <= LONGEST_NEAR_LEASE_S:
        raise ConfigurationError(
            f'{where}["NEAR_LEASE"] is {described(lease)}; seconds from {SHORTEST_NEAR_LEASE_S}'
            f" to {LONGEST_NEAR_LEASE_S:.0f} are expected: how long a writer of a ModelDict with"
            ' near="strict" waits at most for a process that may serve the row.'
        )


def _check_near_tracking(where: str, tracking: object) -> None:
    if not is_one_of(tracking, ("auto", PLAIN_TRACKING)):
        raise ConfigurationError(
            f'{where}["NEAR_TRACKING"] is {described(tracking)}; "auto" (the server sends messages'
            ' about all keys, if it can) or "plain" (only about keys that were read) is expected.'
        )


def import_object(where: str, path: str) -> Any:
    """Import the object that a setting names by its dotted path.

    Raises:
        ConfigurationError: it can't be imported, whatever the module of it raises.
    """
    try:
        return import_string(path)
    except Exception as error:
        raise ConfigurationError(
            f"{where} is {described(path)}, which can't be imported: {reason_of(error)}"
        ) from error


@contextmanager
def read_setting(name: str, default: object) -> Iterator[Any]:
    """Pass a setting to a block that checks it; `telling_of()` adds its name to errors."""
    with telling_of(name):
        yield getattr(settings, name, default)


def refuse_unknown(where: str, values: object, known: Collection[str], example: str) -> None:
    """Refuse a value that isn't a dict, or that has other keys than these.

    Args:
        example: the end of the error's sentence about what is expected.

    Raises:
        ConfigurationError: it isn't a dict, or has another key.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"{where} is {type(values).__name__}; a dict is expected, {example}."
        )
    for name in values:
        if name not in known:
            hint = known_instead(name, known)
            raise ConfigurationError(f"{where} has the unknown key {described(name)}{hint}")


@receiver(setting_changed)
def forget(*, setting: str = "REDISDICT", **_: Any) -> None:
    """Read the settings again at the next use; `override_settings` has this called."""
    if setting in ("REDISDICT", "CACHES"):
        _parsed.clear()


_parsed: dict[str, AliasConfig] = {}


def _setting() -> Mapping[str, Any]:
    with telling_of("REDISDICT"):
        configured = getattr(settings, "REDISDICT", None)
        is_mapping = isinstance(configured, Mapping)  # a lazy object is made by that
    if configured is None:
        return {}
    if not is_mapping:
        raise ConfigurationError(
            f"REDISDICT is {type(configured).__name__}; a dict of aliases is expected, such as "
            '{"default": {"LOCATION": "redis://127.0.0.1:6379/0"}}.'
        )
    aliases_by_name: Mapping[str, Any] = configured
    return aliases_by_name


def _values(alias: str) -> Mapping[str, Any]:
    configured = _setting()
    if alias in configured:
        values: Mapping[str, Any] = configured[alias]
        return values
    if not configured and alias == DEFAULT_ALIAS and _is_django_redis(DEFAULT_ALIAS):
        return {"CACHE": DEFAULT_ALIAS}
    if not configured:
        raise ConfigurationError(
            f"The alias {alias!r} is used, but the setting REDISDICT has no aliases"
            " (and CACHES['default'] isn't a django-redis cache to borrow)."
            f' Add REDISDICT = {{{quoted(alias)}: {{"LOCATION": "redis://127.0.0.1:6379/0"}}}}'
            ' to your settings; "embedded:///PATH" starts a server of its own.'
        )
    texts = sorted(plain_text(name) for name in configured if _is_text(name))
    names = [text if text.isprintable() else quoted(text) for text in texts]
    raise ConfigurationError(
        f"REDISDICT has no alias {alias!r}{did_you_mean(alias, configured) or '.'}"
        f" Configured: {', '.join(names) or 'none'}."
    )


def _is_django_redis(cache: str) -> bool:
    try:
        with read_setting("CACHES", None) as caches:
            entry = caches.get(cache) if isinstance(caches, Mapping) else None
            backend = entry.get("BACKEND") if isinstance(entry, Mapping) else None
            return bool(backend == "django_redis.cache.RedisCache")
    except ConfigurationError:
        return False  # the check of CACHES reports it


def _check(where: str, key: str, value: object, types: tuple[type, ...], expected: str) -> None:
    if not isinstance(value, types):
        raise ConfigurationError(
            f'{where}["{key}"] is {type(value).__name__}; {expected} is expected.'
        )


def _check_timeout(where: str, timeout: object) -> None:
    if timeout is not None and not 0 < _number(timeout) <= LONGEST_S:
        most = f", at most {LONGEST_S} (a thousand years)," if _number(timeout) > 0 else ""
        raise ConfigurationError(
            f'{where}["TIMEOUT"] is {described(timeout)}; seconds above 0{most} are expected, or'
            " None for ever."
        )


def _check_retry_for(where: str, seconds: object) -> None:
    if seconds is not None and not 0 <= _number(seconds) <= LONGEST_S:
        raise ConfigurationError(
            f'{where}["RETRY_FOR"] is {described(seconds)}; a number of seconds is expected, 0 for'
            " a single retry at once, or None for the default of the location."
        )


def is_one_of(value: object, known: Collection[str]) -> bool:
    """Return whether it is one of these names; another type than str isn't compared."""
    return isinstance(value, str) and value in known


def plain_text(text: str) -> str:
    """Make a plain str of a text that is lazy, or of an enumeration."""
    return text[:]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object) -> float:
    """Return a number unchanged; for anything else NaN, which is neither above nor below any."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _check_source(where: str, values: Mapping[str, Any]) -> None:
    location, cache = values.get("LOCATION"), values.get("CACHE")
    if not location and not cache:
        raise ConfigurationError(
            f'{where} names no server: add "LOCATION": "redis://127.0.0.1:6379/0", or "CACHE":'
            ' "default" to borrow the pool of a django-redis cache.'
        )
    if not cache:
        return
    for key in ("LOCATION", "POOL_CLASS", "OPTIONS"):
        if values.get(key):
            raise ConfigurationError(
                f'{where} has "CACHE" and "{key}"; the borrowed pool of CACHES["{cache}"]'
                f" has its own, so remove one of the two."
            )
