"""Run plans: work that takes several requests to the server, or the database.

A `Plan` is a generator that does no input or output, so it exists once for sync and async. It
yields operations for the driver, and `Call`s of the database; errors are raised inside it. `run()`
and `arun()` carry it out, for a `Caller`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from asgiref.sync import sync_to_async

from redisdict.mapping.near import Ping, ping_in_task, ping_in_thread
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.invalidation.transactions import has_changed
from redisdict.modelcache.loading import may_keep
from redisdict.modelcache.outages import UNREACHED
from redisdict.wire.requests import Call, Operation

T = TypeVar("T")

Plan: TypeAlias = Generator[Operation[Any] | Call, Any, T]


@dataclass(frozen=True, slots=True)
class Caller:
    """The parts of a plan that differ between tasks and threads.

    The thread in which a task's queries will run isn't known beforehand. So a transaction of any
    thread that has changed the table counts as the task's own; and a task takes a lease even if a
    transaction will prevent its row from being kept, and then gives the lease back. That a
    standby's rows aren't kept is known to both.

    Attributes:
        adapt: turns a function that asks the database into one that the driver can call: the
            function itself, or one that returns an awaitable.
        has_changed: whether the caller's transaction may have changed the table.
        may_keep: whether a row that is loaded now could be kept, as far as is known.
        ping: waits for a PING, where `near="request"` needs one.
    """

    adapt: Callable[[Callable[..., Any]], Callable[..., Any]]
    has_changed: Callable[[CachedTable], bool]
    may_keep: Callable[[CachedTable], bool]
    ping: Ping


THREAD = Caller(lambda function: function, has_changed, may_keep, ping_in_thread)
TASK = Caller(
    sync_to_async,
    lambda table: bool(table.changed_by),
    lambda table: not table.place.is_standby,
    ping_in_task,
)


def run(table: CachedTable, plan: Plan[T]) -> T:
    """Carry a plan out in the calling thread."""
    driver = table.backend.driver
    try:
        request = plan.send(None)
        while True:
            try:
                if isinstance(request, Call):
                    answer = request.function(*request.arguments)
                else:
                    answer = driver.run(request)
            except UNREACHED as error:
                request = plan.throw(error)
            else:
                request = plan.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def arun(table: CachedTable, plan: Plan[T]) -> T:
    """Carry a plan out in the running task; the database is asked in Django's thread for that."""
    driver = table.backend.async_driver
    try:
        request = plan.send(None)
        while True:
            try:
                if isinstance(request, Call):
                    answer = await sync_to_async(request.function)(*request.arguments)
                else:
                    answer = await driver.run(request)
            except UNREACHED as error:
                request = plan.throw(error)
            else:
                request = plan.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
