"""Several operations at once: what they ask goes out together, in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from redis.exceptions import ResponseError

from redisdict.connections.requests import Batch, Call, Command, Once, Operation, Request, Sleep

__all__ = ["side_by_side"]

T = TypeVar("T")


def side_by_side(operations: Iterable[Operation[T]]) -> Operation[list[T]]:
    """The results of the operations, which take their steps together.

    The commands that all of them ask for next are one `Batch`, whatever their slots. What can't be
    part of it (a transaction, a pause, a call) is asked for alone. Each operation gets the errors
    of its own commands; the first that it raises ends all.
    """
    lanes = [_Lane(operation) for operation in operations]
    try:
        while going := [lane for lane in lanes if not lane.is_over]:
            together = [lane for lane in going if lane.is_plain]
            alone = [lane for lane in going if not lane.is_plain]
            if len(together) == 1:
                alone += together
            elif together:
                yield from _ask_together(together)
            for lane in alone:
                yield from lane.ask_alone()
    finally:
        for lane in lanes:
            lane.close()
    return [lane.result for lane in lanes]


def _ask_together(lanes: list[_Lane[Any]]) -> Operation[None]:
    commands: list[Command] = []
    is_repeatable = True
    for lane in lanes:
        commands += lane.commands
        is_repeatable = is_repeatable and lane.is_repeatable
    replies = yield Batch(commands, is_repeatable=is_repeatable, is_spread=True)
    start = 0
    for lane in lanes:
        end = start + len(lane.commands)
        lane.take(replies[start:end])
        start = end


class _Lane(Generic[T]):
    """One operation, and what it has asked for."""

    result: T
    _request: Request

    def __init__(self, operation: Operation[T]) -> None:
        self._operation = operation
        self.is_over = False
        self._advance(operation.send, None)

    @property
    def is_plain(self) -> bool:
        """Whether the request may be part of a larger batch."""
        request = self._request
        if isinstance(request, Batch):
            return not request.is_atomic
        return not isinstance(request, (Sleep, Call))

    @property
    def is_repeatable(self) -> bool:
        request = self._request
        return request.is_repeatable if isinstance(request, Batch) else type(request) is not Once

    @property
    def commands(self) -> list[Command]:
        request = self._request
        if isinstance(request, Batch):
            return list(request.commands)
        assert isinstance(request, tuple)  # `is_plain` has told
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
