"""The pages of persistent dicts: servers, dicts, items, and their deletion, on real servers."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from redisdict import PersistentDict, get_client
from redisdict.models import StoredDict
from tests.admin.pages import Page

pytestmark = pytest.mark.django_db

LIST = "/admin/redisdict/storeddict/"
HOSTILE = "<img src=x onerror=alert(1)>\"'&"
LAYOUTS = pytest.mark.parametrize("is_hash", [True, False], ids=["hash", "keys"])


@pytest.fixture(autouse=True)
def server(server_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[None]:
    with override_settings(REDISDICT={"default": alias_for(server_url)}):
        yield


@pytest.fixture
def viewer(client_with: Callable[..., Client]) -> Client:
    return client_with("view_storeddict")


@pytest.fixture
def keeper(client_with: Callable[..., Client]) -> Client:
    """May delete, too."""
    return client_with("view_storeddict", "delete_storeddict")


def make(name: str, is_hash: bool = True) -> PersistentDict[Any, Any]:
    return PersistentDict(name, hset_enabled=is_hash)


def url_of(name: str, is_hash: bool = True, page: str = "change", alias: str = "default") -> str:
    stored = StoredDict.of(alias, [name], is_hash=is_hash)
    return reverse(f"admin:redisdict_storeddict_{page}", args=[quote(stored.pk)])


def items_on(client: Client, url: str, **query: Any) -> dict[str, dict[str, str]]:
    page = Page(client.get(url, query).content)
    return {row["Key"]: row for row in page.rows("Key", "Value")} if page.has_table("Key") else {}


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
    assert rows["default"]["Server"].startswith(("Redis 7", "Valkey "))
    assert rows["default"]["Role"] == "primary with 0 replicas"
    assert rows["default"]["Memory"].endswith(", no limit")
    assert rows["default"]["Persistence"] == "off"
    assert "127.0.0.1:1" in rows["away"]["Server"]
    assert "LOCATION" in rows["broken"]["Server"]


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
    make("big", is_hash).update({f"key {number:04}": number for number in range(2500)})
    seen: list[str] = []
    url = base = url_of("big", is_hash)
    for _ in range(200):
        page = Page(viewer.get(url).content)
        rows = page.rows("Key", "Value") if page.has_table("Key") else []
        assert len(rows) < 200
        seen += [row["Key"] for row in rows]
        further = [link for link in page.links if link.startswith("?") and "cursor=" in link]
        if not further:
            break
        url = base + further[0]
    assert set(seen) == {f"key {number:04}" for number in range(2500)}


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


def test_long_values_are_cut(viewer: Client) -> None:
    make("long")["x"] = "y" * 100_000
    response = viewer.get(url_of("long"))
    assert len(response.content) < 30_000
    assert Page(response.content).rows("Key", "Value")[0]["Value"].endswith("y…")


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
        seen |= {item["Key"] for item in shown.rows("Key", "Value")}
        further = [one for one in shown.links if one.startswith("?") and "cursor=" in one]
        address = link + further[0] if further else ""
    assert seen == set(mapping)
    assert keeper.get(f"{link}?cursor=7:9=1").status_code == 200
    keeper.post(link.replace("/change/", "/delete/"), {"post": "yes"})
    assert not mapping


@LAYOUTS
def test_deleting_an_item_asks_first_and_is_logged(keeper: Client, is_hash: bool) -> None:
    mapping = make("shop", is_hash)
    mapping.update(keep=1, drop=2)
    url = url_of("shop", is_hash, "delete_item") + f"?field={b'drop'.hex()}"
    asked = Page(keeper.get(url).content)
    assert "Delete this item of the dict shop?" in asked.text
    assert "drop" in asked.text
    assert len(mapping) == 2

    response = keeper.post(url, follow=True)
    assert response.redirect_chain == [(url_of("shop", is_hash), 302)]
    assert "The item drop is deleted." in Page(response.content).text
    assert dict(mapping) == {"keep": 1}
    entry = LogEntry.objects.get()
    assert entry.object_id == StoredDict.of("default", ["shop"], is_hash=is_hash).pk
    assert (entry.object_repr, entry.change_message) == (
        "'shop' (default)",
        "Deleted the item drop.",
    )
    assert entry.get_admin_url()
    assert keeper.get(url_of("shop", is_hash, "history")).status_code == 200

    again = keeper.post(url, follow=True)
    assert "The item drop was gone already." in Page(again.content).text
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


def test_no_page_uses_a_command_that_blocks_the_server(keeper: Client) -> None:
    make("hash").update({str(number): "x" * 10 for number in range(5000)})
    make("keys", is_hash=False).update({str(number): "x" * 10 for number in range(5000)})
    client = get_client()
    forbidden = ("keys", "hkeys", "hvals", "hgetall", "smembers", "del", "flushdb", "flushall")

    def calls() -> dict[str, int]:
        stats: Any = client.info("commandstats")
        return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in forbidden}

    before = calls()
    began = time.perf_counter()
    for url in (LIST, url_of("hash"), url_of("keys", is_hash=False)):
        assert keeper.get(url).status_code == 200
    assert time.perf_counter() - began < 3
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
