"""A cache in both colours, on each of the servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redisdict.cache import DictCache

__all__ = ["Face", "entry"]


class Face:
    """Calls a cache's methods in one colour: `face.get(k)` is `get(k)` or `await aget(k)`.

    Args:
        cache: a `DictCache`, as `caches[name]` gives it, of whose type nothing is known.
    """

    def __init__(self, cache: Any, runner: asyncio.Runner | None) -> None:
        self.cache = cache
        self.runner = runner

    def __getattr__(self, name: str) -> Any:
        if self.runner is None:
            return getattr(self.cache, name)
        runner, method = self.runner, getattr(self.cache, f"a{name}")

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return lambda *args, **kwargs: runner.run(call(*args, **kwargs))

    def iter_keys(self, *args: Any, **kwargs: Any) -> list[str]:
        if self.runner is None:
            return list(self.cache.iter_keys(*args, **kwargs))

        async def collect() -> list[str]:
            return [key async for key in self.cache.aiter_keys(*args, **kwargs)]

        return self.runner.run(collect())


def entry(url: str, key_prefix: str = "", **values: Any) -> dict[str, Any]:
    """An entry of CACHES; values in capitals that belong into OPTIONS are given as `OPTIONS`."""
    return {
        "BACKEND": "redisdict.cache.DictCache",
        "LOCATION": url,
        "KEY_PREFIX": key_prefix,
        **values,
    }


@pytest.fixture(params=["sync", "async"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner | None]:
    if request.param == "sync":
        yield None
        return
    with asyncio.Runner() as running:
        yield running


@pytest.fixture
def configure() -> Iterator[Callable[..., None]]:
    """Sets CACHES for this test: `configure(default={...})`."""
    with ExitStack() as stack:
        yield lambda **entries: stack.enter_context(override_settings(CACHES=entries))


@pytest.fixture
def cache(server_url: str, key_prefix: str, configure: Callable[..., None]) -> Iterator[DictCache]:
    configure(default=entry(server_url, key_prefix))
    made: Any = caches["default"]
    yield made
    made.clear()


@pytest.fixture
def face(cache: DictCache, runner: asyncio.Runner | None) -> Face:
    return Face(cache, runner)
