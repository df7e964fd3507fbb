"""A dict with `near` in one colour, and the same dict in another process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from tests.colours import OneColour
from tests.near.conftest import make, wait_until_on

__all__ = ["Face", "face", "mapping", "other"]


class Face(OneColour):
    """Calls a dict's methods in one colour."""

    @property
    def mapping(self) -> Any:
        return self.target

    def getitem(self, key: Any) -> Any:
        return self.choose(lambda: self.mapping[key], lambda: self.mapping.agetitem(key))

    def contains(self, key: Any) -> bool:
        return bool(self.choose(lambda: key in self.mapping, lambda: self.mapping.acontains(key)))


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
