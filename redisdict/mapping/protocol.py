"""Read, store, remove and pop single items, with the methods of `dict`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast, overload

from redisdict.exceptions import DeserializationError
from redisdict.mapping.bound import ABSENT
from redisdict.mapping.bulk import BulkMethods
from redisdict.mapping.layouts.base import DEFAULT, Timeout
from redisdict.wire.requests import Operation, Step

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class MappingMethods(BulkMethods[K, V], Generic[K, V]):
    """`dict`'s methods with `dict`'s meaning.

    All of them raise `BackendUnavailable` when the server can't be reached or doesn't answer in
    time, TypeError for a key of another type than the dict's, `SerializationError` for a value
    that can't be stored and `DeserializationError` for stored bytes that can't be read.
    """

    # Read

    def __getitem__(self, key: K) -> V:
        """Get the value of `key`, or raise KeyError. HGET or GET."""
        bound = self._bound
        stored = bound.driver.do(bound.layout.get(bound.field_of(key)))
        if stored is None:
            raise KeyError(key)
        value: V = bound.codec.decode(stored)
        return value

    async def agetitem(self, key: K) -> V:
        """As `d[key]`, with its KeyError."""
        bound = self._bound
        step = bound.layout.get(bound.field_of(key))
        reply = await bound.async_driver.send(step)
        if isinstance(reply, Exception):
            reply = await bound.async_driver.recover(step, reply)
        if reply is None:
            raise KeyError(key)
        value: V = bound.codec.decode(reply)
        return value

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | T) -> V | T: ...
    def get(self, key: K, default: Any = None) -> Any:
        """Get the value of `key`, or `default`. HGET or GET."""
        bound = self._bound
        stored = bound.driver.do(bound.layout.get(bound.field_of(key)))
        return default if stored is None else bound.codec.decode(stored)

    @overload
    async def aget(self, key: K, default: None = None) -> V | None: ...
    @overload
    async def aget(self, key: K, default: V | T) -> V | T: ...
    async def aget(self, key: K, default: Any = None) -> Any:
        """As `get()`."""
        bound = self._bound
        step = bound.layout.get(bound.field_of(key))
        reply = await bound.async_driver.send(step)
        if isinstance(reply, Exception):
            reply = await bound.async_driver.recover(step, reply)
        return default if reply is None else bound.codec.decode(reply)

    def __contains__(self, key: object) -> bool:
        """Return whether there is such an item. HEXISTS or EXISTS."""
        bound = self._bound
        return bool(bound.driver.do(bound.layout.contains(bound.field_of(cast(K, key)))))

    async def acontains(self, key: object) -> bool:
        """As `key in d`."""
        bound = self._bound
        step = bound.layout.contains(bound.field_of(cast(K, key)))
        reply = await bound.async_driver.send(step)
        if isinstance(reply, Exception):
            reply = await bound.async_driver.recover(step, reply)
        return bool(reply)

    # Store

    def _set_step(self, key: K, value: V, timeout: Timeout) -> Step[Any]:
        bound = self._bound
        field = bound.field_of(key)
        stored = bound.codec.encode(value)
        timeout_ms = bound.default_ms if timeout is DEFAULT else bound.milliseconds(timeout)
        if timeout_ms == 0:
            return bound.layout.delete(field)
        return bound.layout.set(field, stored, timeout_ms)

    def __setitem__(self, key: K, value: V) -> None:
        """Store a value with the dict's timeout. HSET or SET."""
        self._bound.driver.do(self._set_step(key, value, DEFAULT))

    def set(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        """Store a value for `timeout` seconds, None for ever. HSET, a script for a time, or SET.

        With 0 or less the item expires at once: nothing is kept.
        """
        self._bound.driver.do(self._set_step(key, value, timeout))

    async def aset(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        """As `set()`."""
        bound = self._bound
        step = self._set_step(key, value, timeout)
        reply = await bound.async_driver.send(step)
        if isinstance(reply, Exception):
            await bound.async_driver.recover(step, reply)

    def _setdefault_operation(self, key: K, default: V) -> Operation[V]:
        bound = self._bound
        field = bound.field_of(key)
        new = bound.codec.encode(default)
        while True:
            stored = yield from bound.layout.get(field).begin()
            if stored is not None:
                value: V = bound.codec.decode(stored)
                return value
            if (yield from bound.layout.add(field, new, bound.default_ms)):
                return default

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        """Get the value of `key`; if it is missing, one of several callers stores `default` first.

        HGET and HSETNX, or GET and SET NX.
        """
        return self._run(self._setdefault_operation(key, default))

    async def asetdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        """As `setdefault()`."""
        return await self._arun(self._setdefault_operation(key, default))

    # Remove

    def __delitem__(self, key: K) -> None:
        """Remove an item, or raise KeyError. HDEL or DEL."""
        bound = self._bound
        if not bound.driver.do(bound.layout.delete(bound.field_of(key))):
            raise KeyError(key)

    async def adelitem(self, key: K) -> None:
        """As `del d[key]`, with its KeyError."""
        if not await self.adelete(key):
            raise KeyError(key)

    def delete(self, key: K) -> bool:
        """Remove an item; return whether it was there. HDEL or DEL."""
        bound = self._bound
        return bool(bound.driver.do(bound.layout.delete(bound.field_of(key))))

    async def adelete(self, key: K) -> bool:
        """As `delete()`."""
        bound = self._bound
        step = bound.layout.delete(bound.field_of(key))
        reply = await bound.async_driver.send(step)
        if isinstance(reply, Exception):
            reply = await bound.async_driver.recover(step, reply)
        return bool(reply)

    # Take out

    def _pop_operation(self, key: K, default: Any) -> Operation[Any]:
        bound = self._bound
        field = bound.field_of(key)
        stored = yield from bound.layout.pop(field)
        if stored is not None:
            return (yield from self._read_or_put_back(field, stored))[1]
        if default is ABSENT:
            raise KeyError(key)
        return default

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V | T) -> V | T: ...
    def pop(self, key: K, default: Any = ABSENT) -> Any:
        """Remove an item and return it; one of several callers gets it. HGETDEL, GETDEL, a script.

        Raises:
            KeyError: there is none, and no default is given.
            DeserializationError: it can't be read, and was put back.
        """
        return self._run(self._pop_operation(key, default))

    @overload
    async def apop(self, key: K) -> V: ...
    @overload
    async def apop(self, key: K, default: V | T) -> V | T: ...
    async def apop(self, key: K, default: Any = ABSENT) -> Any:
        """As `pop()`."""
        return await self._arun(self._pop_operation(key, default))

    def _popitem_operation(self) -> Operation[tuple[K, V]]:
        pair = yield from self._bound.layout.popitem()
        if pair is None:
            raise KeyError("popitem(): the dict is empty")
        return (yield from self._read_or_put_back(*pair))

    def popitem(self) -> tuple[K, V]:
        """Remove any item and return it; one of several callers gets it. A script, or SCAN, GETDEL.

        Raises:
            KeyError: the dict is empty.
            DeserializationError: it can't be read, and was put back.
        """
        return self._run(self._popitem_operation())

    async def apopitem(self) -> tuple[K, V]:
        """As `popitem()`."""
        return await self._arun(self._popitem_operation())

    def _read_or_put_back(self, field: bytes, stored: bytes) -> Operation[tuple[K, V]]:
        """Decode an item that was taken out; one that can't be read is stored again as it was.

        Its time to live is then the dict's timeout. An item that another client has stored
        meanwhile stays.
        """
        bound = self._bound
        try:
            return bound.key_codec.decode(field), bound.codec.decode(stored)
        except DeserializationError:
            yield from bound.layout.add(field, stored, bound.default_ms)
            raise
