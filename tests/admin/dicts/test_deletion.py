"""Deleting items and dicts."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from redisdict.models import StoredDict
from tests.admin.dicts.addresses import LAYOUTS, item_url, make, url_of
from tests.admin.pages import Page

pytestmark = [pytest.mark.django_db, pytest.mark.each_value_once]


@LAYOUTS
def test_deleting_an_item_asks_first_and_is_logged(keeper: Client, is_hash: bool) -> None:
    mapping = make("shop", is_hash)
    mapping.update(keep=1, drop=2)
    url = url_of("shop", is_hash, "delete_item") + f"?field={b'drop'.hex()}"
    asked = Page(keeper.get(url).content)
    assert "Delete this item of the dict shop?" in asked.text
    assert "'drop'" in asked.text
    assert len(mapping) == 2

    response = keeper.post(url, follow=True)
    assert response.redirect_chain == [(url_of("shop", is_hash), 302)]
    assert "The item 'drop' is deleted." in Page(response.content).text
    assert dict(mapping) == {"keep": 1}
    entry = LogEntry.objects.get()
    assert entry.object_id == StoredDict.of("default", ["shop"], is_hash=is_hash).pk
    assert (entry.object_repr, entry.change_message) == (
        "'shop' (default)",
        "Deleted the item 'drop'.",
    )
    assert entry.get_admin_url()
    assert keeper.get(url_of("shop", is_hash, "history")).status_code == 200

    again = keeper.post(url, follow=True)
    assert "The item 'drop' had been deleted already." in Page(again.content).text
    assert LogEntry.objects.count() == 1


@LAYOUTS
def test_deleting_a_dict_asks_first_and_is_logged(keeper: Client, is_hash: bool) -> None:
    mapping, other = make("shop", is_hash), make("shop 2", is_hash)
    mapping.update({str(number): number for number in range(3000)})
    mapping.set("timed", 1, timeout=100)
    other["x"] = 1
    url = url_of("shop", is_hash, "delete")
    assert "'shop' (default)" in Page(keeper.get(url).content).text
    assert len(mapping) == 3001

    assert keeper.post(url, {"post": "yes"}).status_code == 302
    assert len(mapping) == 0
    assert dict(other) == {"x": 1}
    entry = LogEntry.objects.get()
    assert entry.is_deletion()
    assert entry.object_repr == "'shop' (default)"


@pytest.mark.parametrize("key", ["", " ", "\n", "\u200b"])
def test_one_sees_which_blank_key_is_deleted(keeper: Client, key: str) -> None:
    mapping = make("blanks")
    mapping.update(dict.fromkeys(["", " ", "\n", "\u200b"], 1))
    url = item_url("blanks", key, page="delete_item")
    assert f"Key {key!r} Value" in Page(keeper.get(url).content).text
    assert f"The item {key!r} is deleted." in Page(keeper.post(url, follow=True).content).text
    assert key not in mapping
    assert len(mapping) == 3
