"""`redisdict list`, `show`, `get`, `set`, `delete` and `clear`."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from tests.cli.conftest import run

pytestmark = pytest.mark.usefixtures("server")

LAYOUTS = pytest.mark.parametrize("is_hash", [True, False], ids=["hash", "keys"])


def make(name: str, is_hash: bool = True, **options: Any) -> PersistentDict[Any, Any]:
    return PersistentDict(name, hset_enabled=is_hash, **options)


@LAYOUTS
def test_a_value_is_read_as_a_literal_or_as_text(is_hash: bool) -> None:
    shop = make("shop", is_hash)
    shop.update({"color": "red", "size": 42, "day": datetime.date(2026, 11, 29)})
    assert run("get", "shop", "color").out == "'red'\n"
    assert run("get", "shop", "color", "--text").out == "red\n"
    assert run("get", "shop", "size").out == "42\n"
    assert run("get", "shop", "day").out == "datetime.date(2026, 11, 29)\n"
    result = run("get", "shop", "size", "--text")
    assert (result.status, result.out) == (1, "")
    assert "The value is of type int and no text" in result.err


@LAYOUTS
def test_a_value_as_json_has_what_the_item_has(is_hash: bool) -> None:
    make("shop", is_hash).set("color", "red", timeout=1000)
    item = run("get", "shop", "color", "--json").object
    assert 0 < item.pop("milliseconds_left") <= 1_000_000
    assert item == {"key": "color", "type": "str", "value": "red"}


@LAYOUTS
def test_an_item_is_set_by_a_literal_or_a_text(is_hash: bool) -> None:
    shop = make("shop", is_hash)
    shop["there"] = 1
    for value, expected in {
        "42": 42,
        "{'a': (1, None)}": {"a": (1, None)},
        "Decimal('1.50')": __import__("decimal").Decimal("1.50"),
    }.items():
        assert run("set", "shop", "x", value).status == 0
        assert shop["x"] == expected
        assert shop.ttl("x") is None
    assert run("set", "shop", "x", "42", "--text", "--timeout", "1000").status == 0
    assert shop["x"] == "42"
    left_s = shop.ttl("x")
    assert left_s is not None
    assert 0 < left_s <= 1000
    assert run("set", "shop", "x", "42", "--for-ever").status == 0
    assert shop.ttl("x") is None


def test_a_value_that_is_no_literal_is_told_the_way() -> None:
    result = run("set", "shop", "color", "red")
    assert result.status == 1
    assert result.err.startswith("CommandError: VALUE is 'red', which can't be read: Line 1: red")
    assert result.err.rstrip().endswith("For a text as it stands add --text.")
    assert result.err.count("\n") == 1
    assert "color" not in make("shop")


def test_a_value_that_the_alias_cannot_store(settings: Any) -> None:
    settings.REDISDICT = {"default": settings.REDISDICT["default"] | {"SERIALIZER": "json"}}
    result = run("set", "shop", "x", "(1, 2)", "--dry-run")
    assert result.status == 1
    assert "can't store a tuple" in result.err


@LAYOUTS
def test_keys_of_other_types_are_literals(is_hash: bool) -> None:
    name = uuid.uuid4()
    make("ids", is_hash, key_type=uuid.UUID)[name] = 1
    make("raw", is_hash, key_type=bytes)[b"\x00\xff"] = 2
    make("numbers", is_hash, key_type=int)[-7] = 3
    assert run("get", "ids", f"UUID('{name}')", "--literal-key").out == "1\n"
    assert run("get", "raw", r"b'\x00\xff'", "--literal-key").out == "2\n"
    assert run("get", "--literal-key", "numbers", "-7").out == "3\n"
    assert run("get", "numbers", "-7").out == "3\n"  # an int is stored as its text
    for wrong, why in {"1.5": "not a float", "red": "isn't a Python literal"}.items():
        result = run("get", "raw", wrong, "--literal-key")
        assert result.status == 1
        assert why in result.err


@LAYOUTS
def test_items_are_deleted(is_hash: bool) -> None:
    shop = make("shop", is_hash)
    shop.update({"a": 1, "b": 2, "c": 3})
    result = run("delete", "shop", "a", "b", "x", "--dry-run")
    assert result.out.startswith("Would have deleted 2 of shop (")
    assert len(shop) == 3
    assert run("delete", "shop", "a", "b", "x").out.startswith("Deleted 2 of shop (")
    assert shop == {"c": 3}
    result = run("delete", "shop", "a")
    assert result.status == 1
    assert "There is no item 'a' in shop (" in result.err
    assert run("get", "shop", "a").status == 1


@LAYOUTS
@pytest.mark.parametrize("shards", [None, 4])
def test_a_dict_is_cleared_when_somebody_says_so(
    is_hash: bool, shards: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make("shop", is_hash, shards=shards)
    shop.update({str(number): number for number in range(50)})
    questions = []

    def answer(text: str) -> str:
        questions.append(text)
        return "no"

    monkeypatch.setattr("builtins.input", answer)
    result = run("clear", "shop")
    assert result.status == 1
    assert "The answer wasn't yes, so nothing was deleted." in result.err
    assert "all items (50) of shop (" in questions[0]
    assert run("clear", "shop", "--dry-run").status == 0
    assert len(shop) == 50
    assert len(questions) == 1
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert run("clear", "shop").status == 0
    assert len(shop) == 0


@pytest.mark.parametrize("option", ["--noinput", "--no-input"])
def test_a_dict_is_cleared_without_a_question(option: str) -> None:
    make("shop")["a"] = 1
    result = run("clear", "shop", option, "--json").object
    assert (result["items"], result["dry_run"], result["layout"]) == (1, False, "hash")
    assert not make("shop")


def test_without_anybody_to_ask_nothing_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    make("shop")["a"] = 1
    monkeypatch.setattr("builtins.input", nobody)
    result = run("clear", "shop")
    assert result.status == 1
    assert "add --noinput" in result.err
    assert len(make("shop")) == 1


def test_dicts_are_listed(server: str) -> None:
    make("shop").update(a=1, b=2)
    make("shop").child("eu")["a"] = 1
    make("a/b", is_hash=False).set("k", 1, timeout=1000)
    make("many", is_hash=False, shards=4).update({str(number): 1 for number in range(30)})
    listed = {(one["name"], one["layout"]): one for one in run("list", "--json").objects}
    assert {name: (one["items"], one["shards"]) for name, one in listed.items()} == {
        ("shop", "hash"): (2, None),
        ("shop/eu", "hash"): (1, None),
        ("'a/b'", "keys"): (1, None),
        ("many", "keys"): (30, 4),
    }
    assert listed["'a/b'", "keys"]["path"] == ["a/b"]
    assert 0 < listed["'a/b'", "keys"]["longest_milliseconds_left"] <= 1_000_000
    assert all(one["memory_bytes"] > 0 for one in listed.values())
    lines = run("list").out.splitlines()
    assert sorted(line.split("\t")[1] for line in lines) == ["'a/b'", "many", "shop", "shop/eu"]
    on_terminal = run("list", terminal=True)
    assert on_terminal.out.splitlines()[0].split() == [
        "ALIAS", "NAME", "LAYOUT", "ITEMS", "MEMORY", "LIFETIME",
    ]  # fmt: skip
    assert "\r" in on_terminal.err
    assert run("list").err == ""


@LAYOUTS
def test_one_dict_is_shown(is_hash: bool) -> None:
    shop = make("shop", is_hash)
    shop.update({str(number): number for number in range(30)})
    shown = run("show", "shop", "--items", "3", "--json").object
    assert (shown["name"], shown["items"], len(shown["sample"])) == ("shop", 30, 3)
    assert shown["memory_bytes"] > 0
    out = run("show", "shop").out
    assert "items     30\n" in out
    assert out.count("\n  '") == 10


def test_a_name_reads_as_it_is_listed() -> None:
    make("a/b")["k"] = 1
    make("a").child("b")["k"] = 2
    make("it's")["k"] = 3
    make("", is_hash=False)["k"] = 4
    assert run("get", "'a/b'", "k").out == "1\n"
    assert run("get", "a/b", "k").out == "2\n"
    assert run("get", "it's", "k").out == "3\n"
    assert run("get", "''", "k").out == "4\n"


def test_what_is_not_there_is_told_with_what_was_meant(server: str) -> None:
    make("settings")["a"] = 1
    make("a/b")["a"] = 1
    result = run("get", "setings", "a")
    assert result.status == 1
    assert "There is no dict setings of 'default' on " in result.err
    assert "; did you mean settings?" in result.err
    assert "; did you mean 'a/b'?" in run("get", "a/b", "a").err
    assert "did you mean" not in run("get", "zebra", "a").err


def test_the_layout_may_be_said() -> None:
    make("both")["k"] = 1
    make("both", is_hash=False)["k"] = 2
    assert run("get", "both", "k").out == "1\n"
    assert run("get", "both", "k", "--layout", "keys").out == "2\n"
    result = run("get", "both", "k", "--shards", "4")
    assert (result.status, "needs --layout" in result.err) == (1, True)
    assert run("set", "new", "k", "1", "--layout", "keys", "--shards", "4").status == 0
    assert make("new", is_hash=False, shards=4)["k"] == 1
    assert run("get", "new", "k").out == "1\n"


def test_another_prefix_may_be_said(
    server: str, settings: Any, alias_for: Callable[..., dict[str, Any]]
) -> None:
    make("shop")["k"] = 1
    settings.REDISDICT = {"default": settings.REDISDICT["default"] | {"KEY_PREFIX": f"{server}-2"}}
    assert run("get", "shop", "k").status == 1
    assert run("get", "shop", "k", "--prefix", server).out == "1\n"


def test_without_an_action_all_are_listed() -> None:
    result = run()
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "CommandError: An action is missing: list, show, get, set, delete, clear, export, import,"
        " move, doctor. --help explains them.\n"
    )


def test_a_server_that_is_down_is_one_line(settings: Any) -> None:
    settings.REDISDICT = {
        "default": settings.REDISDICT["default"],
        "down": {"LOCATION": "redis://:geheim@127.0.0.1:1/0"},
    }
    make("shop")["k"] = 1
    for arguments in (
        ["get", "shop", "k"], ["set", "shop", "k", "1"], ["export", "shop"], ["show", "shop"],
        ["clear", "shop", "--noinput"], ["list"], ["move", "shop", "--to-name", "x"],
    ):  # fmt: skip
        result = run(*arguments, "--using", "down")
        assert result.status == 3, arguments
        assert result.err.count("\n") == 1
        assert result.err.startswith("CommandError: ")
        assert "127.0.0.1:1" in result.err
        assert "geheim" not in result.err
    result = run("list")
    assert result.status == 3
    assert "shop" in result.out
    assert result.err.startswith("down: ")


@pytest.mark.parametrize("using", ["nope", "down"])
def test_settings_that_cannot_be_used_are_one_line(using: str, settings: Any) -> None:
    settings.REDISDICT = {"down": {"LOCATION": "redis://127.0.0.1:1/abc"}}
    result = run("get", "shop", "k", "--using", using)
    assert result.status == 1
    assert result.err.count("\n") == 1
    assert result.err.startswith("CommandError: REDISDICT")
