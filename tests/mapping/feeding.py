"""Operations without a server: each request of theirs is given an answer."""

from __future__ import annotations

from typing import Any

from redisdict.wire.requests import Operation


def feed(operation: Operation[Any], *answers: Any) -> tuple[list[Any], Any]:
    """What an operation asks when it is given these answers, and its result.

    An answer that is an exception is thrown, as a driver does with an error of the server.
    """
    asked: list[Any] = []
    left = list(answers)
    try:
        asked.append(next(operation))
        while left:
            answer = left.pop(0)
            step = operation.throw if isinstance(answer, BaseException) else operation.send
            asked.append(step(answer))
    except StopIteration as stop:
        assert not left, f"It doesn't ask for more: {left}"
        return asked, stop.value
    raise AssertionError(f"It asks for more: {asked[-1]}")
