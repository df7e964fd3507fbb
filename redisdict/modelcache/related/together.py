"""Run several plans at once, in as few round trips as the longest needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.plans import Plan
from redisdict.wire.combinators import run_concurrently
from redisdict.wire.requests import Call, Operation

T = TypeVar("T")


def together(plans: Sequence[Plan[T]]) -> Plan[list[T]]:
    """Carry plans out in lockstep, and return their results.

    Their requests to the server are sent together, those to the database one after the other. When
    the server can't be reached, the error is raised in each plan that has asked it.
    """
    lanes = [_Lane(plan) for plan in plans]
    try:
        while going := [lane for lane in lanes if not lane.is_over]:
            asking = [lane for lane in going if not isinstance(lane.request, Call)]
            if len(asking) > 1:
                yield from _ask_together(asking)
            for lane in going:
                if len(asking) == 1 or lane not in asking:
                    yield from lane.ask()
    finally:
        for lane in lanes:
            lane.plan.close()
    return [lane.result for lane in lanes]


def _ask_together(lanes: Sequence[_Lane[Any]]) -> Plan[None]:
    try:
        answers = yield run_concurrently([_outcome(lane.request) for lane in lanes])
    except UNREACHED as error:
        for lane in lanes:
            lane.advance(lane.plan.throw, error)
        return
    for lane, (answer, failure) in zip(lanes, answers, strict=True):
        if failure is None:
            lane.advance(lane.plan.send, answer)
        else:
            lane.advance(lane.plan.throw, failure)


def _outcome(operation: Operation[Any]) -> Operation[tuple[Any, Exception | None]]:
    """The result of an operation, or the server's error; the others go on."""
    try:
        return (yield from operation), None
    except UNREACHED as error:
        return None, error


class _Lane(Generic[T]):
    """One plan, and its present request."""

    result: T

    def __init__(self, plan: Plan[T]) -> None:
        self.plan = plan
        self.is_over = False
        self.request: Any = None
        self.advance(plan.send, None)

    def advance(self, step: Callable[[Any], Any], value: Any) -> None:
        """Take the plan to its next request, or to its end."""
        try:
            self.request = step(value)
        except StopIteration as stop:
            self.is_over = True
            self.result = stop.value

    def ask(self) -> Plan[None]:
        try:
            answer = yield self.request
        except UNREACHED as error:
            self.advance(self.plan.throw, error)
        else:
            self.advance(self.plan.send, answer)
