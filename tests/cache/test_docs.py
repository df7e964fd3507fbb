"""docs/cache.md names every option and every method, and which of others are refused."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from redisdict.cache import DictCache, cached
from redisdict.cache.options import CAPITALS, ELSEWHERE, READERS
from tests.cache.test_twins import TWINS

PAGE = (Path(__file__).parents[2] / "docs" / "cache.md").read_text()


def names_in(beginning: str, end: str) -> set[str]:
    """The names in the first column of the tables between two headings."""
    part = PAGE.partition(f"\n{beginning}\n")[2].partition(f"\n{end}\n")[0]
    cells = re.findall(r"^\| (.*?) \|", part, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)[`(]", cell)}


def test_every_option_is_there() -> None:
    assert {name for name in names_in("## Settings", "## Values") if name in CAPITALS} == {
        *CAPITALS
    }


def test_every_option_of_functions_is_there() -> None:
    named = names_in("## Functions", "### Its key")
    assert named == set(inspect.signature(cached).parameters)


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_is_there(reader: str) -> None:
    assert f'"{reader}"' in PAGE


def test_every_method_beyond_djangos_is_there() -> None:
    named = names_in("## Beyond Django's", "## Clear")
    assert all(hasattr(DictCache, name) for name in named)
    assert named >= {"ttl", "pttl", "expire", "persist", "lock", "keys", "iter_keys", "client"}
    assert named <= {*TWINS, "aclient"}


@pytest.mark.parametrize(
    "name",
    ["CLIENT_CLASS", "CONNECTION_POOL_KWARGS", "PASSWORD", "PICKLE_VERSION", "pool_class"],
)
def test_what_is_said_to_move_is_refused_with_a_hint(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert name in ELSEWHERE
