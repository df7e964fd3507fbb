"""One item of a dict, as a `dict` has it: read, store, remove, take out."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast, overload

from redisdict.exceptions import DeserializationError
from redisdict.mapping.bound import ABSENT
from redisdict.mapping.bulk import BulkMethods
from redisdict.mapping.timeouts import DEFAULT, Timeout
from redisdict.wire.requests import Operation, Step

__all__ = ["MappingMethods"]

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
        """The value of `key`, or a KeyError. HGET or GET."""
        stored = self._do(self._layout.get(self._field_of(key)))
        if stored is None:
            raise KeyError(key)
        value: V = self._codec.decode(stored)
        return value

    async def agetitem(self, key: K) -> V:
        """As `d[key]`, with its KeyError."""
        step = self._layout.get(self._field_of(key))
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        if reply is None:
            raise KeyError(key)
        value: V = self._codec.decode(reply)
        return value

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | T) -> V | T: ...
    def get(self, key: K, default: Any = None) -> Any:
        """The value of `key`, or `default`. HGET or GET."""
        stored = self._do(self._layout.get(self._field_of(key)))
        return default if stored is None else self._codec.decode(stored)

    @overload
    async def aget(self, key: K, default: None = None) -> V | None: ...
    @overload
    async def aget(self, key: K, default: V | T) -> V | T: ...
    async def aget(self, key: K, default: Any = None) -> Any:
        """As `get()`."""
        step = self._layout.get(self._field_of(key))
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        return default if reply is None else self._codec.decode(reply)

    def __contains__(self, key: object) -> bool:
        """Whether there is such an item. HEXISTS or EXISTS."""
        return bool(self._do(self._layout.contains(self._field_of(cast(K, key)))))

    async def acontains(self, key: object) -> bool:
        """As `key in d`."""
        step = self._layout.contains(self._field_of(cast(K, key)))
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        return bool(reply)

    # Store

    def _set_step(self, key: K, value: V, timeout: Timeout) -> Step[Any]:
        field = self._field_of(key)
        stored = self._codec.encode(value)
        timeout_ms = self._default_ms if timeout is DEFAULT else self._milliseconds(timeout)
        if timeout_ms == 0:
            return self._layout.delete(field)
        return self._layout.set(field, stored, timeout_ms)

    def __setitem__(self, key: K, value: V) -> None:
        """Store a value for as long as the dict's timeout says. HSET or SET."""
        self._do(self._set_step(key, value, DEFAULT))

    def set(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        """Store a value for `timeout` seconds, None for ever. HSET, a script for a time, or SET.

        A time of 0 or less is over already: nothing is kept.
        """
        self._do(self._set_step(key, value, timeout))

    async def aset(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        """As `set()`."""
        step = self._set_step(key, value, timeout)
        reply = await self._send(step)
        if isinstance(reply, Exception):
            await self._recover(step, reply)

    def _setdefault_operation(self, key: K, default: V) -> Operation[V]:
        field = self._field_of(key)
        new = self._codec.encode(default)
        while True:
            stored = yield from self._layout.get(field).begin()
            if stored is not None:
                value: V = self._codec.decode(stored)
                return value
            if (yield from self._layout.add(field, new, self._default_ms)):
                return default

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        """The value of `key`, stored first when it isn't there: by one of several callers.

        HGET and HSETNX, or GET and SET NX.
        """
        return self._run(self._setdefault_operation(key, default))

    async def asetdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        """As `setdefault()`."""
        return await self._arun(self._setdefault_operation(key, default))

    # Remove

    def __delitem__(self, key: K) -> None:
        """Remove an item, or a KeyError. HDEL or DEL."""
        if not self._do(self._layout.delete(self._field_of(key))):
            raise KeyError(key)

    async def adelitem(self, key: K) -> None:
        """As `del d[key]`, with its KeyError."""
        if not await self.adelete(key):
            raise KeyError(key)

    def delete(self, key: K) -> bool:
        """Remove an item; whether it was there. HDEL or DEL."""
        return bool(self._do(self._layout.delete(self._field_of(key))))

    async def adelete(self, key: K) -> bool:
        """As `delete()`."""
        step = self._layout.delete(self._field_of(key))
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        return bool(reply)

    # Take out

    def _pop_operation(self, key: K, default: Any) -> Operation[Any]:
        field = self._field_of(key)
        stored = yield from self._layout.pop(field)
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
        """Take an item out; of several takers one gets it. HGETDEL or GETDEL, elsewhere a script.

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
        pair = yield from self._layout.popitem()
        if pair is None:
            raise KeyError("popitem(): the dict is empty")
        return (yield from self._read_or_put_back(*pair))

    def popitem(self) -> tuple[K, V]:
        """Take any item out; of several takers one gets it. A script, or SCAN and GETDEL.

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

        It then lives as long as the dict's timeout says. One that somebody else has stored
        meanwhile stays.
        """
        try:
            return self._key_codec.decode(field), self._codec.decode(stored)
        except DeserializationError:
            yield from self._layout.add(field, stored, self._default_ms)
            raise
