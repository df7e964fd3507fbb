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
from tests.colours import OneColour

__all__ = ["Face", "entry"]


class Face(OneColour):
    """Calls a cache's methods in one colour.

    Its target is a `DictCache`, as `caches[name]` gives it, of whose type nothing is known.
    """

    @property
    def cache(self) -> Any:
        return self.target

    def iter_keys(self, *args: Any, **kwargs: Any) -> list[str]:
        return self.collect(
            lambda: self.cache.iter_keys(*args, **kwargs),
            lambda: self.cache.aiter_keys(*args, **kwargs),
        )


def entry(url: str, key_prefix: str = "", **values: Any) -> dict[str, Any]:
    """An entry of CACHES; values in capitals that belong into OPTIONS are given as `OPTIONS`."""
    return {
        "BACKEND": "redisdict.cache.DictCache",
        "LOCATION": url,
        "KEY_PREFIX": key_prefix,
        **values,
    }


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
