"""Which combinations of a test the quick suite has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from tests.depth import mark_repeated_combinations

SERVERS = {"server_url": ["redis", "valkey"]}
LAYOUTS = {"hset_enabled": [True, False]}
RUNNERS = {"runner": ["sync", "async"]}
POOLS = {"pool_class": ["plain", "blocking", "fast"]}
DATABASES = {"database": ["sqlite", "postgres"]}


def quick(
    factors: Mapping[str, Sequence[Any]],
    missing: Collection[str] = (),
    name: str = "test_it",
    *marks: str,
) -> list[tuple[Any, ...]]:
    """The combinations of these factors that aren't marked as deep."""
    items = []
    for values in product(*factors.values()):
        added: list[str] = []
        item = SimpleNamespace(
            nodeid=f"{name}[{'-'.join(map(str, values))}]",
            callspec=SimpleNamespace(params=dict(zip(factors, values, strict=True))),
            get_closest_marker=lambda mark: SimpleNamespace(args=()) if mark in marks else None,
            add_marker=added.append,
            values=values,
            added=added,
        )
        items.append(item)
    anything: Any = items
    mark_repeated_combinations(anything, missing)
    return [item.values for item in items if item.added != ["deep"]]


def test_pairs_of_three_factors() -> None:
    chosen = quick(SERVERS | LAYOUTS | RUNNERS)
    assert len(chosen) == 4
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len({(each[one], each[other]) for each in chosen}) == 4


@pytest.mark.parametrize("others", [LAYOUTS, RUNNERS, POOLS], ids=lambda one: next(iter(one)))
def test_a_server_and_another_factor(others: dict[str, list[Any]]) -> None:
    [values] = others.values()
    chosen = quick(SERVERS | others)
    assert {server for server, _ in chosen} == {"redis", "valkey"}
    assert sorted(str(value) for _, value in chosen) == sorted(map(str, values))


def test_two_factors_that_are_no_servers_are_all_there() -> None:
    assert len(quick(LAYOUTS | RUNNERS)) == 4


def test_of_databases_alone_one_by_the_name_of_the_test() -> None:
    names = [f"tests/test_{number}.py::test_it" for number in range(50)]
    chosen = [quick(DATABASES, (), name) for name in names]
    assert {len(each) for each in chosen} == {1}
    assert 10 < sum(each == [("sqlite",)] for each in chosen) < 40
    assert chosen == [quick(DATABASES, (), name) for name in names]


def test_what_is_missing_stands_for_nothing() -> None:
    """It stays in the quick suite, which says why it is skipped."""
    chosen = quick(SERVERS | LAYOUTS, ["redis"])
    assert {each for each in chosen if each[0] == "valkey"} == {("valkey", True), ("valkey", False)}
    assert {each for each in chosen if each[0] == "redis"} == {("redis", True), ("redis", False)}
    assert quick(DATABASES, ["postgres"]) == [("sqlite",), ("postgres",)]


def test_each_value_once() -> None:
    chosen = quick(SERVERS | LAYOUTS | RUNNERS, (), "test_it", "each_value_once")
    assert len(chosen) == 2
    for place in range(3):
        assert len({each[place] for each in chosen}) == 2
