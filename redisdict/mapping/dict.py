"""`PersistentDict`, the mapping whose items live on a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from redisdict.conf import DEFAULT_ALIAS
from redisdict.connections.backend import Backend
from redisdict.mapping.async_methods import AsyncMethods
from redisdict.mapping.sync_methods import SyncMethods

__all__ = ["PersistentDict"]

K = TypeVar("K")
V = TypeVar("V")


class PersistentDict(SyncMethods[K, V], AsyncMethods[K, V], Generic[K, V]):
    """A mapping whose items live on a Redis-compatible server.

    By purpose:

    - as a dict: `d[k]`, `d[k] = v`, `del d[k]`, `k in d`, `len`, iteration, views, `get`, `pop`,
      `popitem`, `setdefault`, `update`, `clear`, `copy`, `==`, `|`, `|=`
    - as a cache: `set`, `add`, `delete`, `touch`, `ttl`, `incr`, `decr`, `get_many`, `set_many`,
      `delete_many`, `get_or_set`, `expire`, `memory_usage`
    - safe changes of a value: `transform`, `compare_and_set`, `editing`, `lock`
    - parts of it, and ways in and out: `child`, `keys_matching`, `dump`, `load`, `clone_to`

    Each has an async twin with an `a` before its name; `async for` iterates.

    `d["a"]` is a fresh value each time: `d["a"]["b"] = 1` changes only that value, and nothing on
    the server. `with d.editing("a") as value: value["b"] = 1` stores the change.

    Args:
        name: any text. Dicts of different names never see one another's items, nor do two of
            one name in different layouts.
        using: an alias of the setting REDISDICT.
        hset_enabled: whether the dict is one HASH with an item a field, or an item is a string
            key of its own.
        timeout: seconds an item lives when nothing else is said; None means the alias's TIMEOUT.
        serializer, compressor: None means the alias's.
        key_type: `str`, `int`, `uuid.UUID`, `bytes` or a pair of functions (encode, decode). A key
            of another type is a TypeError.
        durable: "aof": a write returns when it is on the server's disk (WAITAOF: Redis 7.2,
            Valkey 8); "replicas": when all connected replicas have it (WAIT); None means the
            alias's DURABLE. One that isn't safe in time raises `NotDurable`. Where the server
            can't do that, nothing is written: `ServerUnsupported`; `NoReplica` without a replica.
        shards: spreads the items over so many slots of a Cluster, 2 to 1024, by the CRC-32 of their
            keys. What concerns many items goes to all nodes at once, and isn't atomic. With another
            number than the dict has, its first use raises `ConfigurationError`. None keeps all
            items in one slot, which is another dict than one of the same name in shards.

    Nothing is connected before the first use. Threads and tasks can share one. Pickling or copying
    gives another handle of the same dict; `copy()` gives its items.
    """

    # Without `key_type` the keys are str, for type checkers too.

    @overload
    def __init__(
        self: PersistentDict[str, V],
        name: str,
        using: str | Backend = ...,
        hset_enabled: bool = ...,
        timeout: float | None = ...,
        serializer: Any = ...,
        compressor: Any = ...,
        key_type: type[str] = ...,
        durable: str | None = ...,
        shards: int | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        using: str | Backend = ...,
        hset_enabled: bool = ...,
        timeout: float | None = ...,
        serializer: Any = ...,
        compressor: Any = ...,
        *,
        key_type: type[K] | tuple[Callable[[K], bytes], Callable[[bytes], K]],
        durable: str | None = ...,
        shards: int | None = ...,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        using: str | Backend = DEFAULT_ALIAS,
        hset_enabled: bool = True,
        timeout: float | None = None,
        serializer: Any = None,
        compressor: Any = None,
        key_type: Any = str,
        durable: str | None = None,
        shards: int | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name is {type(name).__name__}; a string is expected.")
        super().__init__(
            (name,), using, hset_enabled, timeout, serializer, compressor, key_type, durable, shards
        )

    @property
    def name(self) -> str:
        """The name it was given; that of a child stands after its parent's and a slash."""
        return "/".join(self._path)

    def __repr__(self) -> str:
        layout = "hash" if self._is_hash else "keys"
        if self._shards:
            layout += f", {self._shards} shards"
        alias = self._using if isinstance(self._using, str) else self._using.config.alias
        return f"<PersistentDict {self.name!r} on {alias!r} ({layout})>"
