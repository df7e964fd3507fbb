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


LAYOUTS = "redisdict.mapping.layouts"

HASH = Script("hash", LAYOUTS)
SHORTEN = Script("shorten", LAYOUTS)
COMPARE_AND_SET = Script("compare_and_set", LAYOUTS)
COMPARE_AND_DELETE = Script("compare_and_delete", LAYOUTS)
COMPARE_AND_EXPIRE = Script("compare_and_expire", LAYOUTS)
