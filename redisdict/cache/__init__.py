"""A Django cache backend on the drivers of this package: `"redisdict.cache.DictCache"`."""

from redisdict.cache.cache import DictCache

__all__ = ["DictCache"]
