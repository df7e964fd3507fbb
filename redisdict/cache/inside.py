"""Import all that the cache takes from the dict: its scripts, its scans, and its `get_or_set()`."""

from __future__ import annotations

from typing import Any, Final

from redisdict.connections.drivers import AsyncDriver, Driver
from redisdict.mapping.background import IN_TASKS, IN_THREADS, Colour
from redisdict.mapping.bound import ABSENT, Bound
from redisdict.mapping.cache import CacheMethods
from redisdict.mapping.computation import NOTHING, Found, Unkept
from redisdict.mapping.compute_options import ComputeOptions, parse_options
from redisdict.mapping.dict import PersistentDict
from redisdict.mapping.globs import Glob
from redisdict.mapping.keys import Names, escape_glob, get_key_codec
from redisdict.mapping.layouts.base import BATCH
from redisdict.mapping.layouts.keys import COMPARE_AND_SET, KeysLayout
from redisdict.mapping.locks import InFlight, LockOperations
from redisdict.mapping.near import UNKNOWN, NearBound, ping_in_task, ping_in_thread
from redisdict.mapping.scanning import Pages
from redisdict.wire.requests import Operation
from redisdict.wire.server_state import Capabilities

__all__ = [
    "ABSENT",
    "BATCH",
    "COMPARE_AND_SET",
    "IN_TASKS",
    "IN_THREADS",
    "LEASE_PREFIX",
    "NOTHING",
    "UNKNOWN",
    "Colour",
    "Computations",
    "ComputeOptions",
    "Glob",
    "NearBound",
    "Pages",
    "PersistentDict",
    "Unkept",
    "escape_glob",
    "parse_options",
    "ping_in_task",
    "ping_in_thread",
]


#: Where the leases of `get_or_set()` lie.
LEASE_PREFIX: Final = b"redisdict:lease:"


class _WholeKeys(Names):
    """Names items by the cache's whole keys; leases have names of their own."""

    __slots__ = ()

    @property
    def item_prefix(self) -> bytes:
        return b""

    @property
    def lock_prefix(self) -> bytes:
        return LEASE_PREFIX


class Computations(CacheMethods[bytes, Any]):
    """`get_or_set()` over whole keys: each value is computed once for all processes."""

    def __init__(
        self, codec: Any, driver: Driver, async_driver: AsyncDriver, capabilities: Capabilities
    ) -> None:
        names = _WholeKeys("", ())
        self._bound = self.bound = Bound(
            layout=KeysLayout(names),
            key_codec=get_key_codec(bytes),
            codec=codec,
            default_ms=None,
            locks=LockOperations(names, capabilities),
            in_flight=InFlight(),
            driver=driver,
            async_driver=async_driver,
        )

    def operation(
        self,
        key: bytes,
        default: Any,
        options: ComputeOptions,
        colour: Colour,
        found: Found | None,
    ) -> Operation[Any]:
        """Get the stored value, or that of `default`; `found` is the result of a lookup."""
        return self._get_or_set_operation(key, default, options, colour, found)
