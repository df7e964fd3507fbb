"""The Lua of dicts: what no command does."""

from __future__ import annotations

from redisdict.wire.scripts import Script

__all__ = [
    "COMPARE_AND_DELETE",
    "COMPARE_AND_EXPIRE",
    "COMPARE_AND_SET",
    "HASH",
    "SHORTEN",
]

HASH = Script("hash", __package__)
SHORTEN = Script("shorten", __package__)
COMPARE_AND_SET = Script("compare_and_set", __package__)
COMPARE_AND_DELETE = Script("compare_and_delete", __package__)
COMPARE_AND_EXPIRE = Script("compare_and_expire", __package__)
