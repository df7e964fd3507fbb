"""Where the views get products and categories from: oscar's managers, or kept results."""

from __future__ import annotations

from typing import Any

from oscar.apps.catalogue import managers, models

from benchmarks.site.settings import CACHE, NEAR

if CACHE == "redisdict":
    from redisdict import CachedQuerySet

    class Products(CachedQuerySet[Any], managers.ProductQuerySet):  # type: ignore[misc]
        """Oscar's queryset, with `cached()`."""


def products() -> Any:
    if CACHE != "redisdict":
        return models.Product.objects.all()
    return Products(models.Product).cached(near=NEAR)


def categories() -> Any:
    if CACHE != "redisdict":
        return models.Category.objects.all()
    return CachedQuerySet(models.Category).cached(near=NEAR)
