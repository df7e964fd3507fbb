"""Going through a dict while it changes: no error, and what stays comes exactly once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from redisdict import PersistentDict
from tests.mapping.conftest import Face

STAYING = 3000
GOING = 3000


def walk(face: Face, way: str, change: Callable[[str], None]) -> list[str]:
    """The keys that an iteration delivers, with a change after each."""
    delivered = []

    def take(key: str) -> None:
        delivered.append(key)
        change(key)

    def key_of(item: Any) -> str:
        return item[0] if way == "items" else item

    def walk_in_thread(iterator: Iterator[Any]) -> None:
        for item in iterator:
            take(key_of(item))

    async def walk_in_task(iterator: AsyncIterator[Any]) -> None:
        async for item in iterator:
            take(key_of(item))

    if face.runner is None:
        walk_in_thread(iter(getattr(face.mapping, way)()))
    else:
        face.runner.run(walk_in_task(getattr(face.mapping, f"a{way}")()))
    return delivered


@pytest.mark.parametrize("way", ["keys", "items"])
def test_what_stays_is_delivered_once(face: Face, way: str) -> None:
    staying = {f"stay {number}": number for number in range(STAYING)}
    going = {f"go {number}": number for number in range(GOING)}
    face.set_many(staying | going)
    left = list(going)
    steps = 0

    def change(key: str) -> None:
        nonlocal steps
        steps += 1
        if steps % 50:
            return
        # The table of the server grows and shrinks under the iteration.
        for _ in range(100):
            if left:
                face.mapping.delete(left.pop())
        face.mapping.set_many({f"come {steps} {number}": number for number in range(20)})
        face.mapping[next(iter(staying))] = steps

    delivered = Counter(walk(face, way, change))
    assert set(delivered.values()) == {1}
    assert staying.keys() <= delivered.keys()


@pytest.mark.parametrize("left", [5000, 200, 10])
def test_a_table_that_shrinks_under_the_iteration(
    make: Callable[..., PersistentDict[str, int]], left: int
) -> None:
    """What real servers repeat then, in a few places of the walk, isn't delivered again."""
    for at in (0.3, 0.6, 0.9):
        mapping = make(f"shrinking {at}")
        count = 40_000
        mapping.set_many({f"item {number}": number for number in range(count)})
        staying = {f"item {number}" for number in range(0, count, count // left)}
        delivered: Counter[str] = Counter()
        for place, (key, _) in enumerate(mapping.items()):
            delivered[key] += 1
            if place == int(at * count):
                mapping.delete_many(
                    key for key in map("item {}".format, range(count)) if key not in staying
                )
                for _ in range(300):  # the server moves a part of the table with every command
                    mapping.get("item 0")
        assert set(delivered.values()) == {1}
        assert staying <= delivered.keys()


def test_an_iteration_that_empties_the_dict(face: Face) -> None:
    face.set_many({str(number): number for number in range(STAYING)})
    delivered = walk(face, "keys", lambda key: face.mapping.__delitem__(key))
    assert sorted(delivered) == sorted(map(str, range(STAYING)))
    assert face.len() == 0


@pytest.mark.parametrize("count", [1, 2])
def test_an_iteration_that_is_always_added_to_ends(face: Face, count: int) -> None:
    """What is new lies among the rest, so a page meets more of it the later it comes."""
    staying = [f"stay {number}" for number in range(STAYING)]
    face.set_many(dict.fromkeys(staying))
    numbers = iter(range(10 * STAYING))

    def store(_: str) -> None:
        face.mapping.set_many({f"new {next(numbers)}": None for _ in range(count)})

    delivered = walk(face, "keys", store)
    assert set(staying) <= set(delivered)
    assert len(set(delivered)) == len(delivered)
    assert len(delivered) <= STAYING * (math.exp(count) - 1) / count


def test_an_iteration_meets_a_clear(face: Face) -> None:
    face.set_many({str(number): number for number in range(STAYING)})
    delivered = walk(face, "keys", lambda _: face.mapping.clear())
    assert 1 <= len(delivered) <= STAYING
    assert len(set(delivered)) == len(delivered)
