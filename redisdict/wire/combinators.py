"""Combine operations: intercept the requests of one, run several in step, wrap a request as one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

from redis.exceptions import ResponseError

from redisdict.wire.requests import (
    Batch,
    Call,
    Command,
    Identified,
    Once,
    Operation,
    Request,
    Sleep,
)

T = TypeVar("T")
Asked = TypeVar("Asked")

Company: TypeAlias = Literal["alone", "plain", "atomic"]


def ask(request: Request) -> Operation[Any]:
    """Make an operation of one request."""
    return (yield request)


def intercept(
    operation: Operation[T], answer: Callable[[Request], Generator[Asked, Any, Any]]
) -> Generator[Asked, Any, T]:
    """Put `answer` between an operation and its driver.

    `answer` takes each request, and returns the reply for the operation or raises the error for it.
    Requests that it yields go to the caller of this generator.
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


def run_concurrently(operations: Iterable[Operation[T]]) -> Operation[list[T]]:
    """Run operations in lockstep, in as few round trips as the longest needs; give their results.

    The commands that all of them ask for next are one `Batch`, whatever their slots, and one more
    for the transactions that may be spread over nodes. What can't be part of either (another
    transaction, a pause, a call) is asked for alone. Each operation gets the errors of its own
    commands; the first that it raises ends all.
    """
    lanes = [_Lane(operation) for operation in operations]
    try:
        while going := [lane for lane in lanes if not lane.is_over]:
            parties: dict[Company, list[_Lane[Any]]] = {"alone": [], "plain": [], "atomic": []}
            for lane in going:
                parties[lane.company].append(lane)
            alone = parties.pop("alone")
            for company, together in parties.items():
                if len(together) == 1:
                    alone += together
                elif together:
                    yield from _ask_together(together, is_atomic=company == "atomic")
            for lane in alone:
                yield from lane.ask_alone()
    finally:
        for lane in lanes:
            lane.close()
    return [lane.result for lane in lanes]


def _ask_together(lanes: list[_Lane[Any]], *, is_atomic: bool) -> Operation[None]:
    commands: list[Command] = []
    is_repeatable = True
    for lane in lanes:
        commands += lane.commands
        is_repeatable = is_repeatable and lane.is_repeatable
    batch = Batch(
        commands,
        is_atomic=is_atomic,
        is_repeatable=is_repeatable,
        is_spread=True,
        is_identified=any(isinstance(command, Identified) for command in commands),
    )
    try:
        replies = yield batch
    except ResponseError as refusal:  # of the whole transaction
        replies = [refusal] * len(commands)
    start = 0
    for lane in lanes:
        end = start + len(lane.commands)
        lane.take(replies[start:end])
        start = end


class _Lane(Generic[T]):
    """One operation, and its present request."""

    result: T
    _request: Request

    def __init__(self, operation: Operation[T]) -> None:
        self._operation = operation
        self.is_over = False
        self._advance(operation.send, None)

    @property
    def company(self) -> Company:
        """The kind of larger batch that may contain the request, or "alone"."""
        request = self._request
        if not isinstance(request, Batch):
            return "alone" if isinstance(request, (Sleep, Call)) else "plain"
        if not request.is_atomic:
            return "plain"
        return "atomic" if request.is_spread else "alone"

    @property
    def is_repeatable(self) -> bool:
        request = self._request
        return request.is_repeatable if isinstance(request, Batch) else type(request) is not Once

    @property
    def commands(self) -> list[Command]:
        request = self._request
        if isinstance(request, Batch):
            return list(request.commands)
        assert isinstance(request, tuple)  # `company` has told
        return [request]

    def take(self, replies: list[Any]) -> None:
        """Go on with the replies to `commands`."""
        if isinstance(self._request, Batch):
            self._advance(self._operation.send, replies)
        elif isinstance(replies[0], ResponseError):
            self._advance(self._operation.throw, replies[0])
        else:
            self._advance(self._operation.send, replies[0])

    def ask_alone(self) -> Operation[None]:
        try:
            answer = yield self._request
        except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
            self._advance(self._operation.throw, error)
        else:
            self._advance(self._operation.send, answer)

    def close(self) -> None:
        self._operation.close()

    def _advance(self, step: Callable[[Any], Request], value: Any) -> None:
        try:
            self._request = step(value)
        except StopIteration as stop:
            self.result = stop.value
            self.is_over = True
