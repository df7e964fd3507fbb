"""The panel of debug-toolbar: what it lists of a request's thread or task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import translation

from redisdict import PersistentDict
from redisdict.connections import observation
from redisdict.connections.registry import get_backend
from tests.missing import need_package

need_package("debug_toolbar")

from redisdict.panels import LONGEST_KEY, MOST_LISTED, RedisDictPanel, _split


@pytest.fixture
def mapping(redis_url: str, alias_for: Any) -> Iterator[PersistentDict[str, int]]:
    with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
        made: PersistentDict[str, int] = PersistentDict("prices", using="shop")
        yield made
        made.clear()


class Recorded(RedisDictPanel):
    """A panel that gives what it records, without a store."""

    def __init__(self) -> None:
        self.recorded: dict[str, Any] = {}

    def record_stats(self, stats: dict[str, Any]) -> None:
        self.recorded |= stats

    def get_stats(self) -> dict[str, Any]:
        return self.recorded


@pytest.fixture
def panel() -> Iterator[Recorded]:
    made = Recorded()
    made.enable_instrumentation()
    yield made
    made.disable_instrumentation()


def stats_of(panel: Recorded) -> dict[str, Any]:
    panel.generate_stats(RequestFactory().get("/"), HttpResponse())
    return panel.recorded


def test_what_is_listed(panel: Recorded, mapping: PersistentDict[str, int]) -> None:
    mapping["tea"] = 1
    assert mapping["tea"] == 1
    assert mapping.get("milk") is None
    mapping.get_many(["tea", "milk", "more", "least"])
    stats = stats_of(panel)
    listed = [
        (one["alias"], one["operation"], one["names"], one["keys"], one["result"])
        for one in stats["records"]
    ]
    assert listed == [
        ("shop", "HSET", "prices", "'tea'", ""),
        ("shop", "HGET", "prices", "'tea'", "hit"),
        ("shop", "HGET", "prices", "'milk'", "miss"),
        ("shop", "HMGET", "prices", "'tea', 'milk', 'more', … (4)", "1 hit, 3 misses"),
    ]
    assert (stats["count"], stats["hits"], stats["misses"]) == (4, 2, 4)
    assert stats["milliseconds"] > 0
    places = {one["place"] for one in stats["records"]}
    assert all(place.startswith("tests/observing/test_panel.py:") for place in places)
    assert all(place.endswith(" in test_what_is_listed") for place in places)
    with translation.override("en"):
        assert panel.nav_subtitle.startswith("4 commands in ")


def test_tasks_are_told_apart(mapping: PersistentDict[str, int]) -> None:
    async def view(count: int) -> dict[str, Any]:
        panel = Recorded()
        panel.enable_instrumentation()
        for number in range(count):
            await mapping.aget(str(number))
        await asyncio.gather(*[mapping.aget("a") for _ in range(2)])
        panel.disable_instrumentation()
        return stats_of(panel)

    async def main() -> list[dict[str, Any]]:
        found = await asyncio.gather(*[view(count) for count in (1, 2, 3)])
        await get_backend("shop").aclose()
        return found

    found = asyncio.run(main())
    assert [stats["count"] for stats in found] == [3, 4, 5]
    assert found[0]["records"][0]["place"].endswith(" in view")


def test_keys_of_single_items(panel: Recorded, redis_url: str, alias_for: Any) -> None:
    with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
        mapping: PersistentDict[str, int] = PersistentDict("a/b", using="shop", hset_enabled=False)
        mapping.get("x" * 200)
    [record] = stats_of(panel)["records"]
    assert record["names"] == "a/b"
    assert len(record["keys"]) == LONGEST_KEY


def test_many_are_counted_and_some_listed(
    panel: Recorded, mapping: PersistentDict[str, int]
) -> None:
    for _ in range(MOST_LISTED + 3):
        mapping.get("a")
    stats = stats_of(panel)
    assert (stats["count"], len(stats["records"]), stats["left_out"]) == (503, 500, 3)


def test_afterwards_nothing_is_noted(panel: Recorded, mapping: PersistentDict[str, int]) -> None:
    panel.disable_instrumentation()
    mapping.get("a")
    assert stats_of(panel)["count"] == 0
    panel.enable_instrumentation()


@pytest.mark.parametrize(
    ("key", "name", "item"),
    [
        (b"p:h:{a/b}", "a/b", None),
        (b"p:k:{a%2Fb}:x:y", "a/b", "'x:y'"),
        (b"p:m:{shop.Product/0a1b}:42", "shop.Product", "'42'"),
        (b"m:{shop.Product/0a1b}", "shop.Product", None),
        (b"p:k:{d%:3:16}:x", "d", "'x'"),
        (b":1:views.key", "", "':1:views.key'"),
    ],
)
def test_names_in_keys(key: bytes, name: str, item: str | None) -> None:
    assert _split(key) == (name, item)


def test_it_is_rendered(panel: Recorded, mapping: PersistentDict[str, int]) -> None:
    from django.template.loader import render_to_string

    mapping.get("<b>")
    text = render_to_string("redisdict/panel.html", stats_of(panel))
    assert "&lt;b&gt;" in text
    assert "miss" in text


def test_nobody_is_left() -> None:
    assert observation._observers == ()
