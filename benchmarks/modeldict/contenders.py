"""The calls that are compared: each gives the instances of the keys it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.core.cache import caches
from django.db import transaction

from benchmarks.modeldict.models import OtherProduct, PlainProduct, Product
from redisdict import ModelDict

__all__ = ["ORM", "OURS", "TWIN", "many_rows", "one_row", "saves"]

OURS = "ModelDict"
TWIN = "ModelDict, once more (A/A)"
ORM = "Model.objects.get()"

Call = Callable[[Any], Any]

#: mypy doesn't see that these are models: no settings that it knows install them.
ours: Any = Product
plain: Any = PlainProduct
other: Any = OtherProduct

#: Seconds that the other caches keep a row.
TIMEOUT_S = 3600


def one_row() -> Iterator[tuple[str, Call]]:
    """From a primary key to the instance; all of them hits."""
    rows = ModelDict(ours)
    yield OURS, rows.__getitem__
    yield TWIN, rows.__getitem__
    for near in (1.0, "strict"):
        # Of a model of its own: beside them, a dict without near would keep what it reads.
        in_memory = ModelDict(plain, near=near)
        _keep_all(in_memory)
        yield f"ModelDict, near={near!r}", in_memory.__getitem__
    yield ORM, lambda pk: plain.objects.get(pk=pk)
    for name, alias in (("django-redis, pickle", "default"), ("Django's RedisCache", "django")):
        cache = caches[alias]

        def read(pk: Any, cache: Any = cache) -> Any:
            return cache.get(f"product:{pk}")

        def read_or_set(pk: Any, cache: Any = cache) -> Any:
            key = f"product:{pk}"
            return cache.get_or_set(key, lambda: other.objects.get(pk=pk), TIMEOUT_S)

        for pk, row in plain.objects.in_bulk().items():
            cache.set(f"product:{pk}", row, TIMEOUT_S)
        yield f"{name}: cache.get()", read
        if alias == "default":
            yield f"{name}: cache.get_or_set()", read_or_set
    # Both are told by the settings to keep what get() gives.
    for name in ("cacheops", "cachalot"):
        if apps.is_installed(name):
            yield name, lambda pk: other.objects.get(pk=pk)
    if find_spec("cache_memoize"):
        yield "cache-memoize", _memoized()


def _keep_all(rows: Any) -> None:
    """Read until all rows are in memory."""
    pks = list(plain.objects.values_list("pk", flat=True))
    while True:
        before = rows.near_stats().hits
        rows.get_many(pks)
        if rows.near_stats().hits - before == len(pks):
            return


def _memoized() -> Call:
    remember: Any = import_module("cache_memoize").cache_memoize(TIMEOUT_S)

    def read(pk: Any) -> Any:
        return other.objects.get(pk=pk)

    remembered: Call = remember(read)
    return remembered


def many_rows() -> Iterator[tuple[str, Call]]:
    """From many primary keys to their instances; all of them hits."""
    rows = ModelDict(ours)
    yield OURS, rows.get_many
    yield TWIN, rows.get_many
    yield "Model.objects.in_bulk()", lambda pks: plain.objects.in_bulk(pks)
    cache = caches["default"]
    yield (
        "django-redis, pickle: cache.get_many()",
        lambda pks: cache.get_many([f"product:{pk}" for pk in pks]),
    )


def saves() -> Iterator[tuple[str, Call]]:
    """A change of one row: what the cache adds to it. Without the other caches installed."""
    rows = ModelDict(ours)
    kept, unkept = ours.objects.first(), plain.objects.first()
    assert rows[kept.pk] == kept

    def save(row: Any) -> Call:
        return lambda _: row.save(update_fields=["stock"])

    def save_in_transaction(row: Any) -> Call:
        def change(_: Any) -> None:
            with transaction.atomic():
                row.save(update_fields=["stock"])

        return change

    def update(model: Any, **which: Any) -> Call:
        return lambda _: model.objects.filter(**which).update(stock=1)

    yield "save()", save(unkept)
    yield "save(), once more (A/A)", save(unkept)
    yield "save() with a ModelDict", save(kept)
    yield "save() in a transaction", save_in_transaction(unkept)
    yield "save() in a transaction with a ModelDict", save_in_transaction(kept)
    yield "update() by primary key", update(plain, pk=unkept.pk)
    yield "update() by primary key with a ModelDict", update(ours, pk=kept.pk)
    yield "update() by another field", update(plain, slug=unkept.slug)
    yield "update() by another field with a ModelDict", update(ours, slug=kept.slug)
