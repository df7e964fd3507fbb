"""A server that is away, with IGNORE_EXCEPTIONS and without."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest
from django.core.cache import caches

from redisdict.cache import DictCache
from redisdict.cache.ignoring import INSTEAD
from redisdict.exceptions import BackendUnavailable, NotANumberError
from tests.cache.conftest import Face, entry

AWAY = "redis://127.0.0.1:1/0"

#: Arguments for each method, and what it gives.
CALLS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "add": (("k", 1), False),
    "clear": ((), None),
    "delete": (("k",), False),
    "delete_many": ((["k"],), 0),
    "delete_pattern": (("*",), 0),
    "expire": (("k", 5), False),
    "expire_at": (("k", 5), False),
    "get": (("k", "default"), "default"),
    "get_many": ((["k"],), {}),
    "get_or_set": (("k", lambda: 42), 42),
    "has_key": (("k",), False),
    "iter_keys": (("*",), []),
    "keys": (("*",), []),
    "persist": (("k",), False),
    "pexpire": (("k", 5), False),
    "pexpire_at": (("k", 5), False),
    "pttl": (("k",), 0),
    "set": (("k", 1), False),
    "set_many": (({"k": 1, "l": 2},), ["k", "l"]),
    "touch": (("k",), False),
    "ttl": (("k",), 0),
}
RAISING = ["decr", "decr_version", "incr", "incr_version"]


def face_of(runner: Any) -> Face:
    made: Any = caches["default"]
    assert isinstance(made, DictCache)
    return Face(made, runner)


def test_every_method_is_tried() -> None:
    assert {*CALLS, *RAISING} == set(INSTEAD)


@pytest.mark.parametrize("name", [*CALLS, *RAISING])
def test_an_unreachable_server_is_an_error(name: str, configure: Any, runner: Any) -> None:
    configure(default=entry(AWAY))
    arguments = CALLS.get(name, (("k",), None))[0]
    with pytest.raises(BackendUnavailable):
        getattr(face_of(runner), name)(*arguments)


@pytest.mark.parametrize("name", CALLS)
def test_or_as_if_the_cache_were_empty(
    name: str, configure: Any, runner: Any, caplog: pytest.LogCaptureFixture
) -> None:
    configure(default=entry(AWAY, OPTIONS={"IGNORE_EXCEPTIONS": True}))
    arguments, expected = CALLS[name]
    with caplog.at_level(logging.WARNING, "redisdict.cache"):
        assert getattr(face_of(runner), name)(*arguments) == expected
    assert any(record.name == "redisdict.cache" for record in caplog.records)
    assert "127.0.0.1:1" in caplog.text


@pytest.mark.parametrize("name", RAISING)
def test_a_missing_key_stays_an_error(name: str, configure: Any, runner: Any) -> None:
    configure(default=entry(AWAY, OPTIONS={"IGNORE_EXCEPTIONS": True}))
    with pytest.raises(ValueError, match="'k' not found"):
        getattr(face_of(runner), name)("k")


def test_what_is_the_callers_fault_is_not_ignored(
    redis_url: str, key_prefix: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(redis_url, key_prefix, OPTIONS={"IGNORE_EXCEPTIONS": True}))
    face = face_of(runner)
    face.set("k", "text")
    with pytest.raises(NotANumberError):
        face.incr("k")
    with pytest.raises(TypeError):
        face.set("k", lambda: 1)
    assert face.get("k") == "text"
    again = pickle.loads(pickle.dumps(face.cache))
    assert type(again) is type(face.cache)
    assert again.get("k") == "text"
    face.clear()
    assert face.keys() == []


async def test_a_coroutine_function_computes(configure: Any) -> None:
    configure(default=entry(AWAY, OPTIONS={"IGNORE_EXCEPTIONS": True}))

    async def compute() -> int:
        return 5

    assert await caches["default"].aget_or_set("k", compute) == 5
