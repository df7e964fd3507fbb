"""When the server and the database are asked, and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, models
from django.test import override_settings

from redisdict.exceptions import BackendUnavailable
from redisdict.modelcache.results.space import ResultSpace
from redisdict.modelcache.stats import MOST_HITS
from tests.modelcache.cached_querysets.conftest import comparable, listen, products
from tests.modelcache.counting import queries
from tests.shop.models import Product


def test_an_iterator_asks_the_database(shop: str) -> None:
    for _ in range(2):
        with queries(shop) as asked:
            assert len(list(Product.objects.cached().iterator())) == 5
        assert len(asked) == 1


def test_a_hit_of_which_django_makes_the_instances_is_read_once(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = products().cached().prefetch_related("tags").order_by("name")
    models.signals.post_init.connect(listen, sender=Product)
    try:
        made = [comparable(list(rows.all())) for _ in range(3)]
        read: list[bytes] = []
        peek = ResultSpace.peek

        def noted(space: ResultSpace, key: bytes) -> Any:
            read.append(key)
            return peek(space, key)

        monkeypatch.setattr(ResultSpace, "peek", noted)
        with queries(shop) as asked:
            made.append(comparable(list(rows.all())))
    finally:
        models.signals.post_init.disconnect(listen, sender=Product)
    assert made == [made[0]] * 4
    assert len(asked) == 0
    assert len(read) == len(set(read)) > 0  # its own rows, and those of the prefetch


def test_counts_are_pushed_after_many_hits(shop: str) -> None:
    """Until then a hit is only counted in the process; the read that pushes is a hit, too."""
    assert Product.objects.cached().count() == 5
    [space] = [
        one for one in Product.objects.cached()._queries._spaces.values() if len(one.tables) == 1
    ]
    space._counters.hits = MOST_HITS - 1
    with queries(shop) as asked:
        assert Product.objects.cached().count() == 5
        assert space._counters.hits == 0
        assert Product.objects.cached().count() == 5
        assert space._counters.hits == 1
    assert len(asked) == 0
    assert Product.objects.cached().result_stats().hits == MOST_HITS + 1


def test_without_the_server(shop: str, alias_for: Callable[..., dict[str, Any]]) -> None:
    with override_settings(REDISDICT={"default": alias_for("redis://127.0.0.1:1/0")}):
        assert Product.objects.cached().count() == 5
        with pytest.raises(BackendUnavailable):
            Product.objects.cached(serve_when_down=False).count()


def test_readers_at_once_ask_once(shop: str) -> None:
    asked: list[Any] = []
    may_end = threading.Event()

    def wait(execute: Any, *arguments: Any) -> Any:
        asked.append(arguments[0])
        assert may_end.wait(60)
        return execute(*arguments)

    got: list[int] = []

    def read() -> None:
        try:
            with connections[shop].execute_wrapper(wait):
                got.append(Product.objects.cached(lease_timeout=100).count())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert got == [5] * 4
    assert len(asked) == 1
