"""Describe an exchange by OpenTelemetry's semantic conventions for database clients and Redis.

No attribute has a key or a value of a command: each argument is shown as a question mark.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from redisdict.connections.observation import Exchange
from redisdict.metrics.exchanges import name_of
from redisdict.wire.requests import Batch, Command

#: Characters of a statement, as the instrumentation of redis-py cuts it.
LONGEST_STATEMENT = 1000

_servers: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()


def server_attributes(server: Any) -> Mapping[str, Any]:
    """Return the attributes of the server: system, address, database. Cached."""
    found = _servers.get(server)
    if found is None:
        found = _servers[server] = _describe(server)
    return found


def _describe(server: Any) -> Mapping[str, Any]:
    attributes: dict[str, Any] = {"db.system.name": "redis", "redisdict.alias": server.config.alias}
    location = server.factory.location
    options = location.options
    if location.kind in ("tcp", "tls"):
        attributes["server.address"] = str(options["host"])
        attributes["server.port"] = int(options["port"])
    elif location.kind in ("unix", "embedded"):
        path = options.get("path") or location.path
        if path is not None:
            attributes["server.address"] = str(path)
    elif location.nodes:
        host, port = location.nodes[0]
        attributes["server.address"] = host
        attributes["server.port"] = port
    attributes["db.namespace"] = str(options.get("db") or 0)
    return attributes


def attributes_of(exchange: Exchange) -> dict[str, Any]:
    """Describe an exchange, without attributes that would make too many series."""
    attributes = dict(server_attributes(exchange.server))
    attributes["db.operation.name"] = name_of(exchange.request)
    if exchange.error is not None:
        attributes["error.type"] = error_type(exchange.error)
    return attributes


def error_type(error: BaseException) -> str:
    """Name an error: the class, with its module unless it is Python's own."""
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def statement_of(request: Command | Batch) -> str:
    """Write a request down without its keys and values: `HSET ? ? ?`, one line a command."""
    commands = request.commands if type(request) is Batch else (request,)
    lines, length = [], 0
    for command in commands:
        line = _line(command)
        lines.append(line)
        length += len(line) + 1
        if length > LONGEST_STATEMENT:
            break
    text = "\n".join(lines)
    return text if len(text) <= LONGEST_STATEMENT else text[: LONGEST_STATEMENT - 3] + "..."


def _line(command: Any) -> str:
    verb = command[0]
    name = verb.decode(errors="replace") if isinstance(verb, bytes) else str(verb)
    return name + " ?" * min(len(command) - 1, LONGEST_STATEMENT)


def pool_state(labels: Mapping[str, str]) -> dict[str, str]:
    """Name the labels of a pool's metric as the conventions do."""
    attributes = {"db.client.connection.pool.name": f"{labels['alias']}/{labels['mode']}"}
    if "state" in labels:
        attributes["db.client.connection.state"] = labels["state"]
    return attributes
