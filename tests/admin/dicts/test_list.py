"""The list of servers and their dicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from tests.admin.dicts.addresses import LIST, make
from tests.admin.pages import Page
from tests.recorded import RecordedServer

pytestmark = pytest.mark.django_db


def test_servers_of_all_aliases(
    viewer: Client, server_url: str, alias_for: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    aliases = {
        "default": alias_for(server_url),
        "away": {"LOCATION": "redis://user:hunter2@127.0.0.1:1/0"},
        "broken": {"LOCATION": "nonsense://hunter2"},
    }
    with override_settings(REDISDICT=aliases):
        response = viewer.get(LIST)
    assert "hunter2" not in response.content.decode()
    rows = {row["Alias"]: row for row in Page(response.content).rows("Alias", "Server")}
    assert list(rows) == ["default", "away", "broken"]
    assert rows["default"]["Server"].startswith(("Redis ", "Valkey "))
    assert rows["default"]["Role"] == "primary with 0 replicas"
    assert rows["default"]["Memory"].endswith(", no limit")
    assert rows["default"]["Persistence"] == "off"
    assert "127.0.0.1:1" in rows["away"]["Server"]
    assert "LOCATION" in rows["broken"]["Server"]


def test_servers_with_words_of_their_own(viewer: Client, alias_for: Any) -> None:
    with RecordedServer("keydb", "active-replica") as keydb:
        with RecordedServer("dragonfly", "cache-mode") as dragonfly:
            aliases = {"default": alias_for(keydb.url), "other": alias_for(dragonfly.url)}
            with override_settings(REDISDICT=aliases):
                response = viewer.get(LIST)
    rows = {row["Alias"]: row for row in Page(response.content).rows("Alias", "Server")}
    words = ("Role", "Eviction", "Persistence")
    assert {alias: [row[word] for word in words] for alias, row in rows.items()} == {
        "default": ["primary with 1 replicas", "noeviction", "off"],
        "other": ["primary with 0 replicas", "eviction", "off"],
    }


def test_warnings_of_the_system_checks_come_first(viewer: Client) -> None:
    text = Page(viewer.get(LIST).content).text
    # The servers of the tests keep nothing on disk.
    assert "writes nothing to disk: a restart loses every dict." in text
    assert "(redisdict.W003)" in text
    assert text.index("1 warning") < text.index("Aliases and their servers")


@pytest.mark.parametrize("setting", [{}, None])
def test_without_aliases(viewer: Client, setting: Any) -> None:
    with override_settings(REDISDICT=setting, CACHES={}):
        assert "The setting REDISDICT has no aliases." in Page(viewer.get(LIST).content).text


def test_dicts_with_layout_size_and_lifetimes(viewer: Client) -> None:
    make("a hash").update(dict.fromkeys("abc", "x" * 100))
    make("single keys", is_hash=False).set_many(dict.fromkeys("ab", 1), timeout=7200)
    mixed = make("mixed")
    mixed.set("soon", 1, timeout=90)
    mixed["for ever"] = 1
    rows = {row["Name"]: row for row in Page(viewer.get(LIST).content).rows("Name", "Layout")}
    assert {name: (row["Layout"], row["Items"]) for name, row in rows.items()} == {
        "a hash": ("one hash", "3"),
        "single keys": ("single keys", "2"),
        "mixed": ("one hash", "2"),
    }
    assert rows["a hash"]["Time to live"] == "for ever"
    assert rows["single keys"]["Time to live"].startswith("1 h 59 min")
    assert rows["mixed"]["Time to live"].startswith("1 min ")
    assert rows["mixed"]["Time to live"].endswith("\N{EN DASH} for ever")
    assert rows["a hash"]["Memory"].endswith("bytes")


def test_many_dicts_come_page_by_page(viewer: Client) -> None:
    names = {f"dict {number}" for number in range(600)}
    for name in names:
        make(name)["x"] = 1
    seen: set[str] = set()
    query: dict[str, str] = {}
    for _ in range(40):
        response = viewer.get(LIST, query)
        page = Page(response.content)
        if page.has_table("Name", "Layout"):
            seen |= {row["Name"] for row in page.rows("Name", "Layout")}
        further = [link for link in page.links if "cursor=" in link]
        if not further:
            break
        query = {"alias": "default", "cursor": further[0].partition("cursor=")[2]}
    assert seen == names
