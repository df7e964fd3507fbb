"""Items as JSON Lines."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from redisdict import PersistentDict, get_client
from tests.admin.dicts.addresses import LAYOUTS, make, url_of
from tests.admin.pages import Page

pytestmark = [pytest.mark.django_db, pytest.mark.each_value_once]


def exported(client: Client, url: str, **query: str) -> dict[str, dict[str, Any]]:
    response = client.get(url, query)
    assert response.status_code == 200
    text = b"".join(response.streaming_content).decode()
    response.close()
    items = [json.loads(line) for line in text.split("\n")[:-1]]
    by_key = {item.get("key", item.get("key_hex")): item for item in items}
    assert len(by_key) == len(items)
    return by_key


@LAYOUTS
def test_every_item_is_exported_with_its_value(viewer: Client, is_hash: bool) -> None:
    mapping = make("My shop", is_hash)
    mapping.update({f"item {number}": number for number in range(3000)})
    mapping["nested"] = {"a": [1, None, "é\n"]}
    mapping["date"] = datetime.date(2026, 3, 1)
    mapping["tuple"] = (1, 2)
    mapping["odd \ud800"] = "\ud800"
    mapping.set("soon", float("nan"), timeout=10_000)
    response = viewer.get(url_of("My shop", is_hash, "export"))
    response.close()
    assert response.headers["Content-Disposition"] == 'attachment; filename="my-shop.jsonl"'
    items = exported(viewer, url_of("My shop", is_hash, "export"))
    assert len(items) == 3005
    assert items["item 7"] == {
        "key": "item 7", "milliseconds_left": None, "type": "int", "value": 7,
    }  # fmt: skip
    assert items["nested"]["value"] == {"a": [1, None, "é\n"]}
    assert items["date"]["literal"] == "datetime.date(2026, 3, 1)"
    assert items["tuple"]["literal"] == "(1, 2)"
    assert items["odd \ud800"]["value"] == "\ud800"
    assert items["soon"]["literal"] == "nan"
    assert 0 < items["soon"]["milliseconds_left"] <= 10_000_000


def test_only_what_was_found_is_exported(viewer: Client) -> None:
    make("fruit").update(dict.fromkeys(["apple", "berry", "cherry"], 1))
    assert set(exported(viewer, url_of("fruit", page="export"), q="err")) == {"berry", "cherry"}
    shown = Page(viewer.get(url_of("fruit"), {"q": "b*"}).content)
    [link] = [link for link in shown.links if "/export/" in link]
    assert set(exported(viewer, link)) == {"berry"}
    refused = viewer.get(url_of("fruit", page="export"), {"q": "[a"}, follow=True)
    assert "has a [ without a ]" in Page(refused.content).text


def test_what_cannot_be_read_is_exported_as_bytes(viewer: Client, key_prefix: str) -> None:
    PersistentDict[str, Any]("raw", serializer="pickle")["x"] = [1]
    get_client().hset(f"{key_prefix}:h:{{raw}}", b"\xff\x00", b"\x99\x01garbage")
    items = exported(viewer, url_of("raw", page="export"))
    assert items["ff00"]["stored_hex"] == b"\x99\x01garbage".hex()
    assert "pickle" in items["x"]["problem"]


def test_name_without_letters_still_has_a_file(viewer: Client) -> None:
    make("☃")["x"] = 1
    response = viewer.get(url_of("☃", page="export"))
    response.close()
    assert response.headers["Content-Disposition"] == 'attachment; filename="dict.jsonl"'


def test_who_may_not_see_may_not_export(
    outsider: Client, client: Client, viewer: Client, tmp_path: Path
) -> None:
    make("shop")["x"] = 1
    url = url_of("shop", page="export")
    assert outsider.get(url).status_code == 403
    assert client.get(url).status_code == 302
    with override_settings(REDISDICT={"default": {"LOCATION": f"unix://{tmp_path}/no.sock"}}):
        assert "is unavailable" in Page(viewer.get(url, follow=True).content).text
