"""Decide whether and when a failed request is sent again, and which error it raises otherwise.

The rules are the same for threads and tasks, for single servers and for the nodes of a Cluster.
Nothing here waits, sends or reads.
"""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Generator
from typing import NamedTuple, NoReturn, Protocol

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    MaxConnectionsError,
    ReadOnlyError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.conf import AliasConfig
from redisdict.exceptions import BackendUnavailable
from redisdict.pools.fast_connection import NotSentError
from redisdict.wire.requests import Batch, Once, Request

#: What redis-py and the operating system raise when a server can't be reached, hangs up, or sends
#: what isn't a reply.
LOST = (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError)

#: Errors after which an attempt has failed, including the refusal of a former primary.
FAILED = (ReadOnlyError, *LOST)

#: Errors that a second attempt can't avoid, unless it has other credentials.
FINAL = (AuthenticationError, MaxConnectionsError)

#: With these a server refuses the whole request: a primary that has become a replica (redis-py's
#: Sentinel connections raise an error of their own in place of that), and one that still loads.
REFUSED = (ReadOnlyError, BusyLoadingError)

#: The operating system's errors where no server listens at an address, or there is no such address.
NOBODY_THERE = (ConnectionRefusedError, FileNotFoundError, socket.gaierror)

#: The second retry waits this long at most, each further one twice as long, up to the longest.
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25

#: Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


#: How often an alias's requests were sent again since the process's start, and were given up.
retried: Counter[str] = Counter()
given_up: Counter[str] = Counter()


class Server(Protocol):
    """The properties of a server, or group of servers, that the rules need."""

    config: AliasConfig

    @property
    def address(self) -> str: ...

    @property
    def retry_for_s(self) -> float: ...

    @property
    def has_credential_provider(self) -> bool: ...


class Failure(NamedTuple):
    """The end of an attempt at a request without a reply.

    Attributes:
        may_be_done: whether the server may have carried the request out, or a part of it.
    """

    error: Exception
    may_be_done: bool

    @classmethod
    def of(
        cls, request: Request, error: Exception, *, is_sent: bool, is_begun: bool = False
    ) -> Failure:
        """Classify an error of a request.

        Args:
            is_sent: whether all of the request had left, as far as the driver knows.
            is_begun: whether a connection was there to send a part of it.
        """
        has_parts = (
            isinstance(request, Batch) and not request.is_atomic and len(request.commands) > 1
        )
        if is_sent and not isinstance(error, NotSentError):
            was_refused = isinstance(error, REFUSED) or isinstance(error.__context__, REFUSED)
            return cls(error, has_parts or not was_refused)
        return cls(error, is_begun and has_parts)


def check_retry(server: Server, request: Request, failure: Failure) -> None:
    """Refuse a retry that can't help, or that could repeat something that must happen once.

    Raises:
        BackendUnavailable: there is to be none.
    """
    may_repeat = not failure.may_be_done or _is_repeatable(request)
    is_final = isinstance(failure.error, FINAL) and not _may_have_expired(server, failure.error)
    if is_final or not may_repeat:
        _give_up(server, request, failure)


def retries(server: Server, request: Request, failure: Failure) -> Generator[float, Failure, None]:
    """Yield the seconds to wait before each further attempt; it is sent how that one has failed.

    The first follows at once, since most often it was an idle connection that the server had
    closed. Further ones follow until RETRY_FOR seconds are over, in pauses that grow and vary, so
    that many callers don't come back all together.

    If the server refuses credentials of a provider, one attempt follows at once, whatever RETRY_FOR
    is: the token may have expired on its way from the provider to the server.

    Raises:
        BackendUnavailable: there is to be no further attempt.
    """
    deadline = time.monotonic() + server.retry_for_s
    pause_s = longest_s = 0.0
    has_new_credentials = False
    while True:
        check_retry(server, request, failure)
        if _may_have_expired(server, failure.error):
            if has_new_credentials:
                _give_up(server, request, failure)
            has_new_credentials, pause_s = True, 0.0
        if pause_s and time.monotonic() + pause_s > deadline:
            _give_up(server, request, failure)
        retried[server.config.alias] += 1
        failure = yield pause_s
        longest_s = min(2 * longest_s, LONGEST_PAUSE_S) or FIRST_PAUSE_S
        pause_s = longest_s * _random.uniform(0.5, 1)


def _may_have_expired(server: Server, error: Exception) -> bool:
    """Whether the server refused credentials that a provider may have replaced meanwhile."""
    return server.has_credential_provider and isinstance(error, AuthenticationError)


def _is_repeatable(request: Request) -> bool:
    """Whether sending the request twice does what sending it once does."""
    return request.is_repeatable if isinstance(request, Batch) else not isinstance(request, Once)


def _give_up(server: Server, request: Request, failure: Failure) -> NoReturn:
    """Raise the error for the caller. It names the alias and the address, never a password."""
    given_up[server.config.alias] += 1
    text = f"The server of {server.config.where} ({server.address}) is unavailable: {failure.error}"
    is_unknown = failure.may_be_done and not _is_repeatable(request)
    if is_unknown:
        text += (
            " The command had been sent already, so whether the server carried it out is unknown;"
            " it was not sent again, because it might count twice."
        )
    error = BackendUnavailable(text, outcome_unknown=is_unknown)
    if isinstance(failure.error.__context__, NOBODY_THERE):
        error.add_note(
            f"Check that a server runs there, and the address in {server.config.where}."
            ' With "embedded:///PATH" as its LOCATION, a server is started for you.'
        )
    raise error from failure.error
