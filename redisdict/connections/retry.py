"""How long and how often a request that got no answer is tried again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from redisdict.connections.failures import is_worth_a_retry, unavailable
from redisdict.wire.requests import Request

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["Attempts"]

#: The second retry waits this long at most, each further one twice as long, up to the longest.
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25

#: Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


class Attempts:
    """The attempts at one request, made after the first one has failed.

    The first retry follows at once, since most often it was an idle connection that the server
    had closed. Further ones follow until RETRY_FOR seconds are over, in pauses that grow and vary,
    so that many callers don't come back all together.
    """

    def __init__(self, backend: Backend, request: Request) -> None:
        self._backend = backend
        self._request = request
        self._deadline = time.monotonic() + backend.retry_for_s
        self._pause_s = 0.0

    def pause_after(self, error: Exception, *, was_sent: bool) -> float:
        """Seconds to wait before the next attempt.

        Args:
            error: what the last attempt ended with.
            was_sent: whether the server may have carried the request out.

        Raises:
            BackendUnavailable: there is to be no further attempt.
        """
        pause_s = self._pause_s
        if pause_s:
            pause_s *= _random.uniform(0.5, 1)
        is_late = pause_s > 0 and time.monotonic() + pause_s > self._deadline
        if is_late or not is_worth_a_retry(self._request, error, was_sent=was_sent):
            raise unavailable(self._backend, self._request, error, was_sent=was_sent) from error
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) or FIRST_PAUSE_S
        return pause_s
