"""One test for sync and async: it calls a method, or its async twin in the loop of a runner."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

__all__ = ["OneColour"]


class OneColour:
    """Calls an object's methods in one colour: `face.get(k)` is `d.get(k)` or `await d.aget(k)`.

    Each call in the loop is a task with the context of the test, so that it is in its request.

    Args:
        target: whose methods are called.
        runner: of the loop; None for sync.
    """

    def __init__(self, target: Any, runner: asyncio.Runner | None) -> None:
        self.target = target
        self.runner = runner

    def __getattr__(self, name: str) -> Any:
        if self.runner is None:
            return getattr(self.target, name)
        method = getattr(self.target, f"a{name}")

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return lambda *args, **kwargs: self._run(call(*args, **kwargs))

    def choose(self, sync: Callable[[], Any], asynchronous: Callable[[], Any]) -> Any:
        """Call one of two functions; the second one makes a coroutine."""
        return sync() if self.runner is None else self._run(asynchronous())

    def collect(
        self, sync: Callable[[], Iterable[Any]], asynchronous: Callable[[], AsyncIterable[Any]]
    ) -> list[Any]:
        """Collect the items of one of two iterables."""
        if self.runner is None:
            return list(iter(sync()))  # of a view itself, list() would ask for the length too

        async def collected() -> list[Any]:
            return [item async for item in asynchronous()]

        return list(self._run(collected()))

    def _run(self, coroutine: Any) -> Any:
        assert self.runner is not None
        return self.runner.run(coroutine, context=contextvars.copy_context())
