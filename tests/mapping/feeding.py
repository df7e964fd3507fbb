"""Operations without a server: each request of theirs is given an answer."""

from __future__ import annotations

from typing import Any

from redisdict.connections.requests import Operation


def feed(operation: Operation[Any], *answers: Any) -> tuple[list[Any], Any]:
    """What an operation asks when it is given these answers, and its result.

    An answer that is an exception is thrown, as a driver does with an error of the server.
    """
    asked = []
    waiting = iter(answers)
    answer = None
    while True:
        try:
            is_error = isinstance(answer, BaseException)
            asked.append(operation.throw(answer) if is_error else operation.send(answer))
            answer = next(waiting)
        except StopIteration as stop:
            return asked, stop.value
