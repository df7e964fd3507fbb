"""The page of one item: its value is edited by those who may, and nobody's change is lost."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from django.utils.safestring import mark_safe

from redisdict import PersistentDict, get_client
from redisdict.admin.dicts.editing import codec_for, version_of
from redisdict.codec.envelope import JSON, ZLIB, split_format_byte
from redisdict.connections.registry import get_backend
from redisdict.models import StoredDict
from tests.admin.dicts.addresses import HOSTILE, LAYOUTS, item_url, make, url_of
from tests.admin.pages import Page

pytestmark = [pytest.mark.django_db, pytest.mark.each_value_once]


@pytest.fixture
def editor(client_with: Callable[..., Client]) -> Client:
    """May edit, and not delete."""
    return client_with("view_storeddict", "change_storeddict")


def fields_of(response: Any) -> dict[str, str]:
    """What the browser would send if nothing was typed."""
    form = response.context["form"]
    return {name: form[name].value() for name in form.fields}


def save(client: Client, url: str, value: str, kind: str = "literal") -> Any:
    sent = fields_of(client.get(url)) | {"value": value, "kind": kind}
    return client.post(url, sent, follow=True)


@LAYOUTS
def test_value_is_edited_and_keeps_its_time_to_live(editor: Client, is_hash: bool) -> None:
    mapping = make("shop", is_hash)
    mapping.set("x", {"a": 1}, timeout=1000)
    mapping["y"] = 1
    response = save(editor, item_url("shop", "x", is_hash), "{'a': 2,\n 'b': Decimal('1.50')}")
    assert "The item 'x' is changed." in Page(response.content).text
    assert dict(mapping) == {"x": {"a": 2, "b": Decimal("1.50")}, "y": 1}
    left = mapping.ttl("x")
    assert left is not None
    assert 900 < left <= 1000
    entry = LogEntry.objects.get()
    assert entry.object_id == StoredDict.of("default", ["shop"], is_hash=is_hash).pk
    assert entry.change_message == "Changed the item 'x'."


@pytest.mark.parametrize(
    "value",
    ["plain", "", " ", "two\nlines\n", "\nline", "a\r\nb", "\0", "\ud800", "'quoted'", HOSTILE, 0,
     -5, 10**30, 1.25, True, None, [1, "a"], (1, (2,)), {"a": {1: None}}, {1}, b"\xff",
     Decimal("1.0"), datetime.date(2026, 3, 1), "x" * 300, ["word " * 50] * 5],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_saving_what_is_shown_changes_nothing(editor: Client, value: Any) -> None:
    make("kept")["x"] = value
    url = item_url("kept", "x")
    sent = fields_of(editor.get(url))
    # As a browser sends the line ends of a textarea.
    sent["value"] = sent["value"].replace("\n", "\r\n")
    assert "is changed." in Page(editor.post(url, sent, follow=True).content).text
    stored = make("kept")["x"]
    assert stored == value
    assert type(stored) is type(value)


def test_text_is_kept_as_it_stands(editor: Client) -> None:
    mapping = make("shop")
    mapping["x"] = 1
    save(editor, item_url("shop", "x"), "  42 \r\n", "text")
    assert mapping["x"] == "  42 \n"


@pytest.mark.parametrize(
    "value", [mark_safe("x"), [mark_safe("x")], float("nan"), float("inf")], ids=repr
)
def test_what_has_no_literal_is_shown_and_not_edited(editor: Client, value: Any) -> None:
    make("shop")["x"] = value
    response = editor.get(item_url("shop", "x"))
    assert (
        "It can't be edited here, because a part of it has no Python literal."
        in Page(response.content).text
    )
    assert response.context["form"] is None


def test_instances_and_pickles_are_not_edited(editor: Client, key_prefix: str) -> None:
    make("shop")["x"] = User.objects.create(username="kept")
    assert editor.get(item_url("shop", "x")).context["form"] is None
    PersistentDict[str, Any]("shop", serializer="pickle")["y"] = [1]
    text = Page(editor.get(item_url("shop", "y")).content).text
    refusal = "It can't be edited, because it can't be read."
    assert refusal in text
    # Nor by a form that this page didn't give.
    name = f"{key_prefix}:h:{{shop}}"
    stored = get_client().hget(name, "y")
    assert isinstance(stored, bytes)
    sent = {"value": "1", "kind": "literal", "version": version_of(stored)}
    refused = editor.post(item_url("shop", "y"), sent)
    assert refused.context["form"].errors["value"] == [refusal]
    assert get_client().hget(name, "y") == stored


def test_value_keeps_its_serializer_and_compressor(editor: Client) -> None:
    written: PersistentDict[str, Any] = PersistentDict("shop", serializer="json", compressor="zlib")
    written["x"] = ["word"] * 1000
    save(editor, item_url("shop", "x"), repr(["other"] * 1000))
    backend = get_backend("default")
    stored = backend.driver.do(written._bound.layout.get(b"x"))
    assert split_format_byte(stored[0]) == (JSON, ZLIB)
    assert written["x"] == ["other"] * 1000

    response = save(editor, item_url("shop", "x"), "{1, 2}")
    # JSON has no sets, so nothing was stored.
    assert "set" in response.context["form"].errors["value"][0]
    assert written["x"] == ["other"] * 1000


def test_raw_bytes_stay_raw(editor: Client) -> None:
    written: PersistentDict[str, Any] = PersistentDict("shop", serializer="raw")
    written["x"] = b"abc"
    save(editor, item_url("shop", "x"), r"b'\x00'")
    assert written["x"] == b"\x00"
    refused = save(editor, item_url("shop", "x"), "'text'")
    assert "str" in refused.context["form"].errors["value"][0]
    assert written["x"] == b"\x00"


@LAYOUTS
def test_change_of_another_is_not_lost(editor: Client, is_hash: bool) -> None:
    mapping = make("shop", is_hash)
    mapping["x"] = "first"
    url = item_url("shop", "x", is_hash)
    sent = fields_of(editor.get(url)) | {"value": "mine"}
    mapping["x"] = "theirs"
    refused = editor.post(url, sent)
    text = Page(refused.content).text
    assert "The item was changed meanwhile, so nothing was stored." in text
    assert "theirs" in text
    assert fields_of(refused)["value"] == "mine"
    assert mapping["x"] == "theirs"
    # Whoever has seen it can put the own value in its place.
    editor.post(url, fields_of(refused))
    assert mapping["x"] == "mine"


def test_change_between_look_and_write_is_not_lost(
    editor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = make("shop")
    mapping["x"] = "first"
    url = item_url("shop", "x")
    sent = fields_of(editor.get(url)) | {"value": "mine"}

    def codec_after_a_change(stored: bytes, config: Any) -> Any:
        mapping["x"] = "theirs"
        return codec_for(stored, config)

    monkeypatch.setattr("redisdict.admin.dicts.admin.codec_for", codec_after_a_change)
    assert "changed meanwhile" in Page(editor.post(url, sent).content).text
    assert mapping["x"] == "theirs"


def test_item_that_is_gone_is_not_made_again(editor: Client) -> None:
    mapping = make("shop")
    mapping["x"] = "first"
    url = item_url("shop", "x")
    sent = fields_of(editor.get(url)) | {"value": "mine"}
    del mapping["x"]
    refused = editor.post(url, sent)
    assert "The item was deleted meanwhile" in Page(refused.content).text
    assert fields_of(refused)["value"] == "mine"
    assert "x" not in mapping
    assert "There is no such item any more." in Page(editor.get(url).content).text


def test_what_is_no_literal_is_told(editor: Client) -> None:
    mapping = make("shop")
    mapping["x"] = [1]
    refused = save(editor, item_url("shop", "x"), "[1, true]")
    assert "Line 1: true isn't a Python literal; write True." in Page(refused.content).text
    assert fields_of(refused)["value"] == "[1, true]"
    assert mapping["x"] == [1]
    assert editor.post(item_url("shop", "x"), {}).status_code == 200
    assert mapping["x"] == [1]
    assert not LogEntry.objects.exists()


def test_server_that_is_away_loses_nothing_that_was_typed(editor: Client, tmp_path: Path) -> None:
    make("shop")["x"] = "first"
    sent = fields_of(editor.get(item_url("shop", "x"))) | {"value": "mine"}
    with override_settings(REDISDICT={"default": {"LOCATION": f"unix://{tmp_path}/no.sock"}}):
        refused = editor.post(item_url("shop", "x"), sent)
        assert "is unavailable" in Page(refused.content).text
        assert fields_of(refused)["value"] == "mine"
        looked = editor.get(item_url("shop", "x"))
        assert looked.headers["Location"] == url_of("shop")


def test_permissions_and_csrf(
    editor: Client, viewer: Client, keeper: Client, outsider: Client
) -> None:
    mapping = make("shop")
    mapping["x"] = "first"
    url = item_url("shop", "x")
    sent = fields_of(editor.get(url)) | {"value": "mine"}
    for other in (viewer, keeper):
        page = other.get(url)
        assert page.context["form"] is None
        assert "first" in Page(page.content).text
        assert other.post(url, sent).status_code == 403
    assert outsider.get(url).status_code == 403
    assert outsider.post(url, sent).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = editor.cookies
    assert strict.post(url, sent).status_code == 403
    assert not any("delete-item" in link for link in Page(editor.get(url).content).links)
    assert editor.get(f"{url_of('shop', page='item')}?field=xyz").status_code == 404
    assert mapping["x"] == "first"


def test_dicts_in_shards_are_edited(editor: Client) -> None:
    mapping: PersistentDict[str, Any] = PersistentDict("shop", shards=3)
    mapping.update({str(number): number for number in range(30)})
    stored = StoredDict.of("default", ["shop"], is_hash=True, shards=3)
    base = reverse("admin:redisdict_storeddict_item", args=[quote(stored.pk)])
    save(editor, f"{base}?field={b'7'.hex()}", "'seven'")
    assert mapping["7"] == "seven"
    assert len(mapping) == 30
