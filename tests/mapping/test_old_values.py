"""Old values are served while a computation takes long, runs ahead, or has failed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from redisdict import PersistentDict, afinish_background, finish_background
from redisdict.connections.backend import Backend
from redisdict.mapping import background
from redisdict.mapping.background import IN_THREADS
from redisdict.mapping.computation import Computation, Found, Unkept, keep
from redisdict.mapping.compute_options import DEFAULT_PAUSE_S, parse_options
from redisdict.mapping.keys import Names
from redisdict.mapping.locks import PAUSED
from tests.logs import logged_by
from tests.mapping.conftest import Face
from tests.mapping.feeding import feed
from tests.mapping.test_changes import operations
from tests.waiting import LIMIT_S, await_until

#: With these times a value that has 50 s left is stale, one with 65 s is about to be so.
TIMES: dict[str, Any] = {"timeout": 30, "stale": 60}
STALE_S = 50
AHEAD: dict[str, Any] = {**TIMES, "refresh_ahead": 10}
NEAR_ITS_END_S = 65


class Factory:
    """Computes "new" as often as it is asked, and counts; it hangs while `may_end` isn't set."""

    def __init__(self, runner: asyncio.Runner | None, error: type[BaseException] | None) -> None:
        self.calls = 0
        self.may_end = threading.Event()
        self.may_end.set()
        self.error = error
        self.function: Callable[[], Any] = self._compute if runner is None else self._acompute

    def hang(self) -> None:
        self.may_end.clear()

    def _compute(self) -> str:
        self.calls += 1
        assert self.may_end.wait(LIMIT_S)
        return self._give()

    async def _acompute(self) -> str:
        self.calls += 1
        await await_until(self.may_end.is_set)
        return self._give()

    def _give(self) -> str:
        if self.error is not None:
            raise self.error
        return "new"


@pytest.fixture
def factory(runner: asyncio.Runner | None) -> Iterator[Factory]:
    made = Factory(runner, None)
    yield made
    made.may_end.set()
    finish_background(LIMIT_S)


@pytest.fixture
def failing(factory: Factory) -> Factory:
    factory.error = ZeroDivisionError
    return factory


def finish(face: Face) -> None:
    if face.runner is None:
        assert finish_background(LIMIT_S)
    else:
        assert face.runner.run(afinish_background(LIMIT_S))


def lease_key(backend: Backend) -> bytes:
    return Names(backend.config.key_prefix, ("d",)).lock_prefix + b"k"


def lease_of(backend: Backend) -> bytes | None:
    """The token of who computes, if anybody does."""
    token: bytes | None = backend.client().get(lease_key(backend))  # type: ignore[assignment]
    return token


# A soft timeout


@pytest.mark.parametrize("soft_timeout", [0, 0.001])
def test_the_old_value_is_served_while_a_computation_hangs(
    backend: Backend, face: Face, factory: Factory, soft_timeout: float
) -> None:
    face.set("k", "old", timeout=STALE_S)
    factory.hang()
    for _ in range(3):
        options = {**TIMES, "soft_timeout": soft_timeout}
        assert face.get_or_set("k", factory.function, **options) == "old"
    assert face.getitem("k") == "old"
    factory.may_end.set()
    finish(face)
    assert factory.calls == 1
    assert face.getitem("k") == "new"
    assert 80 < face.ttl("k") <= 90
    assert lease_of(backend) is None
    assert face.get_or_set("k", factory.function, **TIMES) == "new"
    assert factory.calls == 1


def test_a_value_within_the_soft_timeout_is_the_new_one(
    backend: Backend, face: Face, factory: Factory
) -> None:
    face.set("k", "old", timeout=STALE_S)
    value = face.get_or_set("k", factory.function, **TIMES, soft_timeout=LIMIT_S)
    assert value == "new"
    finish(face)
    assert lease_of(backend) is None


def test_an_error_within_the_soft_timeout_is_the_callers(
    backend: Backend, face: Face, failing: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    face.set("k", "old", timeout=STALE_S)
    for calls in (1, 2):
        with pytest.raises(ZeroDivisionError):
            face.get_or_set("k", failing.function, **TIMES, soft_timeout=LIMIT_S)
        finish(face)
        assert failing.calls == calls
        assert lease_of(backend) is None
    assert not logged_by(caplog, "computation", "background")


def test_without_an_old_value_the_soft_timeout_waits(face: Face, factory: Factory) -> None:
    assert face.get_or_set("k", factory.function, **TIMES, soft_timeout=0) == "new"
    assert face.getitem("k") == "new"


def test_an_error_after_the_soft_timeout_is_logged(
    backend: Backend, face: Face, failing: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    face.set("k", "old", timeout=STALE_S)
    failing.hang()
    options: dict[str, Any] = {**TIMES, "soft_timeout": 0}
    assert face.get_or_set("k", failing.function, **options) == "old"
    failing.may_end.set()
    finish(face)
    [record] = logged_by(caplog, "computation", "background")
    assert record.name == "redisdict.computation"
    assert record.levelno == logging.ERROR
    assert "'k'" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    assert lease_of(backend) == PAUSED
    assert face.get_or_set("k", failing.function, **options) == "old"
    finish(face)
    assert failing.calls == 1


def test_a_caller_that_gives_up_leaves_the_computation_alone(
    mapping: PersistentDict[str, str], backend: Backend
) -> None:
    async def use() -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def compute() -> str:
            begun.set()
            await may_end.wait()
            return "new"

        await mapping.aset("k", "old", timeout=STALE_S)
        asking = mapping.aget_or_set("k", compute, **TIMES, soft_timeout=LIMIT_S)
        task = asyncio.create_task(asking)
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        may_end.set()
        assert await afinish_background(LIMIT_S)
        assert await mapping.agetitem("k") == "new"
        await backend.aclose()

    asyncio.run(use())


# Ahead of the end


def test_a_value_near_its_end_is_computed_anew_in_the_background(
    backend: Backend, face: Face, factory: Factory
) -> None:
    face.set("k", "old", timeout=NEAR_ITS_END_S)
    factory.hang()
    for _ in range(3):
        assert face.get_or_set("k", factory.function, **AHEAD) == "old"
    factory.may_end.set()
    finish(face)
    assert factory.calls == 1
    assert face.getitem("k") == "new"
    assert 80 < face.ttl("k") <= 90
    assert lease_of(backend) is None
    assert face.get_or_set("k", factory.function, **AHEAD) == "new"
    assert factory.calls == 1


def test_without_stale_it_is_computed_ahead_too(face: Face, factory: Factory) -> None:
    options = {"timeout": 30, "refresh_ahead": 10}
    assert face.get_or_set("k", factory.function, **options) == "new"
    face.set("k", "old", timeout=20)
    assert face.get_or_set("k", factory.function, **options) == "old"
    assert factory.calls == 1
    face.set("k", "old", timeout=5)
    assert face.get_or_set("k", factory.function, **options) == "old"
    finish(face)
    assert face.getitem("k") == "new"


def test_a_plain_default_replaces_nothing_ahead(face: Face) -> None:
    face.set("k", "old", timeout=NEAR_ITS_END_S)
    assert face.get_or_set("k", "plain", **AHEAD) == "old"
    assert face.getitem("k") == "old"


def test_another_process_computes_it_ahead(backend: Backend, face: Face, factory: Factory) -> None:
    face.set("k", "old", timeout=NEAR_ITS_END_S)
    backend.client().set(lease_key(backend), b"another's", px=60_000)
    assert face.get_or_set("k", factory.function, **AHEAD) == "old"
    finish(face)
    assert factory.calls == 0
    assert lease_of(backend) == b"another's"


def test_a_failure_ahead_pauses(
    backend: Backend, face: Face, failing: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    face.set("k", "old", timeout=NEAR_ITS_END_S)
    for _ in range(2):
        assert face.get_or_set("k", failing.function, **AHEAD) == "old"
        finish(face)
    assert failing.calls == len(logged_by(caplog, "computation", "background")) == 1
    left_ms = backend.client().pttl(lease_key(backend))
    assert 0 < left_ms <= 1000 * DEFAULT_PAUSE_S


# When a computation fails


@pytest.mark.parametrize(("fail_safe", "most_s"), [(True, DEFAULT_PAUSE_S), (90, 90)])
@pytest.mark.parametrize("soft_timeout", [None, LIMIT_S])
def test_the_old_value_is_served_after_a_failure(
    backend: Backend,
    face: Face,
    failing: Factory,
    caplog: pytest.LogCaptureFixture,
    fail_safe: float,
    most_s: float,
    soft_timeout: float | None,
) -> None:
    face.set("k", "old", timeout=STALE_S)
    options = {**TIMES, "fail_safe": fail_safe, "soft_timeout": soft_timeout}
    for _ in range(2):
        assert face.get_or_set("k", failing.function, **options) == "old"
        finish(face)
    assert failing.calls == 1
    [record] = logged_by(caplog, "computation", "background")
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    assert 0 < backend.client().pttl(lease_key(backend)) <= 1000 * most_s
    backend.client().delete(lease_key(backend))  # as time does
    failing.error = None
    assert face.get_or_set("k", failing.function, **options) == "new"


def test_a_value_that_cannot_be_stored_is_a_failure(face: Face) -> None:
    face.set("k", "old", timeout=STALE_S)
    assert face.get_or_set("k", object, **TIMES, fail_safe=True) == "old"


def test_without_an_old_value_a_failure_is_raised(face: Face, failing: Factory) -> None:
    for calls in (1, 2):
        with pytest.raises(ZeroDivisionError):
            face.get_or_set("k", failing.function, **TIMES, fail_safe=True)
        assert failing.calls == calls


def test_what_ends_the_process_is_no_failure(face: Face, failing: Factory) -> None:
    failing.error = SystemExit
    face.set("k", "old", timeout=STALE_S)
    with pytest.raises(SystemExit):
        face.get_or_set("k", failing.function, **TIMES, fail_safe=True)


def test_a_pause_keeps_nobody_without_a_value(
    backend: Backend, face: Face, failing: Factory
) -> None:
    face.set("k", "old", timeout=STALE_S)
    assert face.get_or_set("k", failing.function, **TIMES, fail_safe=3600) == "old"
    face.delete("k")
    failing.error = None
    assert face.get_or_set("k", failing.function, **TIMES, fail_safe=3600) == "new"
    assert failing.calls == 2
    assert lease_of(backend) is None


# What isn't kept, or was replaced


@pytest.mark.parametrize("left_s", [STALE_S, NEAR_ITS_END_S, None])
@pytest.mark.parametrize("soft_timeout", [None, 0, LIMIT_S])
def test_a_result_that_is_not_to_be_kept(
    backend: Backend,
    face: Face,
    factory: Factory,
    caplog: pytest.LogCaptureFixture,
    left_s: float | None,
    soft_timeout: float | None,
) -> None:
    """The old value goes, and it is no failure."""
    factory.error = Unkept
    if left_s is not None:
        face.set("k", "old", timeout=left_s)
    is_old = left_s == NEAR_ITS_END_S or (left_s is not None and soft_timeout == 0)
    options = {**AHEAD, "soft_timeout": soft_timeout, "fail_safe": True}
    if is_old:
        factory.hang()
        assert face.get_or_set("k", factory.function, **options) == "old"
        factory.may_end.set()
    else:
        with pytest.raises(Unkept):
            face.get_or_set("k", factory.function, **options)
    finish(face)
    assert not face.contains("k")
    assert lease_of(backend) is None
    assert not logged_by(caplog, "computation", "background")


def found(stored: bytes | None, ends_s: float) -> Found:
    return Found(stored, -1, ends_s)


def test_a_value_that_has_ended_meanwhile_is_stored() -> None:
    """One that was removed isn't."""
    bound = operations(is_hash=False)._bound
    options = parse_options(30_000, 60)

    def asked(ends_s: float, *answers: Any) -> tuple[list[Any], Any]:
        return feed(keep(bound, b"k", found(b"1", ends_s), 2, options), *answers)

    assert asked(float("inf"), 0, None)[1] == (2, b"2")
    requests, result = asked(0, 0, None, b"OK")
    assert result == (2, b"2")
    assert requests[-1][0] == b"SET"
    assert asked(0, 0, None, None, b"3")[1] == (3, b"3")
    assert asked(0, 0, b"3")[1] == (3, b"3")
    assert asked(0, 1, 1)[1] == (2, b"2")


def test_a_value_found_after_the_lease_was_got() -> None:
    """It was stored by who had the lease before, between the look and the lease."""
    one = operations(is_hash=False)
    options = parse_options(30_000, 60)

    def ask() -> Any:
        return one._get_or_set_operation("k", lambda: 9, options, IN_THREADS)

    assert feed(ask(), [b"4", 50_000], b"OK", [b"6", 80_000], 1)[1] == 6
    # Another was stored that is stale as well; it is the one that is replaced.
    requests, result = feed(ask(), [b"4", 50_000], b"OK", [b"6", 50_000], 9, 1, 1, 1)
    assert result == 9
    assert b"6" in requests[4]


def test_a_lease_that_is_lost_is_not_paused() -> None:
    """Another has taken over, and computes under it."""
    asked, _ = feed(operations()._bound.locks.pause(b"k", b"token", 5), 0)
    assert len(asked) == 1


# Too much to do, and nothing in the background


@pytest.mark.parametrize("left_s", [STALE_S, NEAR_ITS_END_S])
def test_with_too_much_to_do_the_old_value_is_served(
    backend: Backend,
    face: Face,
    factory: Factory,
    monkeypatch: pytest.MonkeyPatch,
    left_s: float,
) -> None:
    monkeypatch.setattr(background, "MOST_WAITING", 0)
    monkeypatch.setattr(background, "MOST_TASKS", 0)
    face.set("k", "old", timeout=left_s)
    options = {**AHEAD, "soft_timeout": LIMIT_S}
    assert face.get_or_set("k", factory.function, **options) == "old"
    assert factory.calls == 0
    assert lease_of(backend) is None
    face.delete("k")
    assert face.get_or_set("k", factory.function, **options) == "new"


def test_a_server_that_is_lost_meanwhile_is_told(
    face: Face, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller hears of it; the log does when the caller has left."""

    def lose(*_: Any) -> Any:
        raise ConnectionError("gone")
        yield

    monkeypatch.setattr(Computation, "_in_background", lose)
    face.set("k", "old", timeout=STALE_S)
    options: dict[str, Any] = {**TIMES, "soft_timeout": LIMIT_S}
    with pytest.raises(ConnectionError):
        face.get_or_set("k", lambda: "new", **options)
    finish(face)
    assert not logged_by(caplog, "computation", "background")
    assert face.get_or_set("k", lambda: "new", **options, fail_safe=True) == "old"
    finish(face)
    assert len(logged_by(caplog, "computation", "background")) == 1
    face.set("k", "old", timeout=NEAR_ITS_END_S)
    assert face.get_or_set("k", lambda: "new", **AHEAD) == "old"
    finish(face)
    assert len(logged_by(caplog, "computation", "background")) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"stale": -1, "timeout": 5}, ValueError, "stale is -1 s; 0 to"),
        ({"stale": "5", "timeout": 5}, TypeError, "stale is '5'; seconds"),
        ({"stale": True, "timeout": 5}, TypeError, "stale is True; seconds"),
        ({"refresh_ahead": 5}, ValueError, "refresh_ahead is 5 s, but the item has no timeout"),
        ({"refresh_ahead": 5, "timeout": 5}, ValueError, "refresh_ahead is 5 s, and the timeout 5"),
        ({"refresh_ahead": float("nan"), "timeout": 5}, ValueError, "refresh_ahead is nan s"),
        ({"refresh_ahead": None, "timeout": 5}, TypeError, "refresh_ahead is None"),
        ({"soft_timeout": 5, "timeout": 5}, ValueError, "soft_timeout is 5 s, .* give stale"),
        ({"soft_timeout": -1, "timeout": 5, "stale": 5}, ValueError, "soft_timeout is -1 s"),
        ({"soft_timeout": "a", "timeout": 5, "stale": 5}, TypeError, "soft_timeout is 'a'"),
        ({"fail_safe": True, "timeout": 5}, ValueError, "fail_safe is True, but no old value"),
        ({"fail_safe": "a", "timeout": 5, "stale": 5}, TypeError, "fail_safe is 'a'; True or"),
        ({"fail_safe": -1, "timeout": 5, "stale": 5}, ValueError, "fail_safe is -1 s"),
    ],
)
def test_wrong_times_are_named(
    face: Face, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    face.set("k", "there")
    with pytest.raises(error, match=message):
        face.get_or_set("k", lambda: 1, **arguments)


def test_fail_safe_of_nothing_is_none() -> None:
    assert parse_options(5000, 5, fail_safe=0).fail_safe_s is None
    assert parse_options(5000, 5, fail_safe=False).fail_safe_s is None
    assert parse_options(5000, 0, refresh_ahead=1, fail_safe=2).fail_safe_s == 2


def test_a_caller_that_is_interrupted_has_left(
    mapping: PersistentDict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets: list[Future[Any]] = []

    def interrupt(ticket: Future[Any], timeout_s: float) -> None:
        tickets.append(ticket)
        raise KeyboardInterrupt

    monkeypatch.setattr(IN_THREADS, "wait", interrupt)
    mapping.set("k", "old", timeout=STALE_S)
    with pytest.raises(KeyboardInterrupt):
        mapping.get_or_set("k", lambda: "new", **TIMES, soft_timeout=LIMIT_S)
    assert finish_background(LIMIT_S)
    assert mapping["k"] == "new"
