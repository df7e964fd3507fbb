"""Which values are kept, and come back the same; and which are computed each time."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from redisdict import ComputedDict
from redisdict.exceptions import BackendUnavailable
from tests.modelcache.counting import queries
from tests.shop.models import Product, Tag


def test_a_hit_asks_no_database(menu: ComputedDict[list[str]], database: str) -> None:
    with queries(database) as asked:
        assert menu["Drinks"] == ["Tea"]
    assert len(asked) == 0


@pytest.mark.parametrize("value", [None, 0, "", "A", (1, 2), [], {"a": (None,)}, b"\xc0"])
def test_values_come_back(server: str, database: str, value: Any) -> None:
    calls = []

    def compute() -> Any:
        calls.append(1)
        return value

    computed: ComputedDict[Any] = ComputedDict("one", depends_on=[Product], compute=compute)
    for _ in range(3):
        got = computed.get()
        assert (got, type(got)) == (value, type(value))
    assert len(calls) == 1


def test_what_would_come_back_otherwise_is_not_kept(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Text(str):
        __slots__ = ()

    values: dict[int, Any] = {1: Text("tea"), 2: object()}
    computed: ComputedDict[Any] = ComputedDict(
        "odd", depends_on=[Product], compute=lambda key: values[key], key_type=int
    )
    for key, value in values.items():
        assert computed[key] is value
        assert computed[key] is value
    assert "A result of ComputedDict('odd') is not cached: of object" in caplog.text
    assert computed.stats().hits == 0


def test_what_reads_another_table_is_not_kept(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    count = ComputedDict("tags", depends_on=[Product], compute=lambda: Tag.objects.count())
    with caplog.at_level(logging.WARNING, "redisdict"):
        assert count.get() == 0
        Tag.objects.create(name="hot")
        assert count.get() == 1
    assert caplog.text.count("it reads shop.Tag too; add that to depends_on.") == 1


def test_what_is_computed_of_others_depends_on_their_tables(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    tags = ComputedDict("tags", depends_on=[Tag], compute=lambda: Tag.objects.count())
    page = ComputedDict("page", depends_on=[Product], compute=lambda: f"{tags.get()} tags")
    assert (page.get(), page.get()) == ("0 tags", "0 tags")  # of a hit no statement tells
    Tag.objects.create(name="hot")
    assert page.get() == "1 tags"
    assert "it reads shop.Tag too" in caplog.text


def test_what_changes_something_is_not_kept(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    def compute() -> int:
        Product.objects.create(name="Tea")
        return Product.objects.count()

    count = ComputedDict("count", depends_on=[Product], compute=compute)
    assert [count.get(), count.get()] == [1, 2]
    assert "it has changed the database" in caplog.text


def test_an_error_is_the_callers_and_nothing_is_kept(server: str, database: str) -> None:
    errors: list[Exception] = [BackendUnavailable("another server"), ValueError("no")]

    def compute() -> int:
        if errors:
            raise errors.pop(0)
        return 1

    computed = ComputedDict("failing", depends_on=[Product], compute=compute)
    with pytest.raises(BackendUnavailable, match="another server"):
        computed.get()
    with pytest.raises(ValueError, match="no"):
        computed.get()
    assert [computed.get(), computed.get()] == [1, 1]
    assert computed.stats().fills == 1


def test_another_version_of_the_function(server: str, database: str) -> None:
    def declare(version: str) -> ComputedDict[str]:
        return ComputedDict(
            "versioned", depends_on=[Product], compute=lambda: version, version=version
        )

    assert [declare(version).get() for version in "1221"] == ["1", "2", "2", "1"]
