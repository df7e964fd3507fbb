"""Check the OPTIONS of an alias or a cache by name, before they are used."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from redisdict.conf import Options
from redisdict.described import described
from redisdict.exceptions import ConfigurationError
from redisdict.suggestions import nearest

#: Whether dicts may read from replicas.
READ_FROM_REPLICAS = "read_from_replicas"

#: The zone of this process, in which replicas are preferred.
AVAILABILITY_ZONE = "availability_zone"

#: Translates the addresses that servers of a group announce to those to connect to.
ADDRESS_REMAP = "address_remap"

#: Whether the nodes that were found are asked where the slots are, or the location's alone.
DYNAMIC_STARTUP_NODES = "dynamic_startup_nodes"

#: Options that redis-py's connections don't have.
OWN_OPTIONS = frozenset(
    {READ_FROM_REPLICAS, AVAILABILITY_ZONE, ADDRESS_REMAP, DYNAMIC_STARTUP_NODES}
)

#: Options that belong to the pool itself; all others belong to its connections.
POOL_OPTIONS = frozenset({"max_connections", "timeout", "connection_class", "queue_class"})

#: Options whose value is never shown in an error.
SECRETS = frozenset({"password", "username", "ssl_password", "sentinel_password"})

_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


class _Kind(NamedTuple):
    """The kind of an option's values, and whether None is allowed."""

    is_right: Callable[[Any], bool]
    expected: str


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(least: int, most: float = float("inf")) -> Callable[[Any], bool]:
    """Return whether it is such an int, or one as text, which a server is sent the same."""

    def check(value: Any) -> bool:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return check


def _is_a(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _is_pair_of_ints(pair: tuple[Any, Any]) -> bool:
    return all(isinstance(number, int) for number in pair)


def _is_error_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


_SECONDS = _Kind(lambda value: _is_number(value) and 0 <= value < 1e9, "a number of seconds")
_BOOL = _Kind(_is_a(bool), "True or False")
_TEXT = _Kind(_is_a(str), "a text")
_FUNCTION = _Kind(callable, "a function")
_CLASS = _Kind(_is_a(type), "a class")

#: The options that redis-py has and that are checked, by what they may be.
KINDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), _SECONDS),
    **dict.fromkeys(("health_check_interval",), _SECONDS),
    **dict.fromkeys(
        ("retry_on_timeout", "decode_responses", "ssl_check_hostname", "socket_keepalive"), _BOOL
    ),
    **dict.fromkeys(("ssl_validate_ocsp", "ssl_validate_ocsp_stapled"), _BOOL),
    "legacy_responses": _BOOL,
    **dict.fromkeys(("host", "path", "username", "password", "client_name", "encoding"), _TEXT),
    **dict.fromkeys(("encoding_errors", "ssl_keyfile", "ssl_certfile", "ssl_ca_certs"), _TEXT),
    **dict.fromkeys(("ssl_ca_path", "ssl_password", "ssl_ciphers"), _TEXT),
    **dict.fromkeys(("connection_class", "parser_class"), _CLASS),
    "redis_connect_func": _FUNCTION,
    "queue_class": _FUNCTION,
    "max_connections": _Kind(
        lambda value: _is_whole(1)(value) and not isinstance(value, str),
        "a whole number of at least 1",
    ),
    "socket_read_size": _Kind(
        lambda value: _is_whole(1)(value) and not isinstance(value, str),
        "a whole number of at least 1",
    ),
    "db": _Kind(_is_whole(0), "the number of a database, from 0"),
    "port": _Kind(_is_whole(1, 65535), "a number from 1 to 65535"),
    "protocol": _Kind(lambda value: value in (2, 3, "2", "3"), "2 or 3"),
    "socket_keepalive_options": _Kind(
        lambda value: isinstance(value, Mapping) and all(map(_is_pair_of_ints, value.items())),
        "a dict of numbers, such as {socket.TCP_KEEPIDLE: 60}",
    ),
    "retry_on_error": _Kind(
        lambda value: isinstance(value, list | tuple) and all(map(_is_error_class, value)),
        "a list of classes of exceptions",
    ),
    "retry": _Kind(
        lambda value: hasattr(value, "call_with_retry"), "an object such as redis.retry.Retry"
    ),
    "credential_provider": _Kind(
        lambda value: hasattr(value, "get_credentials"),
        "an object such as redis.credentials.CredentialProvider",
    ),
}

#: Options that can't be None.
NEVER_NONE = frozenset({"decode_responses", "connection_class"})


def check_options(where: str, options: Options) -> None:
    """Refuse options that redis-py would accept now, and fail with when it connects.

    Args:
        where: how an error calls OPTIONS.

    Raises:
        ConfigurationError: a name is no text, or a value isn't of the kind that the option has.
    """
    for name, value in options.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise ConfigurationError(
                f"{where} has the key {described(name)}; the names of options are expected, such as"
                ' "max_connections".'
            )
        kind = KINDS.get(name)
        is_none = value is None and name not in NEVER_NONE
        if kind is None or is_none or kind.is_right(value):
            continue
        got = type(value).__name__
        if name not in SECRETS and isinstance(value, str | int | float):
            got = f"{described(value)} ({got})"
        expected = kind.expected + ("" if name in NEVER_NONE else ", or None,")
        raise ConfigurationError(f'{where}["{name}"] is {got}; {expected} is expected.')


def explain(error: Exception, where: str, options: Options, classes: tuple[type[Any], ...]) -> str:
    """Explain in terms of the settings why a pool or a connection can't be made.

    Args:
        where: how an error calls the entry of the settings.
        options: its OPTIONS; what isn't there comes from the query of its LOCATION.
        classes: those of the pool and of the connection, whose arguments are known.
    """
    unknown = _UNEXPECTED.search(str(error))
    if unknown is None:
        reason = " ".join(str(error).split()) or type(error).__name__
        return f'{where}["OPTIONS"] can\'t be used: {reason}'
    name = unknown[1]
    place = f'{where}["OPTIONS"]' if name in options else f'The query of {where}["LOCATION"]'
    close = nearest(name, {*_arguments(classes), *OWN_OPTIONS} - {name})
    hint = f"did you mean {close!r}?" if close else "remove it."
    return (
        f"{place} has the unknown option {name!r}, which neither the pool nor redis-py's"
        f" connections take; {hint}"
    )


def _arguments(classes: tuple[type[Any], ...]) -> set[str]:
    """Collect the names of arguments of the classes, and of all that they come from."""
    names: set[str] = set()
    for base in dict.fromkeys(base for each in classes for base in each.__mro__[:-1]):
        if "__init__" in vars(base):
            with suppress(TypeError, ValueError):  # of C
                names |= inspect.signature(vars(base)["__init__"]).parameters.keys()
    return names - {"self", "args", "kwargs", "connection_kwargs"}
