"""What a walk finds while another one is under way, on every server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict

STAYING = 3000
ROUNDS = 10


@pytest.fixture
def hset_enabled() -> bool:
    return False


def test_a_walk_beside_another_finds_what_is_there(
    make: Callable[..., PersistentDict[str, Any]],
) -> None:
    """KeyDB gives walks in transactions the keys themselves, and others an older snapshot."""
    mapping, other = make("d"), make("other")
    staying = {f"stay {number}" for number in range(STAYING)}
    for one in (mapping, other):
        one.set_many(dict.fromkeys(staying))
    is_over = threading.Event()
    lengths: list[int] = []

    def count() -> None:
        while not is_over.is_set():
            lengths.append(len(other))

    beside = threading.Thread(target=count)
    beside.start()
    try:
        for number in range(ROUNDS):
            new = {f"new {number} {each}" for each in range(20)}
            mapping.set_many(dict.fromkeys(new))
            assert set(iter(mapping)) == staying | new
            mapping.delete_many(new)
            assert set(iter(mapping)) == staying
    finally:
        is_over.set()
        beside.join()
    assert set(lengths) <= {STAYING}
