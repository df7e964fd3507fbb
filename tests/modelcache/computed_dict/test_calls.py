"""How a `ComputedDict` is declared and called: by keys, in threads, in tasks."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections

from redisdict import ComputedDict, ConfigurationError
from tests.modelcache.changes import update
from tests.modelcache.computed_dict.conftest import Menu
from tests.shop.models import Named, Product


def test_a_value_is_computed_once_by_all(server: str, database: str) -> None:
    begun, may_end = threading.Event(), threading.Event()
    calls = []

    def compute() -> int:
        calls.append(1)
        begun.set()
        assert may_end.wait(60)
        return Product.objects.count()

    def declare() -> ComputedDict[int]:
        return ComputedDict("count", depends_on=[Product], compute=compute, lease_timeout=100)

    got: list[int] = []

    def read(computed: ComputedDict[int]) -> None:
        try:
            got.append(computed.get())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=read, args=(declare(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert got == [0] * 4
    assert len(calls) == 1


def test_coroutines(menu: ComputedDict[list[str]], compute: Menu) -> None:
    async def read() -> None:
        assert await menu.aget("Drinks") == ["Tea"]
        assert compute.computed == 1
        await sync_to_async(update)()
        assert await menu.aget("Drinks") == ["Coffee"]
        assert await menu.aget("Drinks") == ["Coffee"]
        assert compute.computed == 2
        await menu.ainvalidate("Drinks")
        assert await menu.aget("Drinks") == ["Coffee"]
        assert compute.computed == 3
        await menu.aclear()
        assert await menu.aget("Drinks") == ["Coffee"]
        assert compute.computed == 4
        assert (await menu.astats()).fills == 4

    async_to_sync(read)()


def test_a_coroutine_function(server: str, database: str) -> None:
    calls = []

    async def compute(name: str) -> int:
        calls.append(name)
        if name == "wrong":
            raise ValueError(name)
        return await Product.objects.filter(name=name).acount()

    counts: ComputedDict[int] = ComputedDict("counts", depends_on=[Product], compute=compute)

    async def read() -> None:
        assert [await counts.aget("Tea"), await counts.aget("Tea")] == [0, 0]
        await Product.objects.acreate(name="Tea")
        assert [await counts.aget("Tea"), await counts.aget("Tea")] == [1, 1]
        with pytest.raises(ValueError, match="wrong"):
            await counts.aget("wrong")

    async_to_sync(read)()
    assert calls == ["Tea", "Tea", "wrong"]
    with pytest.raises(TypeError, match=r"await d\.aget"):
        _ = counts["Tea"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": ""}, "text that isn't empty is expected"),
        ({"compute": 3}, "compute is 3; a function"),
        ({"compute": lambda one, two: 3}, "compute takes one, two; a function of one key"),
        ({"compute": lambda *, one: 3}, "compute takes one; a function of one key"),
        ({"depends_on": []}, "depends_on is empty"),
        ({"depends_on": ["shop.Product"]}, "depends_on has 'shop.Product'; model classes"),
        ({"depends_on": [Named]}, "which is abstract and has no table"),
        ({"lease_timeout": 0}, "lease_timeout is 0; seconds above 0"),
    ],
)
def test_what_it_refuses(options: dict[str, Any], text: str) -> None:
    usual = {"name": "menu", "depends_on": [Product], "compute": lambda: 3}
    with pytest.raises(ConfigurationError, match=text):
        ComputedDict(**{**usual, **options})


def test_keys(server: str, database: str) -> None:
    whole: ComputedDict[int] = ComputedDict("whole", depends_on=[Product], compute=lambda: 3)
    with pytest.raises(TypeError, match=r"without a key, and was given 'Tea'; use d\.get\(\)"):
        _ = whole["Tea"]
    by_key: ComputedDict[Any] = ComputedDict(
        "by key", depends_on=[Product], compute=lambda key: [key]
    )
    with pytest.raises(TypeError, match=r"a function of a key; give one, as in d\[key\]"):
        by_key.get()
    with pytest.raises(TypeError, match="A key of this dict is str, not int"):
        _ = by_key[3]
    assert [by_key[key] for key in ("", "a/b", "ä", "a/b")] == [[""], ["a/b"], ["ä"], ["a/b"]]
    assert by_key.stats().fills == 3
    assert repr(by_key) == "<ComputedDict 'by key' of shop.Product on 'default'>"
    assert by_key


def test_a_built_in_function_is_called_with_the_key(server: str, database: str) -> None:
    lengths = ComputedDict("lengths", depends_on=[Product], compute=len)
    assert lengths["four"] == 4
