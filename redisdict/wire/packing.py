"""Requests to bytes, for both drivers."""

from __future__ import annotations

from typing import Any

from hiredis import pack_command
from redis.exceptions import ReadOnlyError

from redisdict.wire.requests import Batch

__all__ = ["pack", "reply_count", "unwrap"]

MULTI = pack_command(("MULTI",))
EXEC = pack_command(("EXEC",))


def pack(request: Any) -> bytes:
    """The bytes of a command or of a batch."""
    if type(request) is not Batch:
        packed: bytes = pack_command(request)
        return packed
    commands: list[bytes] = [pack_command(command) for command in request.commands]  # type: ignore[arg-type]  # its stub has tuples of one
    if request.is_atomic:
        commands = [MULTI, *commands, EXEC]
    if request.wait is not None:
        commands.append(pack_command(request.wait.command))  # type: ignore[arg-type]  # as above
    return b"".join(commands)


def reply_count(batch: Batch) -> int:
    """How many replies the server gives to a batch."""
    return len(batch.commands) + (2 if batch.is_atomic else 0) + (batch.wait is not None)


def unwrap(batch: Batch, replies: list[Any]) -> Any:
    """The replies to the batch's own commands; of a transaction, those that EXEC gives.

    In place of them the refusal of a primary that has become a replica meanwhile.
    """
    for reply in replies:
        if isinstance(reply, ReadOnlyError):
            return reply
    if batch.wait is None:
        return replies[-1] if batch.is_atomic else replies
    *own, waited = replies
    return own[-1] if batch.is_atomic else own, waited
