"""A dict with `near` in one colour, and the same dict in another process."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from tests.near.conftest import make, wait_until_on

__all__ = ["Face", "face", "mapping", "other"]


class Face:
    """Calls a dict's methods in one colour."""

    def __init__(self, mapping: Any, runner: asyncio.Runner | None) -> None:
        self.mapping = mapping
        self.runner = runner

    def __getattr__(self, name: str) -> Any:
        if self.runner is None:
            return getattr(self.mapping, {"getitem": "__getitem__"}.get(name, name))
        runner, method = self.runner, getattr(self.mapping, f"a{name}")

        async def call(*args: Any, **options: Any) -> Any:
            return await method(*args, **options)

        return lambda *args, **options: runner.run(
            call(*args, **options), context=contextvars.copy_context()
        )

    def contains(self, key: Any) -> bool:
        if self.runner is None:
            return key in self.mapping
        context = contextvars.copy_context()
        return bool(self.runner.run(self.mapping.acontains(key), context=context))


@pytest.fixture
def mapping(backend: Backend, is_hash: bool) -> Any:
    mapping = make(backend, hset_enabled=is_hash)
    wait_until_on(mapping)
    return mapping


@pytest.fixture
def face(mapping: Any, runner: asyncio.Runner | None) -> Face:
    return Face(mapping, runner)


@pytest.fixture
def other(elsewhere: Backend, is_hash: bool) -> Any:
    return PersistentDict("d", elsewhere, hset_enabled=is_hash)
