"""An operation run inside another generator, request by request."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

from redisdict.wire.requests import Operation, Request

__all__ = ["relay"]

T = TypeVar("T")
Asked = TypeVar("Asked")


def relay(
    operation: Operation[T], answer: Callable[[Request], Generator[Asked, Any, Any]]
) -> Generator[Asked, Any, T]:
    """Run `operation` with `answer` between it and its driver.

    `answer` takes each request and gives what the operation is sent, or raises what it is thrown;
    what it yields on the way goes to whoever runs this.
    """
    step: Callable[[Any], Request] = operation.send
    value: Any = None
    try:
        while True:
            request = step(value)
            try:
                value = yield from answer(request)
                step = operation.send
            except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                step, value = operation.throw, error
    except StopIteration as stop:
        return cast(T, stop.value)
