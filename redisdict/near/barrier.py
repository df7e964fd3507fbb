"""Mark the beginning of a request for `near="request"`.

Under that promise a read gives no value that was replaced before its request began. A context
variable has the current request, so threads and tasks each have their own, and tasks inherit it
from the task that starts them. When the block ends nothing more is served under it, not even to a
task that goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from redisdict.near.clock import clock

#: The start of a request that never began, or is over: no watermark comes that far.
NO_REQUEST: Final = float("inf")


class _Barrier:
    """One request, task or block, by the time at which it began."""

    __slots__ = ("start",)

    def __init__(self, start: float) -> None:
        self.start = start


_current: ContextVar[_Barrier | None] = ContextVar("redisdict_near_barrier", default=None)


@contextmanager
def near_barrier() -> Iterator[None]:
    """Begin a request for all dicts with `near="request"`, of every alias, that the block reads.

    In the block such a dict gives no value that was replaced before the block began. The first
    read that memory could answer costs a PING for its alias, which concurrent blocks share if it
    is sent after their start; a block without such reads sends nothing. A block inside another
    begins a request of its own.

    `redisdict.near.middleware.NearMiddleware` does this for every HTTP request. Use it yourself in
    tasks of a queue, in management commands, and in loops that run for long.
    """
    barrier = _Barrier(clock())
    token = _current.set(barrier)
    try:
        yield
    finally:
        barrier.start = NO_REQUEST
        _current.reset(token)


def start_of_request() -> float:
    """Return when the current request began, by `clock()`; `NO_REQUEST` outside of any."""
    barrier = _current.get()
    return NO_REQUEST if barrier is None else barrier.start
