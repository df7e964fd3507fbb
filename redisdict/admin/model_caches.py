"""What the admin tells of cached models."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redisdict.templatetags.redisdict_figures import NOTHING, percent

if TYPE_CHECKING:
    from redisdict.modelcache.overview import TableOverview

__all__ = ["ShownCache", "model_caches"]


@dataclass(frozen=True)
class ShownCache:
    """A cached table, fit to be shown."""

    table: TableOverview

    @property
    def hit_rate(self) -> str:
        stats = self.table.stats
        if stats is None or not stats.hits + stats.misses:
            return NOTHING
        return percent(stats.hits / (stats.hits + stats.misses))


def model_caches() -> list[ShownCache]:
    """The tables of all models that have a `ModelDict`; a project without any pays nothing."""
    if "redisdict.modelcache.cached_models" not in sys.modules:
        return []
    from redisdict.modelcache.overview import overview

    return [ShownCache(table) for table in overview()]
