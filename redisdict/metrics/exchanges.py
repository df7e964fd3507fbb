"""Derive the counts of one exchange with a server: its name, hits and misses, its error."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from redisdict.connections.observation import Exchange
from redisdict.wire.requests import Argument, Batch, Command

#: Commands whose reply is a value, or nil where there is none; and those with a list of such.
READS_ONE = frozenset({b"GET", b"HGET", b"GETEX", b"GETDEL"})
READS_MANY = frozenset({b"MGET", b"HMGET"})


@lru_cache(maxsize=1024)
def _text(verb: Argument) -> str:
    return verb.decode(errors="replace") if isinstance(verb, bytes) else str(verb)


def name_of(request: Command | Batch) -> str:
    """Name a request as OpenTelemetry's conventions for Redis do: `HGET`, `PIPELINE HSET`, `MULTI`.

    What is sent together has the name of its commands if they have the same one.
    """
    if type(request) is not Batch:
        return _text(request[0])
    if len(request.commands) == 1 and not request.is_atomic:
        return _text(request.commands[0][0])
    together = "MULTI" if request.is_atomic else "PIPELINE"
    verbs = {command[0] for command in request.commands}
    return f"{together} {_text(verbs.pop())}" if len(verbs) == 1 else together


def hits_and_misses(exchange: Exchange) -> tuple[int, int]:
    """Count the keys that were read by plain commands, and were there or not."""
    request, reply = exchange.request, exchange.reply
    if type(request) is not Batch:
        return _counted(request, reply)
    hits = misses = 0
    if type(reply) is list:
        for command, one in zip(request.commands, reply, strict=False):
            more = _counted(command, one)
            hits, misses = hits + more[0], misses + more[1]
    return hits, misses


def _counted(command: Any, reply: Any) -> tuple[int, int]:
    verb = command[0]
    if verb in READS_ONE:
        if reply is None:
            return 0, 1
        return (0, 0) if isinstance(reply, Exception) else (1, 0)
    if verb in READS_MANY and type(reply) is list:
        missing = reply.count(None)
        return len(reply) - missing, missing
    return 0, 0
