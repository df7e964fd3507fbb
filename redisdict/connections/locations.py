"""Parse `LOCATION` strings, by scheme."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from redis.connection import parse_url

from redisdict.conf import Options
from redisdict.exceptions import ConfigurationError
from redisdict.suggestions import nearest

#: Host and port.
Address: TypeAlias = tuple[str, int]

Kind = Literal["tcp", "tls", "unix", "sentinel", "cluster", "embedded"]

SCHEMES: Mapping[str, Kind] = {
    "redis": "tcp",
    "rediss": "tls",
    "unix": "unix",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
    "embedded": "embedded",
}


#: The hint in an error where a part of a password may stand in the wrong place.
ENCODING = "in a user or a password write / as %2F, ? as %3F, # as %23 and @ as %40"


@dataclass(frozen=True, kw_only=True)
class Location:
    """The location of a server, or a group of servers.

    `options` are arguments of redis-py's connection (host, port, path, db, username, password and
    what the query string adds); they may hold a password, so `str()` and the repr leave them out.
    """

    kind: Kind
    address: str
    options: Options = field(default_factory=dict, repr=False, hash=False)
    nodes: tuple[Address, ...] = ()
    service: str = ""
    node_options: Options = field(default_factory=dict, repr=False, hash=False)
    is_tls: bool = False
    path: Path | None = None

    def __str__(self) -> str:
        return self.address


def parse_location(url: str, setting: str = "LOCATION") -> Location:
    """Parse one `LOCATION`.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://HOST:PORT,…/SERVICE/DB`,
            `redis+cluster://HOST:PORT,…` or `embedded://PATH`.
        setting: how the place the text came from is called in an error.

    Raises:
        ConfigurationError: the scheme is unknown or a part is missing or malformed. The message
            never repeats the text, which may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        close = nearest(scheme, SCHEMES) if separator else None
        hint = f" Did you mean {close}://?" if close else ""
        got = f"the scheme {scheme!r}" if separator else "no scheme"
        raise ConfigurationError(f"{setting} has {got}; one of {known} is expected.{hint}")
    kind = SCHEMES[scheme]
    try:
        if kind == "embedded":
            return _embedded(rest)
        if kind in ("sentinel", "cluster"):
            return _several(kind, scheme, url)
        return _single(kind, url)
    except ValueError as error:
        raise ConfigurationError(f"{setting} ({scheme}://…) can't be read: {error}") from None


def _single(kind: Kind, url: str) -> Location:
    _check_url(kind, url)
    options: dict[str, Any] = dict(parse_url(url))
    options.pop("connection_class", None)
    database = options.get("db", 0)
    if kind == "unix":
        if not options.get("path"):
            raise ValueError("the path of the socket is missing, as in unix:///run/valkey.sock")
        address = f"unix://{options['path']}?db={database}"
    else:
        options.setdefault("host", "localhost")
        options.setdefault("port", 6379)
        scheme = "rediss" if kind == "tls" else "redis"
        address = f"{scheme}://{_host(options['host'])}:{options['port']}/{database}"
    return Location(kind=kind, address=address, options=options, is_tls=kind == "tls")


def _check_url(kind: Kind, url: str) -> None:
    """Refuse parts that redis-py would misread or ignore.

    What may be a piece of a password isn't repeated.
    """
    parts = urlsplit(url)
    _, _, host = parts.netloc.rpartition("@")
    if kind == "unix":
        if host:
            raise ValueError(
                "the path of the socket has to be absolute, with three slashes, as in"
                " unix:///run/valkey.sock"
            )
        return
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"the port isn't a number from 0 to 65535 ({ENCODING})") from None
    database = parts.path.strip("/")
    if (database and not (database.isascii() and database.isdigit())) or parts.fragment:
        got = repr(database) if database.isalnum() and not parts.fragment else "something else"
        raise ValueError(
            f"the part after the host is {got}, where the number of the database is expected, as"
            f" in redis://127.0.0.1:6379/0 ({ENCODING})"
        )


def _several(kind: Kind, scheme: str, url: str) -> Location:
    _, _, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    credentials, _, hosts = netloc.rpartition("@")
    # Without the hosts: since Python 3.11.12, 3.12.9 and 3.13.2, it refuses an IPv6 address among
    # several.
    parts = urlsplit(f"redis://{rest[len(netloc) :]}")
    default_port = 26379 if kind == "sentinel" else 6379
    nodes = tuple(_node(text.strip(), default_port) for text in hosts.split(",") if text.strip())
    if not nodes:
        raise ValueError("no host is given, as in HOST:PORT,HOST:PORT")
    is_tls = scheme.startswith("rediss")
    plain = f"redis://{credentials}@host/" if credentials else "redis://host/"
    options: dict[str, Any] = dict(parse_url(f"{plain}?{parts.query}" if parts.query else plain))
    options.pop("host", None)
    listed = ",".join(f"{_host(host)}:{port}" for host, port in nodes)
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    if kind == "cluster":
        if segments not in ([], ["0"]):
            raise ValueError("a cluster has only database 0, so leave the path out")
        address = f"{scheme}://{listed}"
        return Location(kind=kind, address=address, options=options, nodes=nodes, is_tls=is_tls)
    if not 1 <= len(segments) <= 2:
        raise ValueError("the path must be /SERVICE or /SERVICE/DB, as in /mymaster/0")
    if len(segments) == 2:
        if not segments[1].isdigit():
            raise ValueError(f"the database {segments[1]!r} isn't a number")
        options["db"] = int(segments[1])
    node_options = {
        name.removeprefix("sentinel_"): values[0]
        for name, values in parse_qs(parts.query).items()
        if name.startswith("sentinel_")
    }
    for name in node_options:
        options.pop(f"sentinel_{name}", None)
    return Location(
        kind=kind,
        address=f"{scheme}://{listed}/{segments[0]}/{options.get('db', 0)}",
        options=options,
        nodes=nodes,
        service=segments[0],
        node_options=node_options,
        is_tls=is_tls,
    )


def _embedded(rest: str) -> Location:
    if not rest:
        raise ValueError("the directory for the data is missing, as in embedded:///var/lib/shop")
    if "\0" in unquote(rest):
        raise ValueError("the directory has a NUL in its name")
    try:
        path = Path(unquote(rest)).expanduser()
    except RuntimeError as error:  # no such user
        raise ValueError(f"{error}") from None
    if not path.is_absolute():
        raise ValueError(
            f"the directory {str(path)!r} isn't absolute, so each process would look for it where"
            " it was started; write embedded:///var/lib/shop, with three slashes, or"
            " f\"embedded://{BASE_DIR / 'valkey'}\""
        )
    return Location(kind="embedded", address=f"embedded://{path}", path=path)


def _node(text: str, default_port: int) -> Address:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default_port)
    address = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if "[" in address or "]" in address:
        raise ValueError("the brackets of an IPv6 address don't match, as they do in [::1]:6379")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"the port of a host isn't a number from 1 to 65535 ({ENCODING})")
    return address, int(port)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
