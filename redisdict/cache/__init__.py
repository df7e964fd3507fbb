"""A Django cache backend on the drivers of this package: `"redisdict.cache.DictCache"`.

`cached`, for functions, is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from redisdict.cache.cache import DictCache

if TYPE_CHECKING:
    from redisdict.cache.functions import cached

__all__ = ["DictCache", "cached"]


def __getattr__(name: str) -> Any:
    if name != "cached":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()["cached"] = import_module("redisdict.cache.functions").cached
    return value
