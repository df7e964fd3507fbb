"""Run one computation of `get_or_set()`: who computes, what is served meanwhile, what is stored.

The lease is a lock under the item's key. Its holder computes, in the foreground or in the
background, and frees it; after a failure that no caller got as an error it stays for a pause.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final, NamedTuple

from redisdict.mapping.background import Colour, Job
from redisdict.mapping.bound import Bound
from redisdict.mapping.compute_options import DEFAULT_PAUSE_S, ComputeOptions
from redisdict.mapping.layouts.base import FOREVER
from redisdict.mapping.locks import Value
from redisdict.wire.requests import Call, Operation, Sleep

logger = logging.getLogger("redisdict.computation")


#: What has happened to computations of this process, for metrics: "computed", and of those that
#: didn't come to a value in time "soft_timeout" and "failed".
counted: Counter[str] = Counter()


class Unkept(Exception):
    """Raised by a function for a result that isn't to be kept; the old one is removed."""


class Found(NamedTuple):
    """The stored state of an item.

    Attributes:
        stored: its bytes; None if there is no item.
        fresh_ms: for how long it is still fresh; 0 or less if it is stale.
        ends_s: when it expires, by the monotonic clock.
    """

    stored: Any
    fresh_ms: float = math.inf
    ends_s: float = math.inf

    @property
    def is_fresh(self) -> bool:
        return self.stored is not None and self.fresh_ms > 0

    def is_due(self, options: ComputeOptions) -> bool:
        """Whether it is time to compute it again."""
        return self.stored is None or self.fresh_ms <= options.refresh_ms


NOTHING: Final = Found(None)


def look(bound: Bound[Any], field: bytes, options: ComputeOptions) -> Operation[Found]:
    """Read the stored value, and how fresh it is, in one round trip."""
    if not options.needs_time:
        return Found((yield from bound.layout.get(field).begin()))
    stored, left_ms = yield from bound.layout.get_with_ttl(field)
    if left_ms == FOREVER:
        return Found(stored)
    return Found(stored, left_ms - options.stale_ms, time.monotonic() + left_ms / 1000)


def keep(
    bound: Bound[Any], field: bytes, found: Found, value: Any, options: ComputeOptions
) -> Operation[tuple[Any, bytes]]:
    """Store a value unless another is there by now; give the one there is, and its bytes.

    An item that was removed since it was found stays removed; one that has expired is stored.
    """
    new = bound.codec.encode(value)
    lives_ms = options.lives_ms
    if lives_ms == 0:
        return value, new
    stored = found.stored
    if stored is not None:
        if (yield from bound.layout.compare_and_set(field, stored, new)):
            yield from bound.layout.touch(field, lives_ms)
            return value, new
        stored = yield from bound.layout.get(field).begin()
        if stored is None and time.monotonic() < found.ends_s:
            return value, new
    if stored is None:
        if (yield from bound.layout.add(field, new, lives_ms)):
            return value, new
        stored = yield from bound.layout.get(field).begin()
    return (value, new) if stored is None else (bound.codec.decode(stored), stored)


class Computation:
    """The computation of one item by one caller, and its course in the background.

    Args:
        default: gives the value.
        in_flight: what others in this process wait for, if it is this caller who resolves it.
    """

    def __init__(
        self,
        bound: Bound[Any],
        field: bytes,
        default: Any,
        options: ComputeOptions,
        in_flight: Value | None,
    ) -> None:
        self._bound = bound
        self._field = field
        self._default = default
        self._options = options
        self._in_flight = in_flight
        self._token = bound.locks.new_token()
        self._found = NOTHING
        self._value: Any = None
        self._stored: bytes | None = None
        #: Of a computation in the background: its error or None, unless the caller has left.
        self._ticket: Future[BaseException | None] = Future()

    def run(self, found: Found, colour: Colour) -> Operation[Any]:
        """Get a value for the caller: the computed one, another's, or the old one."""
        self._found = found
        is_job = False
        try:
            try:
                if not (yield from self._acquire()):
                    return self._old()
                if found.is_fresh or (found.stored is not None and self._has_soft_timeout):
                    is_job = yield Call(colour.start, (self._job(),))
                    if not is_job:  # too many: whoever reads it when it is gone computes it
                        yield from self._release()
                        return self._old()
            except GeneratorExit:
                raise  # the connection is lost; the lease goes with its time limit
            except BaseException:
                yield from self._release()
                raise
            if is_job:
                return (yield from self._wait(colour))
            return (yield from self._in_foreground())
        finally:
            if not is_job:
                self._resolve()

    @property
    def _has_soft_timeout(self) -> bool:
        return self._options.soft_timeout_s is not None

    def _acquire(self) -> Operation[bool]:
        """Get the lease, waiting for it if there is no value to be served; false if there is."""
        locks, field = self._bound.locks, self._field
        attempt = 0
        while not (yield from locks.try_acquire(field, self._token, self._options.lock_timeout_s)):
            if self._found.stored is None:
                self._found = yield from look(self._bound, field, self._options)
            if self._found.stored is not None:
                self._stored = self._found.stored
                return False
            if not (yield from locks.end_pause(field)):
                yield Sleep(locks.pause_s(attempt))
                attempt += 1
        return True

    def _in_foreground(self) -> Operation[Any]:
        try:
            value = yield from self._compute()
        except GeneratorExit:
            raise  # as above
        except BaseException as error:
            if not self._is_safe(error):
                yield from self._release()
                raise
            yield from self._pause(error)
            return self._old()
        yield from self._release()
        return value

    def _compute(self) -> Operation[Any]:
        """Get the value of who had the lease before, or compute it and keep it."""
        found = yield from look(self._bound, self._field, self._options)
        if not found.is_due(self._options):
            self._stored = found.stored
            return self._bound.codec.decode(found.stored)
        if found.stored is not None:
            self._found = found
        try:
            value = yield Call(self._default)
            counted["computed"] += 1
        except Unkept:
            if found.stored is not None:
                yield from self._bound.layout.delete(self._field).begin()
            raise
        value, self._stored = yield from keep(self._bound, self._field, found, value, self._options)
        return value

    # In the background

    def _job(self) -> Job:
        if self._found.is_fresh:
            self._ticket.cancel()  # nobody waits
        bound = self._bound
        return Job(
            begin=self._in_background,
            give_up=self._release,
            end=self._end,
            driver=bound.driver,
            async_driver=bound.async_driver,
        )

    def _wait(self, colour: Colour) -> Operation[Any]:
        """Wait for the computation in the background, but not for longer than the soft timeout."""
        ticket = self._ticket
        if not self._found.is_fresh:
            try:
                yield Call(colour.wait, (ticket, self._options.soft_timeout_s))
            except TimeoutError:
                counted["soft_timeout"] += 1
            finally:
                is_too_late = ticket.cancel()
            if not is_too_late:
                error = ticket.result()
                if error is None:
                    return self._value
                if not self._is_safe(error):
                    raise error
        return self._old()

    def _in_background(self) -> Operation[None]:
        # It may have waited for a thread, and has the whole time from here on.
        locks, limit_s = self._bound.locks, self._options.lock_timeout_s
        if not (yield from locks.extend(self._field, self._token, limit_s)):
            return  # it waited for too long, and another has taken over
        try:
            self._value = yield from self._compute()
        except (GeneratorExit, asyncio.CancelledError):
            raise  # for whoever does it next
        except BaseException as error:  # noqa: BLE001  # the caller's, or logged
            if isinstance(error, Unkept):
                self._tell(error)
            elif not self._tell(error) or self._is_safe(error):
                yield from self._pause(error)
                return
        else:
            self._tell(None)
        yield from self._release()

    def _end(self, error: BaseException | None) -> None:
        """Free those who wait; `error` is the server's, which has ended the operation."""
        self._resolve()
        if error is not None and (not self._tell(error) or self._is_safe(error)):
            self._log(error)

    def _tell(self, error: BaseException | None) -> bool:
        """Let the caller know how it ended, if it is still there."""
        try:
            self._ticket.set_result(error)
        except InvalidStateError:
            return False
        return True

    # What it ends with

    def _old(self) -> Any:
        return self._bound.codec.decode(self._found.stored)

    def _is_safe(self, error: BaseException) -> bool:
        """Whether the old value is served instead of an error."""
        return (
            self._options.fail_safe_s is not None
            and self._found.stored is not None
            and isinstance(error, Exception)
            and not isinstance(error, Unkept)
        )

    def _pause(self, error: BaseException) -> Operation[None]:
        """Log a failure, and keep others from trying again for some time."""
        self._log(error)
        pause_s = self._options.fail_safe_s or DEFAULT_PAUSE_S
        yield from self._bound.locks.pause(self._field, self._token, pause_s)

    def _log(self, error: BaseException) -> None:
        counted["failed"] += 1
        logger.error(
            "The value of %r couldn't be computed again; the old one is served.",
            self._field.decode(errors="replace"),
            exc_info=error,
        )

    def _release(self) -> Operation[Any]:
        return self._bound.locks.release(self._field, self._token)

    def _resolve(self) -> None:
        if self._in_flight is not None:
            self._bound.in_flight.resolve(self._field, self._in_flight, self._stored)
