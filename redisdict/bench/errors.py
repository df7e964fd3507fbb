"""What goes wrong in a benchmark, apart from what the server client raises."""

from __future__ import annotations

from redis.exceptions import RedisError

from redisdict.exceptions import RedisDictError

__all__ = ["CELL_ERRORS", "SameServer", "UsageError", "WrongReply", "describe"]

#: What makes a cell or a service fail without ending the run.
CELL_ERRORS = (RedisError, RedisDictError, OSError)


class UsageError(RedisDictError):
    """The user asked for something that can't be done; the message says what to do instead."""


class SameServer(UsageError):
    """Two names stand for one server."""


class WrongReply(RedisDictError):
    """A server answered something else than what was stored; its figures are worth nothing."""


def describe(error: BaseException) -> str:
    """One line for a report: what went wrong, in words."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
