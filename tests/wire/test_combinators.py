"""Operations that run concurrently: what goes out together, and whose reply is whose."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict.wire.combinators import run_concurrently
from redisdict.wire.requests import Batch, Once, Operation, Sleep
from tests.mapping.feeding import feed


def one_command(name: bytes) -> Operation[Any]:
    return (yield (name,))


def two_commands(name: bytes) -> Operation[Any]:
    return (yield Batch([(name, 1), (name, 2)]))


def test_operations_take_their_steps_together() -> None:
    def steps(name: bytes) -> Operation[Any]:
        first = yield (name, 1)
        second = yield Once((name, first))
        return second

    together = run_concurrently([steps(b"A"), two_commands(b"B"), one_command(b"C")])
    asked, result = feed(together, [10, 11, 12, 13], 20)
    assert asked == [
        Batch([(b"A", 1), (b"B", 1), (b"B", 2), (b"C",)], is_spread=True),
        (b"A", 10),
    ]
    assert type(asked[1]) is Once
    assert result == [20, [11, 12], 13]


def test_what_must_not_be_repeated_makes_all_of_it_so() -> None:
    def once(name: bytes) -> Operation[Any]:
        return (yield Once((name,)))

    asked, _ = feed(run_concurrently([once(b"A"), one_command(b"B")]), [1, 2])
    assert not asked[0].is_repeatable


def test_what_cannot_be_part_of_it_is_asked_alone() -> None:
    def pausing(name: bytes) -> Operation[Any]:
        yield Sleep(1)
        return (yield Batch([(name,)], is_atomic=True))

    asked, result = feed(
        run_concurrently([pausing(b"A"), one_command(b"B"), one_command(b"C")]), [2, 3], None, [1]
    )
    assert asked == [
        Batch([(b"B",), (b"C",)], is_spread=True),
        Sleep(1),
        Batch([(b"A",)], is_atomic=True),
    ]
    assert result == [[1], 2, 3]


def test_transactions_that_may_be_spread_are_one() -> None:
    def page(name: bytes) -> Operation[Any]:
        [reply] = yield Batch([(name,)], is_atomic=True, is_spread=True)
        yield from one_command(name)
        return reply

    asked, result = feed(
        run_concurrently([page(b"A"), one_command(b"C"), page(b"B"), one_command(b"D")]),
        *([3, 4], [1, 2], [5, 6]),
    )
    assert asked == [
        Batch([(b"C",), (b"D",)], is_spread=True),
        Batch([(b"A",), (b"B",)], is_atomic=True, is_spread=True),
        Batch([(b"A",), (b"B",)], is_spread=True),
    ]
    assert result == [1, 3, 2, 4]
    refusal = ResponseError("EXECABORT")
    asked, result = feed(run_concurrently([page(b"A"), page(b"B")]), refusal, [5, 6])
    assert result == [refusal, refusal]


def test_an_error_is_that_of_its_command() -> None:
    refusal = ResponseError("WRONGTYPE")

    def careful(name: bytes) -> Operation[Any]:
        try:
            yield (name,)
        except ResponseError as error:
            return error

    _, result = feed(run_concurrently([careful(b"A"), one_command(b"B")]), [refusal, 2])
    assert result == [refusal, 2]
    closed = []

    def watching() -> Operation[Any]:
        try:
            yield (b"A",)
            yield (b"A",)
        finally:
            closed.append(True)

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        feed(run_concurrently([watching(), one_command(b"B")]), [1, refusal])
    assert closed
    assert feed(run_concurrently([])) == ([], [])


def test_an_error_of_what_is_asked_alone_is_raised_where_it_was_asked() -> None:
    def careful() -> Operation[Any]:
        try:
            yield Sleep(1)
        except TimeoutError as error:
            return error

    late = TimeoutError()
    assert feed(run_concurrently([careful()]), late)[1] == [late]
