"""All that the cache takes from the dict: its scripts, its walks, and its `get_or_set()`."""

from __future__ import annotations

from typing import Any

from redisdict.connections.drivers import AsyncDriver, Driver
from redisdict.mapping.background import IN_TASKS, IN_THREADS, Colour
from redisdict.mapping.bound import Bound
from redisdict.mapping.cache import CacheMethods
from redisdict.mapping.computation import Unkept
from redisdict.mapping.compute_options import ComputeOptions, parse_options
from redisdict.mapping.dict import PersistentDict
from redisdict.mapping.globs import Glob
from redisdict.mapping.keys import Names, escape_glob, get_key_codec
from redisdict.mapping.layouts.keys import COMPARE_AND_SET, KeysLayout
from redisdict.mapping.locks import InFlight, LockOperations
from redisdict.mapping.scanning import Pages
from redisdict.wire.requests import Operation

__all__ = [
    "COMPARE_AND_SET",
    "IN_TASKS",
    "IN_THREADS",
    "Colour",
    "Computations",
    "ComputeOptions",
    "Glob",
    "Pages",
    "PersistentDict",
    "Unkept",
    "escape_glob",
    "parse_options",
]


class _WholeKeys(Names):
    """An item's key is what the cache says; its lease lies elsewhere."""

    __slots__ = ()

    @property
    def item_prefix(self) -> bytes:
        return b""

    @property
    def lock_prefix(self) -> bytes:
        return b"redisdict:lease:"


class Computations(CacheMethods[bytes, Any]):
    """`get_or_set()` over whole keys: each value is computed once for all processes."""

    def __init__(self, codec: Any, driver: Driver, async_driver: AsyncDriver) -> None:
        names = _WholeKeys("", ())
        self._bound = Bound(
            layout=KeysLayout(names),
            key_codec=get_key_codec(bytes),
            codec=codec,
            default_ms=None,
            locks=LockOperations(names),
            in_flight=InFlight(),
            driver=driver,
            async_driver=async_driver,
        )

    def operation(
        self, key: bytes, default: Any, options: ComputeOptions, colour: Colour
    ) -> Operation[Any]:
        """Get the value that is there, or that of `default`."""
        return self._get_or_set_operation(key, default, options, colour)
