"""Old values of caches and of `@cached`: soft timeout, ahead of the end, after a failure.

The rules are those of the dict, whose tests have every case; here is that they are reached.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict import afinish_background, finish_background
from redisdict.cache import DictCache, cached
from tests.cache.conftest import Face
from tests.cache.test_functions import once, store
from tests.forks.forking import Child, fork_in_python
from tests.logs import logged_by
from tests.waiting import LIMIT_S, await_until

__all__ = ["store"]  # a fixture

#: With these times a value that has 50 s left is stale, one with 65 s is about to be so.
TIMES: dict[str, Any] = {"timeout": 30, "stale": 60}
AHEAD: dict[str, Any] = {**TIMES, "refresh_ahead": 10}
STALE_S, NEAR_ITS_END_S = 50, 65


@pytest.fixture
def may_end() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
    assert finish_background(LIMIT_S)


def finish(runner: asyncio.Runner | None) -> None:
    if runner is None:
        assert finish_background(LIMIT_S)
    else:
        assert runner.run(afinish_background(LIMIT_S))


@pytest.fixture
def compute(
    runner: asyncio.Runner | None, may_end: threading.Event
) -> tuple[Callable[[], Any], list[int]]:
    """A function that hangs until it may end, and the list of its calls."""
    calls: list[int] = []

    def compute() -> str:
        calls.append(1)
        assert may_end.wait(LIMIT_S)
        return "new"

    async def acompute() -> str:
        calls.append(1)
        await await_until(may_end.is_set)
        return "new"

    return (compute if runner is None else acompute), calls


@pytest.mark.parametrize(
    ("left_s", "options"),
    [(STALE_S, {**TIMES, "soft_timeout": 0.01}), (NEAR_ITS_END_S, AHEAD)],
    ids=["soft timeout", "ahead"],
)
def test_the_old_value_is_served_while_a_computation_hangs(
    face: Face,
    may_end: threading.Event,
    compute: tuple[Callable[[], Any], list[int]],
    left_s: float,
    options: dict[str, Any],
) -> None:
    function, calls = compute
    face.set("k", "old", left_s)
    for _ in range(3):
        assert face.get_or_set("k", function, **options) == "old"
    may_end.set()
    finish(face.runner)
    assert face.get("k") == "new"
    assert 80 < face.ttl("k") <= 90
    assert len(calls) == 1
    assert not face.cache.client.exists(f"redisdict:lease:{face.cache.make_key('k')}")


def test_the_old_value_is_served_after_a_failure(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise ZeroDivisionError

    face.set("k", "old", STALE_S)
    for _ in range(3):
        assert face.get_or_set("k", fail, **TIMES, fail_safe=60) == "old"
    assert len(calls) == len(logged_by(caplog, "computation", "background")) == 1
    face.delete("k")
    with pytest.raises(ZeroDivisionError):
        face.get_or_set("k", fail, **TIMES, fail_safe=60)


def test_another_takes_over_after_the_lock_timeout(face: Face) -> None:
    raw = face.cache.make_key("k")
    face.cache.client.set(f"redisdict:lease:{raw}", "of one that died", px=100)
    assert face.get_or_set("k", lambda: "new", lock_timeout=LIMIT_S) == "new"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"soft_timeout": 1}, ValueError, "soft_timeout is 1 s, .* give stale"),
        ({"refresh_ahead": 300}, ValueError, "refresh_ahead is 300 s, and the timeout"),
        ({"fail_safe": True}, ValueError, "fail_safe is True, .* give stale"),
        ({"fail_safe": "yes"}, TypeError, "fail_safe is 'yes'; True or seconds"),
    ],
)
def test_wrong_times_are_named(
    face: Face, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    face.set("k", "there")
    with pytest.raises(error, match=message):
        face.get_or_set("k", 1, **options)


@pytest.mark.parametrize(
    ("left_s", "options"),
    [
        (STALE_S, {}),
        (STALE_S, {"soft_timeout": 0}),
        (STALE_S, {"soft_timeout": LIMIT_S}),
        (NEAR_ITS_END_S, {"refresh_ahead": 10}),
    ],
    ids=["waiting", "at once", "soft timeout", "ahead"],
)
@pytest.mark.deep
def test_one_computation_an_expiry(
    cache: DictCache, left_s: float, options: dict[str, Any]
) -> None:
    """Of 5,000 tasks in 8 processes."""

    def ask(number: int) -> set[Any]:
        async def compute() -> int:
            await cache.aincr("calls")
            await asyncio.sleep(0.05)
            return number

        async def ask() -> set[Any]:
            asking = (cache.aget_or_set("k", compute, **TIMES, **options) for _ in range(625))
            values = set(await asyncio.gather(*asking))
            assert await afinish_background(LIMIT_S)
            return values

        return asyncio.run(ask())

    cache.set("calls", 0, None)
    for number in range(3):
        children = [Child(lambda number=number: ask(number), fork_in_python) for _ in range(8)]  # type: ignore[misc]
        values = set().union(*(child.result() for child in children))
        assert values <= {number, number - 1} if number else values == {0}
        assert cache.get("calls") == number + 1
        assert cache.get("k") == number
        cache.touch("k", left_s)


# Functions


@once
def test_a_function_serves_the_old_value(
    store: Any, runner: asyncio.Runner | None, may_end: threading.Event
) -> None:
    calls: list[int] = []

    def compute(n: int) -> str:
        calls.append(n)
        assert may_end.wait(LIMIT_S)
        return "new"

    async def acompute(n: int) -> str:
        calls.append(n)
        await await_until(may_end.is_set)
        return "new"

    options = {**AHEAD, "soft_timeout": 0.01, "using": store, "name": "slow"}
    slow: Any = cached(**options)(compute if runner is None else acompute)

    def ask(n: int) -> Any:
        return slow(n) if runner is None else runner.run(slow(n))

    for n, left_s in ((1, STALE_S), (2, NEAR_ITS_END_S)):
        store.set(slow.key_for(n), "old", timeout=left_s)
        assert ask(n) == ask(n) == "old"
    may_end.set()
    finish(runner)
    assert ask(1) == ask(2) == "new"
    assert sorted(calls) == [1, 2]


@once
def test_a_function_that_fails_serves_the_old_value(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    @cached(using=store, name="failing", **TIMES, fail_safe=60)
    def failing() -> str:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    store.set(failing.key_for(), "old", timeout=STALE_S)
    assert failing() == failing() == "old"
    assert len(calls) == 2
    assert len(logged_by(caplog, "computation", "background")) == 1


@once
@pytest.mark.parametrize("left_s", [STALE_S, NEAR_ITS_END_S])
def test_a_function_forgets_what_becomes_none_in_the_background(
    store: Any, may_end: threading.Event, caplog: pytest.LogCaptureFixture, left_s: float
) -> None:
    @cached(using=store, name="nothing", **AHEAD, soft_timeout=0, cache_none=False)
    def nothing() -> str | None:
        assert may_end.wait(LIMIT_S)
        return None

    store.set(nothing.key_for(), "old", timeout=left_s)
    assert nothing() == "old"
    may_end.set()
    assert finish_background(LIMIT_S)
    assert nothing.key_for() not in store
    assert not logged_by(caplog, "computation", "background")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 5, "soft_timeout": 1}, r"soft_timeout of cached\(\) of .* give stale"),
        ({"refresh_ahead": 1}, r"refresh_ahead of cached\(\) of .* no timeout"),
        ({"timeout": 5, "refresh_ahead": 5}, r"refresh_ahead of cached\(\) of .* less than"),
        ({"timeout": 5, "fail_safe": 3}, r"fail_safe of cached\(\) of .* give stale"),
    ],
)
def test_wrong_times_of_a_function_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cached(**options)(test_wrong_times_are_named)
