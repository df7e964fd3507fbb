"""A value that is expensive to compute: computed by one, while the others wait or have the old.

In this process they wait for a flight; among processes for a lease, a lock under the item's key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from redisdict.mapping.flights import Flights
from redisdict.mapping.item_operations import ItemOperations
from redisdict.mapping.layouts.base import FOREVER
from redisdict.mapping.timeouts import Timeout, to_milliseconds
from redisdict.wire.requests import Call, Operation, Sleep

__all__ = ["LeaseOperations"]

K = TypeVar("K")
V = TypeVar("V")


class LeaseOperations(ItemOperations[K, V]):
    """`get_or_set()`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._flights = Flights()

    def get_or_set(
        self,
        key: K,
        default: Any,
        timeout: Timeout,
        stale: float,
        lock_timeout: float,
        wait: Callable[..., Any],
    ) -> Operation[Any]:
        """The value that is there, or that of `default`; `wait` waits for a flight."""
        field = self._encode_key(key)
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        stale_ms = _stale_ms(stale, timeout_ms)
        lives_ms = None if timeout_ms is None else timeout_ms + stale_ms
        while True:
            old, is_fresh = yield from self._look(field, stale_ms)
            if is_fresh:
                return self._decode(old)
            if not callable(default):
                return (yield from self._keep(field, old, default, lives_ms))[0]
            flight, is_ours = self._flights.join(field)
            if is_ours:
                break
            if old is not None:
                return self._decode(old)
            try:
                stored = yield Call(wait, (flight, lock_timeout))
            except TimeoutError:
                break  # it may be the computation itself that asks for its own value
            if stored is not None:
                return self._decode(stored)
        stored = None
        try:
            value, stored = yield from self._compute(
                field, default, lives_ms, stale_ms, lock_timeout
            )
            return value
        finally:
            if is_ours:
                self._flights.land(field, stored)

    def _compute(
        self, field: bytes, default: Any, lives_ms: int | None, stale_ms: int, lock_timeout: float
    ) -> Operation[tuple[Any, bytes]]:
        """The value and its bytes, once the lease is ours or another has stored it."""
        token = self.locks.new_token()
        attempt = 0
        try:
            while not (yield from self.locks.try_acquire(field, token, lock_timeout)):
                old, is_fresh = yield from self._look(field, stale_ms)
                if old is not None:
                    return self._decode(old), old
                yield Sleep(self.locks.pause_s(attempt))
                attempt += 1
            # The one who had the lease before may have stored it in between.
            old, is_fresh = yield from self._look(field, stale_ms)
            if is_fresh:
                result = self._decode(old), old
            else:
                result = yield from self._keep(field, old, (yield Call(default)), lives_ms)
        except GeneratorExit:
            raise  # the connection is lost; the lease goes with its time limit
        except BaseException:
            yield from self.locks.release(field, token)
            raise
        yield from self.locks.release(field, token)
        return result

    def _look(self, field: bytes, stale_ms: int) -> Operation[tuple[Any, bool]]:
        """What is stored, and whether it is fresh."""
        stored = yield from self.layout.get(field)
        if stored is None or not stale_ms:
            return stored, stored is not None
        left_ms = yield from self.layout.ttl(field)
        return stored, left_ms == FOREVER or left_ms > stale_ms

    def _keep(
        self, field: bytes, old: bytes | None, value: Any, lives_ms: int | None
    ) -> Operation[tuple[Any, bytes]]:
        """Store the value unless another is there by now; the one that is there, and its bytes."""
        new = self._encode(value)
        if lives_ms == 0:
            return value, new
        if old is None:
            is_kept = yield from self.layout.add(field, new, lives_ms)
        else:
            is_kept = yield from self.layout.compare_and_set(field, old, new)
            if is_kept:
                yield from self.layout.touch(field, lives_ms)
        stored = None if is_kept else (yield from self.layout.get(field))
        return (value, new) if stored is None else (self._decode(stored), stored)


def _stale_ms(stale: float, timeout_ms: int | None) -> int:
    stale_ms = to_milliseconds(stale, None)
    if not stale_ms:
        return 0
    if not timeout_ms:
        raise ValueError(
            f"stale is {stale} s, but the item has no timeout after which it could be stale;"
            " give get_or_set() a timeout above 0."
        )
    return stale_ms
