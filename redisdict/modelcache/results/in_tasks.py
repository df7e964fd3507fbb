"""Answer hits in coroutines without Django's thread for synchronous code.

Django's methods are made for threads. So a method is run in the task itself, and where it needs a
result it ends with a request for it. When the server has answered, the method is run again from its
beginning, with the answer. Anything but hits is done in Django's thread, as usual.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from redisdict.connections.backend import Backend
from redisdict.modelcache.outages import UNREACHED
from redisdict.wire.requests import Step

T = TypeVar("T")

#: So many questions are asked, each of which has the method run again.
MOST_QUESTIONS = 16


class Question(Exception):
    """A request to the server that a method needs before it can go on."""

    def __init__(self, backend: Backend, key: bytes, step: Step[Any]) -> None:
        super().__init__()
        self.backend = backend
        self.key = key
        self.step = step


class NeedsThread(Exception):
    """The method needs more than cached results."""


#: What the server has answered to the method that is run in this task, by the keys of results.
answers: ContextVar[dict[bytes, Any] | None] = ContextVar("redisdict_answers", default=None)


def ask(backend: Backend, key: bytes, step: Step[Any]) -> Any:
    """Ask the server from a thread; in a task, return its answer, or end with a question.

    Raises:
        Question: in a task.
        BackendUnavailable, redis.exceptions.RedisError: in a thread.
    """
    known = answers.get()
    if known is None:
        return backend.driver.do(step)
    if key in known:
        return known[key]
    raise Question(backend, key, step)


def need_thread() -> None:
    """End the method that is run in a task, if it is."""
    if answers.get() is not None:
        raise NeedsThread


async def run_in_task(method: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Run a method in the task if all that it needs is kept, and in Django's thread otherwise."""
    known: dict[bytes, Any] = {}
    for _ in range(MOST_QUESTIONS):
        token = answers.set(known)
        try:
            return method(*arguments, **options)
        except Question as asked:
            question = asked
        except (NeedsThread, SynchronousOnlyOperation):
            break
        finally:
            answers.reset(token)
        try:
            answer = await question.backend.async_driver.do(question.step)
        except UNREACHED:
            break
        known[question.key] = answer
    return await sync_to_async(method)(*arguments, **options)
