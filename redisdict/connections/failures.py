"""What a lost connection means for a command, for both drivers."""

from __future__ import annotations

from typing import Any

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    MaxConnectionsError,
    ReadOnlyError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.exceptions import BackendUnavailable
from redisdict.wire.requests import Batch, Once, Request

__all__ = ["LOST", "is_worth_a_retry", "may_be_half_done", "unavailable", "was_refused"]

#: What redis-py and the operating system raise when a server can't be reached, hangs up, or sends
#: what isn't a reply.
LOST = (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError)

#: Those that a second attempt can't mend.
FINAL = (AuthenticationError, MaxConnectionsError)


def may_repeat(request: Request) -> bool:
    """Whether sending the request twice does what sending it once does."""
    if isinstance(request, Batch):
        return request.is_repeatable
    return not isinstance(request, Once)


def may_be_half_done(request: Request) -> bool:
    """Whether the server can have carried out a part of the request and not the rest."""
    return isinstance(request, Batch) and not request.is_atomic and len(request.commands) > 1


def was_refused(request: Request, error: BaseException) -> bool:
    """Whether the server refused the whole request, so that it wasn't carried out.

    A primary that has become a replica does (redis-py's Sentinel connections raise an error of
    their own in place of that), and a server that is still loading its data.
    """
    refusals = (ReadOnlyError, BusyLoadingError)
    is_refusal = isinstance(error, refusals) or isinstance(error.__context__, refusals)
    return is_refusal and not may_be_half_done(request)


def is_worth_a_retry(request: Request, error: BaseException, *, was_sent: bool) -> bool:
    """Whether the request may be tried once more on a fresh connection."""
    return not isinstance(error, FINAL) and (not was_sent or may_repeat(request))


def unavailable(
    backend: Any, request: Request | None, error: BaseException, *, was_sent: bool
) -> BackendUnavailable:
    """The error for the caller. It names the alias and the address, never a password."""
    text = f"The server of {backend.config.where} ({backend.address}) is unavailable: {error}"
    is_unknown = was_sent and request is not None and not may_repeat(request)
    if is_unknown:
        text += (
            " The command had been sent already, so whether the server carried it out is unknown;"
            " it was not sent again, for it would count twice."
        )
    return BackendUnavailable(text, outcome_unknown=is_unknown)
