"""What a dict does, once for sync and async: each operation is a generator (see `requests`)."""

from __future__ import annotations

from typing import TypeVar

from redisdict.mapping.change_operations import ChangeOperations
from redisdict.mapping.lease_operations import LeaseOperations
from redisdict.mapping.transfer_operations import TransferOperations

__all__ = ["Operations"]

K = TypeVar("K")
V = TypeVar("V")


class Operations(ChangeOperations[K, V], LeaseOperations[K, V], TransferOperations[K, V]):
    """All operations of one dict."""
