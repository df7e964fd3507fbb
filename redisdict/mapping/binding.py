"""What ties a dict to the backend of its alias, at its first use and not before."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Awaitable
from typing import Any, Generic, Protocol, Self, TypeVar

from redisdict.codec import get_codec
from redisdict.conf import check_durable
from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names, check_shards, get_key_codec
from redisdict.mapping.layouts.sharded import make_layout
from redisdict.mapping.locks import LockOperations
from redisdict.mapping.operations import Operations
from redisdict.wire.requests import Operation, Step

__all__ = ["Binding"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Run(Protocol):
    """Runs an operation in the calling thread."""

    def __call__(self, operation: Operation[T]) -> T: ...


class Do(Protocol):
    """Does a step in the calling thread."""

    def __call__(self, step: Step[T]) -> T: ...


class Send(Protocol):
    """Begins a step in the running event loop: a reply or an error to come."""

    def __call__(self, step: Step[T]) -> Awaitable[T | Exception]: ...


class Recover(Protocol):
    """Does a step after its beginning has come to an error."""

    async def __call__(self, step: Step[T], error: Exception) -> T: ...


class AsyncRun(Protocol):
    """Runs an operation in the running event loop."""

    async def __call__(self, operation: Operation[T]) -> T: ...


_BOUND = ("_operations", "_run", "_arun", "_do", "_send", "_recover")

#: Every dict that is bound, by its id: it has to be bound anew when the settings change.
_bound: weakref.WeakValueDictionary[int, Binding[Any, Any]] = weakref.WeakValueDictionary()


class Binding(Generic[K, V]):
    """Holds what a dict was asked to be; makes its operations and finds its drivers when used."""

    _operations: Operations[K, V]
    _run: Run
    _arun: AsyncRun
    _do: Do
    _send: Send
    _recover: Recover

    def __init__(
        self,
        path: tuple[str, ...],
        using: str | Backend,
        hset_enabled: bool,
        timeout: float | None,
        serializer: Any,
        compressor: Any,
        key_type: Any,
        durable: str | None = None,
        shards: int | None = None,
    ) -> None:
        check_durable("durable", durable)
        check_shards(shards)
        self._path = path
        self._using = using
        self._is_hash = hset_enabled
        self._timeout = timeout
        self._serializer = serializer
        self._compressor = compressor
        self._key_type = key_type
        self._durable = durable
        self._shards = shards
        self._keys = get_key_codec(key_type)

    def __getattr__(self, name: str) -> Any:
        # Only reached while the dict isn't bound: afterwards the attributes are there.
        if name not in _BOUND:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        self._bind()
        return self.__dict__[name]

    # Pickles and copies are other handles of the same dict: what it was asked to be, no item.

    def __getstate__(self) -> dict[str, Any]:
        made_again = (*_BOUND, "_keys")
        return {name: value for name, value in self.__dict__.items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._keys = get_key_codec(self._key_type)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)

    def _bind(self) -> None:
        using = self._using
        backend = using if isinstance(using, Backend) else registry.get_backend(using)
        config = backend.config
        names = Names(config.key_prefix, self._path)
        self._operations = Operations(
            make_layout(
                names,
                backend.capabilities,
                is_hash=self._is_hash,
                shards=self._shards,
                shown_name=repr(self),
            ),
            self._keys,
            get_codec(self._serializer or config.serializer, self._compressor or config.compressor),
            LockOperations(names, names.of_shards(self._shards)),
            config.timeout if self._timeout is None else self._timeout,
        )
        driver, async_driver = backend.drivers_of_dicts(self._durable or config.durable)
        self._run, self._do = driver.run, driver.do
        self._arun = async_driver.run
        self._send, self._recover = async_driver.send, async_driver.recover
        _bound[id(self)] = self

    def _unbind(self) -> None:
        for name in _BOUND:
            self.__dict__.pop(name, None)


def _unbind_all() -> None:
    for mapping in list(_bound.values()):
        mapping._unbind()  # the module's own class
    _bound.clear()


registry.on_reset(_unbind_all)
