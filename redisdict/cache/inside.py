"""All that the cache takes from the dict: its scripts, its walks, and its `get_or_set()`."""

from __future__ import annotations

from typing import Any

from redisdict.mapping.binding import AsyncRun, Do, Recover, Run, Send
from redisdict.mapping.flights import wait_in_task, wait_in_thread
from redisdict.mapping.globs import Glob
from redisdict.mapping.keys import get_key_codec
from redisdict.mapping.keys_layout import KeysLayout
from redisdict.mapping.lease_operations import LeaseOperations
from redisdict.mapping.locks import LockOperations
from redisdict.mapping.names import Names, escape_glob
from redisdict.mapping.scanning import Pages
from redisdict.mapping.scripts import COMPARE_AND_SET, Script
from redisdict.wire.keyspace import scan_keys

__all__ = [
    "COMPARE_AND_SET",
    "LONGEST_WAIT_S",
    "AsyncRun",
    "Do",
    "Glob",
    "Pages",
    "Recover",
    "Run",
    "Script",
    "Send",
    "computing_operations",
    "escape_glob",
    "scan_keys",
    "wait_in_task",
    "wait_in_thread",
]

#: Seconds after which another caller of `get_or_set()` takes over from one that has died.
LONGEST_WAIT_S = 60


class _WholeKeys(Names):
    """An item's key is what the cache says; its lease lies elsewhere."""

    __slots__ = ()

    @property
    def item_prefix(self) -> bytes:
        return b""

    @property
    def lock_prefix(self) -> bytes:
        return b"redisdict:lease:"


def computing_operations(codec: Any) -> LeaseOperations[bytes, Any]:
    """What computes a value once for all processes, over whole keys."""
    names = _WholeKeys("", ())
    locks = LockOperations(names)
    return LeaseOperations(KeysLayout(names), get_key_codec(bytes), codec, locks, None)
