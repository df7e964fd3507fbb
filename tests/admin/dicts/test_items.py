"""The items of a dict, whatever they are."""

from __future__ import annotations

import ast
import datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.safestring import mark_safe

from redisdict import PersistentDict, get_client
from redisdict.models import StoredDict
from tests.admin.dicts.addresses import HOSTILE, LAYOUTS, LIST, item_url, items_on, make, url_of
from tests.admin.pages import Page

pytestmark = [pytest.mark.django_db, pytest.mark.each_value_once]


@LAYOUTS
def test_items_are_shown_decoded(viewer: Client, is_hash: bool) -> None:
    mapping = make("shop", is_hash)
    mapping["text"] = "café\nnext line"
    mapping["nested"] = {"when": datetime.date(2026, 3, 1), "tags": ["a", 1]}
    mapping.set("soon", None, timeout=100)
    rows = items_on(viewer, url_of("shop", is_hash))
    assert {key: (row["Value"], row["Type"]) for key, row in rows.items()} == {
        "text": ("café next line", "str"),
        "nested": ("{'when': datetime.date(2026, 3, 1), 'tags': ['a', 1]}", "dict"),
        "soon": ("None", "NoneType"),
    }
    assert rows["text"]["Time to live"] == "for ever"
    assert rows["soon"]["Time to live"].startswith("1 min ")


@LAYOUTS
def test_items_come_page_by_page_and_none_is_left_out(viewer: Client, is_hash: bool) -> None:
    # More than a hash has in one piece, which HSCAN gives whole.
    make("big", is_hash).update({f"key {number:04}": number for number in range(700)})
    seen: list[str] = []
    url = base = url_of("big", is_hash)
    for _ in range(200):
        page = Page(viewer.get(url).content)
        rows = page.rows("Key", "Value") if page.has_table("Key") else []
        assert len(rows) < 200
        seen += [ast.literal_eval(row["Key"]) for row in rows]
        further = [link for link in page.links if link.startswith("?") and "cursor=" in link]
        if not further:
            break
        url = base + further[0]
    assert set(seen) == {f"key {number:04}" for number in range(700)}


@LAYOUTS
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("err", {"berry", "cherry"}),
        ("*erry", {"berry", "cherry"}),
        ("?erry", {"berry"}),
        ("[bc]*", {"berry", "cherry"}),
        ("berry", {"berry"}),
        ("nothing", set()),
        ("", {"apple", "berry", "cherry", "a\\b"}),
        ("a\\", {"a\\b"}),
    ],
)
def test_keys_are_found_by_pattern(
    viewer: Client, is_hash: bool, pattern: str, expected: set[str]
) -> None:
    make("fruit", is_hash).update(dict.fromkeys(["apple", "berry", "cherry", "a\\b"], 1))
    assert set(items_on(viewer, url_of("fruit", is_hash), q=pattern)) == expected


@LAYOUTS
@pytest.mark.parametrize("pattern", ["[!a]*", "[^u]*", "[z-a]ser*", "user:\\[29", "x?"])
def test_patterns_mean_what_they_do_in_keys_matching(
    viewer: Client, is_hash: bool, pattern: str
) -> None:
    mapping = make("users", is_hash)
    mapping.update(dict.fromkeys(["user:29", "user:[29", "user:\\29", "a", "!", "x\ud800"], 1))
    found = items_on(viewer, url_of("users", is_hash), q=pattern)
    assert set(found) == set(mapping.keys_matching(pattern))


def test_pattern_that_keys_matching_refuses_is_refused_alike(viewer: Client) -> None:
    mapping = make("users")
    mapping["user:[29"] = 1
    with pytest.raises(ValueError, match="without a ]") as refusal:
        list(mapping.keys_matching("user:[29"))
    text = Page(viewer.get(url_of("users"), {"q": "user:[29"}).content).text
    assert str(refusal.value) in text
    assert "No item was found here." not in text


def test_blank_keys_and_values_are_told_apart(viewer: Client) -> None:
    blanks = ["", " ", "\t", "\n", "\u200b", " a", "a ", "a"]
    make("blanks").update({key: key for key in blanks})
    rows = items_on(viewer, url_of("blanks"))
    assert set(rows) == set(blanks)
    assert {row["Key"] for row in rows.values()} == {repr(key) for key in blanks}
    assert len({row["Value"] for row in rows.values()}) == len(blanks)


def test_names_are_told_apart(viewer: Client) -> None:
    for name in ("", " ", "\n", "a/b", "'a'", "plain name"):
        make(name)["x"] = 1
    make("a").child("b")["x"] = 1
    page = Page(viewer.get(LIST).content)
    assert {row["Name"] for row in page.rows("Name", "Layout")} == {
        "''", "' '", r"'\n'", "'a/b'", "a/b", '"\'a\'"', "plain name",
    }  # fmt: skip


def test_whole_value_is_shown_on_demand(viewer: Client) -> None:
    make("long")["x"] = [f"line {number}" for number in range(5000)]
    listed = viewer.get(url_of("long"))
    assert "line 4999" not in listed.content.decode()
    assert item_url("long", "x") in Page(listed.content).links
    assert "'line 4999']" in Page(viewer.get(item_url("long", "x")).content).text


@LAYOUTS
def test_bytes_that_cannot_be_read_are_shown_as_hex(
    viewer: Client, is_hash: bool, key_prefix: str
) -> None:
    make("raw", is_hash)["whole"] = "ok"
    client = get_client()
    if is_hash:
        client.hset(f"{key_prefix}:h:{{raw}}", b"\xff\x00", b"\x99\x01garbage")
    else:
        client.set(f"{key_prefix}:k:{{raw}}:".encode() + b"\xff\x00", b"\x99\x01garbage")
    rows = items_on(viewer, url_of("raw", is_hash))
    row = rows["ff 00 (bytes, as hex)"]
    assert row["Value"].startswith("99 01 67 61 72 62 61 67 65 (bytes, as hex)")
    assert rows["whole"]["Value"] == "ok"


def test_pickle_is_not_read_only_to_be_looked_at(viewer: Client, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    PersistentDict[str, Any]("pickled", serializer="pickle")["x"] = Trap(mark)
    rows = items_on(viewer, url_of("pickled"))
    assert "(bytes, as hex)" in rows["x"]["Value"]
    assert not mark.exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_stored_model_instances_ask_no_database(viewer: Client) -> None:
    user = User.objects.create(username="kept")
    make("users")["u"] = [user]
    rows = items_on(viewer, url_of("users"))
    assert rows["u"]["Value"] == f"[<auth.User {user.pk}>]"


def test_text_that_is_marked_as_safe_is_not_taken_at_its_word(viewer: Client) -> None:
    make("marked")["x"] = mark_safe(HOSTILE)
    make("marked")["y"] = [mark_safe(HOSTILE)]
    html = viewer.get(url_of("marked")).content.decode()
    assert "SafeString" in html
    assert "<img" not in html.replace('<img src="/static', "")
    assert Page(html).inline_code == []


def test_long_values_are_cut(viewer: Client) -> None:
    make("long")["x"] = "y" * 100_000
    response = viewer.get(url_of("long"))
    assert len(response.content) < 30_000
    assert Page(response.content).rows("Key", "Value")[0]["Value"].endswith("y… Show all")


@LAYOUTS
@pytest.mark.parametrize(
    "name", [HOSTILE, "", "a/b", "a:b?c=d&e=f#g", "ü☃", "\0\x1b[31m", "\ud800", "\u202eevil", "{%"]
)
def test_any_name_key_and_value_is_shown_harmlessly(
    keeper: Client, is_hash: bool, name: str
) -> None:
    make(name, is_hash)[name] = [name, HOSTILE]
    listed = keeper.get(LIST)
    opened = keeper.get(url_of(name, is_hash))
    [link] = [link for link in Page(opened.content).links if "delete-item" in link]
    asked = keeper.get(link)
    deleted = keeper.post(link, follow=True)
    history = keeper.get(url_of(name, is_hash, "history"))
    confirm = keeper.get(url_of(name, is_hash, "delete"))
    for response in (listed, opened, asked, deleted, history, confirm):
        assert response.status_code == 200
        html = response.content.decode()
        assert "<img" not in html.replace('<img src="/static', "")
        assert not {"\0", "\x1b", "\u202e"} & set(html)
        assert Page(html).inline_code == []
    assert name not in make(name, is_hash)
    stored = StoredDict.of("default", [name], is_hash=is_hash)
    own = reverse("admin:redisdict_storeddict_change", args=[quote(stored.pk)])
    assert own in Page(listed.content).links


@LAYOUTS
def test_child_dicts_have_pages_of_their_own(viewer: Client, is_hash: bool) -> None:
    shop = make("shop", is_hash)
    shop["of"] = "the parent"
    shop.child("eu")["of"] = "the child"
    page = Page(viewer.get(LIST).content)
    assert [row["Name"] for row in page.rows("Name", "Layout")] == ["shop", "shop/eu"]
    links = [link for link in page.links if "storeddict" in link and "/change/" in link]
    assert [items_on(viewer, link)["of"]["Value"] for link in links] == ["the parent", "the child"]


@LAYOUTS
def test_dicts_in_shards_are_shown_and_deleted(keeper: Client, is_hash: bool) -> None:
    mapping: PersistentDict[str, int] = PersistentDict("shop", hset_enabled=is_hash, shards=3)
    mapping.update({f"item {number:03}": number for number in range(300)})
    page = Page(keeper.get(LIST).content)
    [row] = page.rows("Name", "Layout")
    assert (row["Name"], row["Layout"][-3:]) == ("shop", "\N{MULTIPLICATION SIGN} 3")
    [link] = [link for link in page.links if "storeddict" in link and "/change/" in link]
    seen: set[str] = set()
    address = link
    while address:
        shown = Page(keeper.get(address).content)
        seen |= {ast.literal_eval(item["Key"]) for item in shown.rows("Key", "Value")}
        further = [one for one in shown.links if one.startswith("?") and "cursor=" in one]
        address = link + further[0] if further else ""
    assert seen == set(mapping)
    assert keeper.get(f"{link}?cursor=7:9=1").status_code == 200
    keeper.post(link.replace("/change/", "/delete/"), {"post": "yes"})
    assert not mapping
