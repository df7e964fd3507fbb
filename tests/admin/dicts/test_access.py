"""Who sees what, nonsense in addresses, servers that are away, and what a page costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from redisdict import get_client
from redisdict.models import StoredDict
from tests.admin.dicts.addresses import LIST, make, url_of
from tests.admin.pages import Page

pytestmark = [pytest.mark.django_db, pytest.mark.each_value_once]

#: A database in which no other test keeps anything.
OWN = 9


def test_viewer_can_only_look(viewer: Client) -> None:
    mapping = make("shop")
    mapping["x"] = 1
    page = Page(viewer.get(url_of("shop")).content)
    assert not any("delete" in link for link in page.links)
    item = url_of("shop", page="delete_item") + f"?field={b'x'.hex()}"
    for url in (item, url_of("shop", page="delete")):
        assert viewer.get(url).status_code == 403
        assert viewer.post(url, {"post": "yes"}).status_code == 403
    for path in (f"{LIST}add/",):
        assert viewer.get(path).status_code == 403
    assert dict(mapping) == {"x": 1}


def test_outsider_sees_nothing(outsider: Client, client: Client) -> None:
    make("shop")["x"] = 1
    for url in (LIST, url_of("shop"), url_of("shop", page="history")):
        assert outsider.get(url).status_code == 403
        assert client.get(url).status_code == 302
    assert "Persistent dicts" not in Page(outsider.get("/admin/").content).text


@pytest.mark.parametrize(
    "identity",
    ["nonsense", "[]", '["default"]', '["default", "hash"]', '["default", "tree", "x"]',
     '["elsewhere", "hash", "x"]', '["default", "hash", 1]', '{"a": 1}', "null", "1", "[[]]"],
)  # fmt: skip
def test_unknown_dicts_are_not_found(keeper: Client, identity: str) -> None:
    for page in ("change", "delete_item"):
        url = reverse(f"admin:redisdict_storeddict_{page}", args=[quote(identity)])
        assert keeper.get(url).status_code == 404
    url = reverse("admin:redisdict_storeddict_delete", args=[quote(identity)])
    assert keeper.post(url, {"post": "yes"}).status_code == 302


@pytest.mark.parametrize("query", ["?field=xyz", "?cursor=x", "?cursor=²", "?cursor=-1"])
def test_nonsense_in_the_query_is_harmless(keeper: Client, query: str) -> None:
    make("shop")["x"] = 1
    expected = 404 if "field" in query else 200
    page = "delete_item" if "field" in query else "change"
    assert keeper.get(url_of("shop", page=page) + query).status_code == expected
    assert keeper.get(LIST + query).status_code == 200


def test_server_that_is_away_is_told(keeper: Client, tmp_path: Path) -> None:
    mapping = {"default": {"LOCATION": f"unix://{tmp_path}/no.sock"}}
    with override_settings(REDISDICT=mapping):
        text = Page(keeper.get(url_of("shop")).content).text
        assert f"{tmp_path}/no.sock" in text
        item = url_of("shop", page="delete_item") + "?field=00"
        for url in (item, url_of("shop", page="delete")):
            response = keeper.post(url, {"post": "yes"}, follow=True)
            assert response.redirect_chain == [(url_of("shop"), 302)]
            assert "is unavailable" in Page(response.content).text
    assert not LogEntry.objects.exists()


def test_no_page_uses_a_command_that_blocks_the_server(
    keeper: Client, server_url: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    # What other tests have left where they keep their keys would be looked through as well.
    location = f"{server_url.removesuffix('?db=0')}?db={OWN}"
    with override_settings(REDISDICT={"default": alias_for(location)}):
        _ask_for_pages_of_long_dicts(keeper)


def _ask_for_pages_of_long_dicts(keeper: Client) -> None:
    make("hash").update({str(number): "x" * 10 for number in range(5000)})
    make("keys", is_hash=False).update({str(number): "x" * 10 for number in range(5000)})
    client = get_client()
    forbidden = ("keys", "hkeys", "hvals", "hgetall", "smembers", "del", "flushdb", "flushall")

    def calls() -> dict[str, int]:
        stats: Any = client.info("commandstats")
        return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in forbidden}

    def commands() -> int:
        stats: Any = client.info("stats")
        return int(stats["total_commands_processed"])

    before, asked = calls(), commands()
    for url in (LIST, url_of("hash"), url_of("keys", is_hash=False)):
        assert keeper.get(url).status_code == 200
    assert commands() - asked < 500  # and none that asks for each of the items
    keeper.post(url_of("hash", page="delete"), {"post": "yes"})
    keeper.post(url_of("keys", is_hash=False, page="delete"), {"post": "yes"})
    assert calls() == before
    assert not list(client.scan_iter("*{hash}*")) + list(client.scan_iter("*{keys}*"))


def test_pages_ask_the_database_for_the_user_only(viewer: Client) -> None:
    make("shop").update({str(number): number for number in range(100)})
    for url in (LIST, url_of("shop")):
        with CaptureQueriesContext(connection) as queries:
            viewer.get(url)
        assert len(queries) <= 4


def test_identity_survives_the_way_through_an_address() -> None:
    for path in (["a"], ["a", "b"], [""], ["\ud800"], ['"'], ["_3A"]):
        stored = StoredDict.of("my:alias", path, is_hash=True)
        assert json.loads(stored.pk)
        assert (stored.alias, stored.path, stored.is_hash) == ("my:alias", tuple(path), True)


def test_wrong_password_is_told_without_it(viewer: Client, valkey_url: str) -> None:
    url = valkey_url.replace("unix://", "unix://:hunter2@")
    with override_settings(REDISDICT={"default": {"LOCATION": url}}):
        response = viewer.get(LIST)
    assert response.status_code == 200
    assert "hunter2" not in response.content.decode()
