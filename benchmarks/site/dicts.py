"""The models whose changes redisdict announces: all that oscar's pages of products are made of."""

from __future__ import annotations

from django.apps import apps

from benchmarks.site.settings import CACHE, SHOWN

if CACHE == "redisdict":
    from redisdict import cache_results_of

    cache_results_of(*map(apps.get_model, SHOWN))
