"""What the application does: it reads everything once when it is imported, and again when asked."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Any

import django
from django.core.cache import cache
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.stress.deployments.settings")
django.setup()

from redisdict import ModelDict, PersistentDict, get_client  # noqa: E402  # Django comes first
from redisdict.modelcache.slots.store import new_token  # noqa: E402
from tests.stress.modelcache.models import Row, code_of  # noqa: E402

__all__ = ["read", "write"]

KEYS = range(200)

own: PersistentDict[str, int] = PersistentDict("numbers")
borrowed: PersistentDict[str, int] = PersistentDict("numbers", using="borrowing")
rows: ModelDict[int, Row] = ModelDict(Row)


def write() -> None:
    """Store what is read: under each key its number."""
    own.update({f"k{key}": key for key in KEYS})
    cache.set_many({f"k{key}": key for key in KEYS})
    for key in KEYS:
        Row.objects.create(pk=key + 1, code=code_of(key), version=key)


def read(count: int) -> dict[str, Any]:
    """Read `count` values in each way, in an order of this process's own.

    Returns:
        How many there were, how many were another key's, and what is this process's alone: its
        id, a token of the model cache, and the id of a connection.
    """
    chance = random.SystemRandom()
    keys = [chance.choice(KEYS) for _ in range(count)]
    wrong = sum(own[f"k{key}"] != key for key in keys)
    wrong += sum(borrowed[f"k{key}"] != key for key in keys)
    wrong += sum(cache.get(f"k{key}") != key for key in keys)
    wrong += sum(rows[key + 1].version != key for key in keys)
    many = {f"k{key}": key for key in keys}
    wrong += own.get_many(many) != many
    reads = 4 * count + 1
    if not _is_patched():
        wrong += asyncio.run(_wrong_in_tasks(keys))
        reads += count
    return {
        "reads": reads,
        "wrong": wrong,
        "pid": os.getpid(),
        "token": new_token().hex(),
        "connection": get_client().client_id(),
    }


async def _wrong_in_tasks(keys: list[int]) -> int:
    return sum(
        found != key
        for key, found in zip(
            keys, await asyncio.gather(*(own.aget(f"k{key}") for key in keys)), strict=True
        )
    )


def _is_patched() -> bool:
    """Whether threads are gevent's, of which two can't run a loop at a time."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


if os.environ.get("REDISDICT_IS_FULL"):
    # The process that imports this has connections then, some of them those of a loop left open.
    if not _is_patched():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_wrong_in_tasks(list(KEYS)))
    assert read(len(KEYS))["wrong"] == 0
    connections.close_all()  # the database's are for the project to close before a fork
