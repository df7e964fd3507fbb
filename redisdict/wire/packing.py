"""Requests to bytes, and the replies to them put into their places."""

from __future__ import annotations

from hiredis import pack_command
from redis.exceptions import ReadOnlyError

from redisdict.wire.requests import Batch, Command, Reply

MULTI = pack_command(("MULTI",))
EXEC = pack_command(("EXEC",))


def pack(request: Command | Batch) -> bytes:
    """Make the bytes of a command or of a batch."""
    if not isinstance(request, Batch):
        packed: bytes = pack_command(request)  # type: ignore[arg-type]  # its stub has tuples of one
        return packed
    commands = [pack_command(command) for command in request.commands]  # type: ignore[arg-type]  # as above
    if request.is_atomic:
        commands = [MULTI, *commands, EXEC]
    if request.wait is not None:
        commands.append(pack_command(request.wait.command))  # type: ignore[arg-type]  # as above
    return b"".join(commands)


def reply_count(request: Command | Batch) -> int:
    """Count the replies that the server gives to a request."""
    if not isinstance(request, Batch):
        return 1
    return len(request.commands) + 2 * request.is_atomic + (request.wait is not None)


def unwrap(request: Command | Batch, replies: list[Reply]) -> Reply:
    """Give the reply to a command, or those to a batch's own commands (what EXEC gives).

    In place of those to a batch the refusal of a primary that has become a replica meanwhile.
    """
    if not isinstance(request, Batch):
        return replies[0]
    for reply in replies:
        if isinstance(reply, ReadOnlyError):
            return reply
    if request.wait is None:
        return replies[-1] if request.is_atomic else replies
    *own, waited = replies
    return own[-1] if request.is_atomic else own, waited
