"""Find the dict, and the key, that a command line names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import redis
from django.core.management.base import CommandError

from redisdict import conf
from redisdict.cli.arguments import HASH
from redisdict.cli.output import ExitStatus
from redisdict.connections.backend import Backend
from redisdict.connections.registry import get_backend, get_backend_of
from redisdict.exceptions import BackendUnavailable, RedisDictError
from redisdict.inspection.finding import find_dict, known_names, open_dict
from redisdict.inspection.literals import read_literal
from redisdict.inspection.names import parse_path, shown_path
from redisdict.mapping.catalog import FoundDict
from redisdict.mapping.dict import PersistentDict
from redisdict.mapping.keys import get_key_codec
from redisdict.suggestions import nearest

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The dict that a command is about.

    Attributes:
        is_there: whether something of it was found on the server, or its layout was given.
    """

    backend: Backend
    found: FoundDict
    mapping: PersistentDict[bytes, Any]
    is_there: bool = True

    @property
    def name(self) -> str:
        return shown_path(self.found.path)

    @property
    def layout(self) -> str:
        return layout_text(self.found)

    @property
    def where(self) -> str:
        """Name the dict in a sentence."""
        prefix = self.backend.config.key_prefix
        return (
            f"{self.name} ({self.layout}) of {self.backend.config.alias!r}, prefix {prefix!r},"
            f" on {self.backend.address}"
        )

    @property
    def described(self) -> dict[str, Any]:
        """The dict as JSON."""
        return {
            "using": self.backend.config.alias,
            "prefix": self.backend.config.key_prefix,
            **describe_dict(self.found),
        }


def describe_dict(found: FoundDict) -> dict[str, Any]:
    return {
        "name": shown_path(found.path),
        "path": list(found.path),
        "layout": HASH if found.is_hash else "keys",
        "shards": found.shards,
    }


def layout_text(found: FoundDict) -> str:
    text = HASH if found.is_hash else "keys"
    return text if found.shards is None else f"{text}, {found.shards} shards"


def choose(options: Options, *, must_exist: bool = True, field: bytes = b"") -> Chosen:
    """Find the dict of a command line.

    Args:
        must_exist: whether one that isn't on the server is an error; otherwise it is a new one.
        field: the key of an item that it may have.

    Raises:
        CommandError: it must exist and doesn't, or the options don't go together.
    """
    backend = backend_of(options["using"], options["prefix"])
    path = parse_path(options["name"])
    layout, shards = options["layout"], options["shards"]
    if layout is None and shards is not None:
        raise CommandError(f"--shards {shards} needs --layout hash or --layout keys with it.")
    if layout is not None:
        found = FoundDict(path, layout == HASH, shards or None)
        return Chosen(backend, found, open_dict(backend, found))
    looked_up = find_dict(backend, path, field)
    if looked_up is None and must_exist:
        raise CommandError(_missing(backend, path))
    found = looked_up or FoundDict(path, is_hash=True)
    return Chosen(backend, found, open_dict(backend, found), is_there=looked_up is not None)


def backend_of(using: str, prefix: str | None) -> Backend:
    """Return the backend of an alias, or one that differs from it in the prefix of its keys."""
    if prefix is None:
        return get_backend(using)
    config = replace(conf.get_alias(using), key_prefix=prefix)
    return get_backend_of(config, f"{using}\0{prefix}")


def field_of(key: str, *, is_literal: bool) -> bytes:
    """Make the bytes of a key, as a dict of such keys would.

    Raises:
        CommandError: it is no literal of a key.
    """
    if not is_literal:
        return get_key_codec(str).encode(key)
    try:
        value = read_literal(key)
        return get_key_codec(type(value)).encode(value)
    except (ValueError, RedisDictError) as error:
        reason = (
            str(error)
            if isinstance(error, ValueError)
            else f"a key is a str, an int, a UUID('…') or bytes, not a {type(value).__name__}"
        )
        raise CommandError(f"KEY is {key!r}, which can't be read: {reason}") from error


def status_of(error: Exception) -> ExitStatus:
    """Return the exit status of an error: a failed server, or an error of use."""
    is_server = isinstance(error, BackendUnavailable | redis.RedisError)
    return ExitStatus.FAILED_SERVER if is_server else ExitStatus.REFUSED


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _missing(backend: Backend, path: tuple[str, ...]) -> str:
    name = shown_path(path)
    known = known_names(backend)
    whole = shown_path(["/".join(path)])  # a name with a slash in it, given without its quotes
    close = whole if len(path) > 1 and whole in known else nearest(name, known)
    hint = f"; did you mean {close}?" if close else "."
    return (
        f"There is no dict {name} of {backend.config.alias!r} on {backend.address}{hint}"
        " `manage.py redisdict list` shows which there are."
    )
