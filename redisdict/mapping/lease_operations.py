"""A value that is expensive to compute: computed by one, while the others wait or have the old."""

from __future__ import annotations

from typing import Any, TypeVar

from redisdict.connections.requests import Call, Operation, Sleep
from redisdict.mapping.item_operations import ItemOperations
from redisdict.mapping.layout import FOREVER
from redisdict.mapping.timeouts import Timeout, to_milliseconds

__all__ = ["LeaseOperations"]

K = TypeVar("K")
V = TypeVar("V")


class LeaseOperations(ItemOperations[K, V]):
    """`get_or_set()`: who has the lease of an item, a lock under its key, computes it."""

    def get_or_set(
        self, key: K, default: Any, timeout: Timeout, stale: float, lock_timeout: float
    ) -> Operation[Any]:
        field = self._encode_key(key)
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        stale_ms = _stale_ms(stale, timeout_ms)
        old, is_fresh = yield from self._look(field, stale_ms)
        if is_fresh:
            return self._decode(old)
        if timeout_ms is not None:
            timeout_ms += stale_ms
        if not callable(default):
            return (yield from self._keep(field, old, default, timeout_ms))
        token = self.locks.new_token()
        attempt = 0
        try:
            while not (yield from self.locks.try_acquire(field, token, lock_timeout)):
                if old is not None:
                    return self._decode(old)
                yield Sleep(self.locks.pause_s(attempt))
                attempt += 1
                old, is_fresh = yield from self._look(field, stale_ms)
                if is_fresh:
                    return self._decode(old)
            # The one who had the lease before may have stored it in between.
            old, is_fresh = yield from self._look(field, stale_ms)
            if is_fresh:
                result = self._decode(old)
            else:
                result = yield from self._keep(field, old, (yield Call(default)), timeout_ms)
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
        self, field: bytes, old: bytes | None, value: Any, timeout_ms: int | None
    ) -> Operation[Any]:
        """Store the value unless another is there by now; the one that is there."""
        new = self._encode(value)
        if timeout_ms == 0:
            return value
        if old is None:
            is_kept = yield from self.layout.add(field, new, timeout_ms)
        else:
            is_kept = yield from self.layout.compare_and_set(field, old, new)
            if is_kept:
                yield from self.layout.touch(field, timeout_ms)
        if is_kept:
            return value
        stored = yield from self.layout.get(field)
        return value if stored is None else self._decode(stored)


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
