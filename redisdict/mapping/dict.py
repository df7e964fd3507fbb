"""Define `PersistentDict`, the mapping whose items live on a server, and its options."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Self, TypeVar, overload

from redisdict.codec.codec import codec_of
from redisdict.conf import DEFAULT_ALIAS, check_durable
from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError
from redisdict.mapping.bound import Bound
from redisdict.mapping.cache import CacheMethods
from redisdict.mapping.changes import ChangeMethods
from redisdict.mapping.keys import Names, check_shards, get_key_codec
from redisdict.mapping.layouts.base import to_milliseconds
from redisdict.mapping.layouts.sharded import make_layout
from redisdict.mapping.locks import InFlight, LockOperations
from redisdict.mapping.near import NearBound, NearMethods, make_space
from redisdict.mapping.protocol import MappingMethods
from redisdict.mapping.transfer import TransferMethods
from redisdict.near.access import drivers_that_drop
from redisdict.near.reader import check_near
from redisdict.near.service import near_service, service_in_use
from redisdict.near.space import NearSpace, NearStats
from redisdict.public_names import name_methods

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, kw_only=True, slots=True)
class DictOptions:
    """The options of a dict, beside its name; `PersistentDict` describes each.

    Raises:
        TypeError, ValueError, ConfigurationError: one of them can't be used.
    """

    using: str | Backend
    hset_enabled: bool
    timeout: float | None
    serializer: Any
    compressor: Any
    key_type: Any
    durable: str | None
    shards: int | None
    near: float | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.using, str | Backend):
            raise TypeError(
                f"using is {type(self.using).__name__}; the name of an alias of REDISDICT is"
                " expected."
            )
        check_near("near", self.near)
        check_durable("durable", self.durable)
        check_shards(self.shards)
        get_key_codec(self.key_type)


class _FirstUse:
    """Binds a dict that isn't bound; in one that is, the instance has the attribute itself."""

    def __get__(self, mapping: PersistentDict[Any, Any], owner: type) -> Bound[Any]:
        return mapping._bind()


#: Every dict that is bound, by its id: it has to be bound anew when the settings change.
_bound: weakref.WeakValueDictionary[int, PersistentDict[Any, Any]] = weakref.WeakValueDictionary()


class PersistentDict(
    MappingMethods[K, V],
    CacheMethods[K, V],
    ChangeMethods[K, V],
    TransferMethods[K, V],
    Generic[K, V],
):
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
            alias's DURABLE. A write that isn't safe in time raises `NotDurable`. If the server
            can't guarantee it, nothing is written: `ServerUnsupported`, or `NoReplica`.
        shards: spreads the items over this many slots of a Cluster, 2 to 1024, by the CRC-32 of
            their keys. Operations on many items go to all nodes at once, and aren't atomic. Opened
            with another number than it has, a dict raises `ConfigurationError` at its first use.
            None keeps all items in one slot; that is another dict than one with shards.
        near: answers reads from this process's memory, which the server's messages keep right.
            Seconds: no read gives a value that was replaced longer ago than that when the read
            began. "request": none gives a value that was replaced before the current request or
            `near_barrier()` began.
            None: every read asks the server. docs/near.md has the promises, costs and limits.

    Nothing is connected before the first use. Threads and tasks can share one. Pickling or copying
    gives another handle of the same dict; `copy()` gives its items.
    """

    _bound = _FirstUse()

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
        near: float | str | None = ...,
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
        near: float | str | None = ...,
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
        near: float | str | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name is {type(name).__name__}; a string is expected.")
        self._path: tuple[str, ...] = (name,)
        self._options = DictOptions(
            using=using,
            hset_enabled=hset_enabled,
            timeout=timeout,
            serializer=serializer,
            compressor=compressor,
            key_type=key_type,
            durable=durable,
            shards=shards,
            near=near,
        )
        self._choose_class()

    def _choose_class(self) -> None:
        """Choose the class, so that dicts with `near` have their own methods for reads."""
        plain = _plain_class(type(self))
        kind = plain if self._options.near is None else _near_class(plain)
        if kind is not type(self):
            self.__class__ = kind

    @property
    def name(self) -> str:
        """The name it was given; a child's begins with its parent's name and a slash."""
        return "/".join(self._path)

    def __repr__(self) -> str:
        options = self._options
        layout = "hash" if options.hset_enabled else "keys"
        if options.shards:
            layout += f", {options.shards} shards"
        using = options.using
        alias = using if isinstance(using, str) else using.config.alias
        return f"<PersistentDict {self.name!r} on {alias!r} ({layout})>"

    def child(self, name: str) -> Self:
        """Make another dict with the same options, named `name` below this one's name.

        It is a dict of its own: neither sees the other's items, nor does `clear()` of one touch
        the other. Sends nothing to the server.
        """
        if not isinstance(name, str):
            raise TypeError(f"name is {type(name).__name__}; a string is expected.")
        child = copy.copy(self)
        child._path = (*self._path, name)
        return child

    # Pickles and copies are other handles of the same dict: what it was asked to be, no item.

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_bound", "_near")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_options" not in state:  # an older release has pickled it
            state = dict(state)
            state["_hset_enabled"] = state.pop("_is_hash")
            options = {name: state.pop(f"_{name}", None) for name in DictOptions.__slots__}
            state["_options"] = DictOptions(**options)
        elif not hasattr(state["_options"], "near"):  # so has the one before `near`
            old = state["_options"]
            options = {name: getattr(old, name, None) for name in DictOptions.__slots__}
            state = {**state, "_options": DictOptions(**options)}
        self.__dict__.update(state)
        self._choose_class()

    def __reduce__(self) -> tuple[Any, ...]:
        # By the class that a name leads to, also where `near` has made another of it.
        return _new_handle, (_plain_class(type(self)),), self.__getstate__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)

    def _bind(self) -> Bound[K]:
        """Find the backend, at the first use and again when the settings have changed."""
        options = self._options
        using = options.using
        backend = using if isinstance(using, Backend) else registry.get_backend(using)
        config = backend.config
        names = Names(config.key_prefix, self._path)
        drivers = backend.drivers_of_dicts(options.durable or config.durable)
        space = self._find_space(backend, names)
        driver, async_driver = (
            drivers if space is None else drivers_that_drop(drivers, space.access)
        )
        timeout = config.timeout if options.timeout is None else options.timeout
        bound: Bound[K] = Bound(
            layout=make_layout(
                names,
                backend.capabilities,
                is_hash=options.hset_enabled,
                shards=options.shards,
                shown_name=repr(self),
            ),
            key_codec=get_key_codec(options.key_type),
            codec=codec_of(config, options.serializer, options.compressor),
            default_ms=to_milliseconds(timeout, None),
            locks=LockOperations(names, backend.capabilities, names.of_shards(options.shards)),
            in_flight=InFlight(),
            driver=driver,
            async_driver=async_driver,
        )
        if space is not None and options.near is not None:
            self.__dict__["_near"] = NearBound(bound, space, options.near, drivers)
        self._bound = bound
        _bound[id(self)] = self
        return bound

    def _find_space(self, backend: Backend, names: Names) -> NearSpace | None:
        """Find this process's memory for the dict, of any handle; None if there is none."""
        options = self._options
        identity = (names.path, options.hset_enabled, options.shards)
        if options.near is None:
            service = service_in_use(backend)
            found: NearSpace | None = None if service is None else service.find_of_dict(identity)
            return found
        if backend.factory.reads_replicas:
            raise ConfigurationError(
                f"{self!r} has near={options.near!r}, and {backend.config.where} has"
                ' "read_from_replicas": a replica may not yet have what the primary has announced.'
                " Use near with an alias that reads from the primary."
            )
        every = names.of_shards(options.shards) or [names]
        found = near_service(backend).find_of_dict(identity)
        if found is None:
            found = near_service(backend).space_of_dict(
                identity, lambda: make_space(backend, every, is_hash=options.hset_enabled)
            )
            # Handles that were bound before have to drop what they change from now on.
            for other in list(_bound.values()):
                if other is not self and other._path == self._path:
                    _unbind(other)
        return found

    def near_stats(self) -> NearStats:
        """Get the counts of this process's memory for the dict, over all its handles.

        Sends nothing to the server.
        """
        _ = self._bound
        using = self._options.using
        backend = using if isinstance(using, Backend) else registry.get_backend(using)
        space = self._find_space(backend, Names(backend.config.key_prefix, self._path))
        if space is None:
            return NearStats(is_on=False, reason="no handle of this dict has near")
        return space.stats()


@cache
def _near_class(plain: type[PersistentDict[Any, Any]]) -> type[PersistentDict[Any, Any]]:
    """Make the class of the handles with `near`. What a subclass overrides comes before it."""
    names = {"__module__": plain.__module__, "__qualname__": plain.__qualname__}
    bases = (
        (NearMethods, plain) if plain is PersistentDict else (plain, _near_class(PersistentDict))
    )
    return type(plain.__name__, bases, {**names, "_plain_class": plain})


def _new_handle(kind: type[PersistentDict[Any, Any]]) -> PersistentDict[Any, Any]:
    """Make a handle that gets its state next: the first half of unpickling and of copying."""
    return kind.__new__(kind)


def _plain_class(kind: type[PersistentDict[Any, Any]]) -> type[PersistentDict[Any, Any]]:
    plain: type[PersistentDict[Any, Any]] = getattr(kind, "_plain_class", kind)
    return plain


def _unbind(mapping: PersistentDict[Any, Any]) -> None:
    mapping.__dict__.pop("_bound", None)
    mapping.__dict__.pop("_near", None)


def _unbind_all() -> None:
    for mapping in list(_bound.values()):
        _unbind(mapping)
    _bound.clear()


registry.on_reset(_unbind_all)
name_methods("PersistentDict", PersistentDict, NearMethods)
