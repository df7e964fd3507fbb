"""`@cached`: what it keeps and for how long, in both colours, over caches and dicts."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redisdict import PersistentDict, SerializationError
from redisdict.cache import DictCache, cached
from tests.cache.conftest import entry
from tests.cache.decorated import Calls, doubled
from tests.forks.forking import Child, fork_in_python
from tests.waiting import LIMIT_S, wait_until

STORES = ("msgpack", "pickle", "hash", "keys", "locmem")

#: Another backend lets several compute, and doesn't tell how long a value lives.
once = pytest.mark.parametrize("store", STORES[:-1], indirect=True)


class Shown:
    """A cached function in one colour, whose methods are called alike in both."""

    def __init__(self, made: Any, runner: asyncio.Runner | None) -> None:
        self.made = made
        self.runner = runner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.made, args, kwargs)

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.made.refresh, args, kwargs)

    def invalidate(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.made.invalidate, args, kwargs)

    def _run(self, call: Any, args: Any, kwargs: Any) -> Any:
        if self.runner is None:
            return call(*args, **kwargs)

        async def awaited() -> Any:
            return await call(*args, **kwargs)

        return self.runner.run(awaited())


def in_colour(function: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    if not is_async:
        return function

    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return coroutine


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest,
    valkey_url: str,
    key_prefix: str,
    configure: Callable[..., None],
    alias_for: Callable[..., dict[str, Any]],
) -> Iterator[Any]:
    """A place to keep values in, with another backend of Django's last."""
    kind = request.param
    if kind in ("hash", "keys"):
        with override_settings(REDISDICT={"default": alias_for(valkey_url)}):
            mapping: PersistentDict[str, Any] = PersistentDict("kept", hset_enabled=kind == "hash")
            yield mapping
            mapping.clear()
        return
    ours = entry(valkey_url, key_prefix, OPTIONS={"SERIALIZER": kind})
    backend = "django.core.cache.backends.locmem.LocMemCache"
    configure(default={"BACKEND": backend, "LOCATION": key_prefix} if kind == "locmem" else ours)
    yield caches["default"]
    caches["default"].clear()


@pytest.fixture
def keep(store: Any, runner: asyncio.Runner | None) -> Callable[..., Shown]:
    """Decorates a function, in the colour of the test."""

    def decorate(function: Callable[..., Any], **options: Any) -> Shown:
        options = {"using": store, "name": "kept", **options}
        made: Any = cached(**options)(in_colour(function, runner is not None))
        return Shown(made, runner)

    return decorate


def test_a_value_is_computed_once_for_equal_bindings(keep: Callable[..., Shown]) -> None:
    def total(shop: int, currency: str = "EUR") -> list[Any]:
        calls.append(shop)
        return [shop, currency, len(calls)]

    calls: list[int] = []
    kept = keep(total)
    assert (
        kept(1) == kept(1, "EUR") == kept(shop=1) == kept(currency="EUR", shop=1) == [1, "EUR", 1]
    )
    assert kept(1, "USD") == [1, "USD", 2]
    assert kept(2) == [2, "EUR", 3]
    assert calls == [1, 1, 2]


def test_invalidate_and_refresh(keep: Callable[..., Shown]) -> None:
    calls = Calls()
    kept = keep(calls.total)
    assert kept(1) == ["1", "EUR", 1]
    assert kept.refresh(1) == ["1", "EUR", 2]
    assert kept(shop=1) == ["1", "EUR", 2]
    assert kept.invalidate(1, "EUR") is True
    assert kept.invalidate(1) is False
    assert kept(1) == ["1", "EUR", 3]
    assert kept(1, "EUR", 5, a=6) == ["1", "EUR", 4]
    assert kept(1, "EUR", 5, a=6) == ["1", "EUR", 4]


def test_the_entry_lies_under_its_key(keep: Callable[..., Shown], store: Any) -> None:
    kept = keep(lambda a, b=2: a + b)
    assert kept(1) == 3
    assert kept.made.key_for(1) == "kept:a=1,b=2"
    assert store.get("kept:a=1,b=2") == 3
    assert kept.made.uncached.__name__ == "<lambda>"


def test_none_is_kept_unless_it_must_not_be(keep: Callable[..., Shown]) -> None:
    calls: list[str] = []

    def nothing(which: str) -> None:
        calls.append(which)

    kept, not_kept = keep(nothing), keep(nothing, cache_none=False, name="other")
    for _ in range(3):
        assert kept("kept") is None
        assert not_kept("not") is None
    assert calls.count("kept") == 1
    assert calls.count("not") == 3
    assert not_kept.refresh("not") is None
    assert not_kept.invalidate("not") is False
    assert kept.refresh("kept") is None
    assert kept.invalidate("kept") is True


def test_what_becomes_none_is_forgotten(keep: Callable[..., Shown], store: Any) -> None:
    results: list[Any] = ["old"]
    kept = keep(lambda: results[-1], cache_none=False, timeout=0.02, stale=60)
    assert kept() == "old"
    results.append(None)
    wait_until(lambda: kept() is None)
    assert store.get(kept.made.key_for()) is None
    results.append("new")
    assert kept() == "new"
    assert kept.refresh() == "new"
    results.append(None)
    assert kept.refresh() is None
    assert kept.invalidate() is False


@once
def test_the_time_to_live(
    keep: Callable[..., Shown], store: Any, runner: asyncio.Runner | None
) -> None:
    for options, longest in (
        ({"timeout": 5000}, 5000),
        ({"timeout": 5000, "stale": 3000}, 8000),
        ({"timeout": None}, None),
        ({}, store.default_timeout if isinstance(store, DictCache) else None),
    ):
        kept = keep(lambda: 5, **options)
        for ask in (kept, kept.refresh):
            kept.invalidate()
            assert ask() == 5
            left = store.ttl(kept.made.key_for())
            assert left is None if longest is None else longest * 0.65 < left <= longest


def test_an_error_is_the_callers_and_nothing_is_kept(keep: Callable[..., Shown]) -> None:
    results: list[Any] = [0]
    kept = keep(lambda: 1 / results[-1])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept()
    results.append(4)
    assert kept() == 0.25


def test_another_version_begins_anew(keep: Callable[..., Shown]) -> None:
    calls = Calls()
    old, new = keep(calls.total, version=1), keep(calls.total, version="2")
    assert old.made.key_for(1).startswith("kept@1:")
    assert old(1) == old(1) == ["1", "EUR", 1]
    assert new(1) == new(1) == ["1", "EUR", 2]


def test_what_the_serializer_refuses_is_said(cache: DictCache) -> None:
    @cached(name="odd")
    def odd() -> Any:
        return Calls

    with pytest.raises(SerializationError):
        odd()


# One computation for all.


@once
def test_one_of_many_threads_computes(store: Any) -> None:
    calls: list[int] = []
    results: list[int] = []
    barrier = threading.Barrier(20)

    @cached(using=store, name="slow")
    def slow(number: int) -> int:
        calls.append(number)
        wait_until(lambda: barrier.n_waiting == 0)
        time.sleep(0.05)
        return number * 2

    def ask() -> None:
        barrier.wait()
        results.append(slow(4))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [8] * 20
    assert calls == [4]


@once
async def test_one_of_many_tasks_computes(store: Any) -> None:
    calls: list[int] = []

    @cached(using=store, name="slow")
    async def slow(number: int) -> int:
        calls.append(number)
        await asyncio.sleep(0.05)
        return number * 2

    assert await asyncio.gather(*(slow(4) for _ in range(1000))) == [8] * 1000
    assert calls == [4]


@once
def test_one_of_several_processes_computes(store: Any) -> None:
    def ask() -> Any:
        calls: list[int] = []

        @cached(using=store, name="slow")
        def slow(number: int) -> int:
            calls.append(number)
            time.sleep(0.2)
            return number * 2

        return slow(4), len(calls)

    children = [Child(ask, fork_in_python) for _ in range(6)]
    results = [child.result() for child in children]
    assert [value for value, _ in results] == [8] * 6
    assert sum(count for _, count in results) == 1


@once
def test_the_old_value_is_served_meanwhile(store: Any) -> None:
    results = ["old"]
    is_computing, may_end = threading.Event(), threading.Event()

    @cached(using=store, name="slow", timeout=0.02, stale=60)
    def slow() -> str:
        if results[-1] == "new":
            is_computing.set()
            assert may_end.wait(LIMIT_S)
        return results[-1]

    assert slow() == "old"
    results.append("new")
    got: list[str] = []

    def ask() -> None:
        wait_until(lambda: got.append(slow()) or got[-1] == "new")

    thread = threading.Thread(target=ask)
    thread.start()
    assert is_computing.wait(LIMIT_S)
    assert slow() == "old"
    may_end.set()
    thread.join()
    assert got[-1] == "new"


def test_a_server_that_is_away(configure: Callable[..., None]) -> None:
    configure(default=entry("redis://127.0.0.1:1", OPTIONS={"IGNORE_EXCEPTIONS": True}))
    assert doubled(4) == doubled.refresh(4) == 8
    assert doubled.invalidate(4) is False
    nothing = cached(name="nothing", cache_none=False)(lambda: None)
    assert nothing() is None
