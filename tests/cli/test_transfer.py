"""`redisdict export`, `import` and `move`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.inspection import moving
from tests.cli.conftest import Result, run
from tests.cli.test_items import LAYOUTS, make
from tests.shop.models import Product

pytestmark = pytest.mark.usefixtures("server")


def from_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes, *arguments: str) -> Result:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    return run(*arguments)


def fill(mapping: PersistentDict[Any, Any]) -> dict[str, Any]:
    items = {f"key {number}": {"n": number, "é\n": [None, (1,)]} for number in range(2500)}
    items |= {"odd \ud800": "\ud800", "bytes": b"\x00", "instance": Product(pk=7, name="x")}
    mapping.update(items)
    mapping.set("soon", float("inf"), timeout=10_000)
    return items | {"soon": float("inf")}


@pytest.mark.each_value_once("server")
@LAYOUTS
@pytest.mark.parametrize("flag", [[], ["--stored"]])
def test_what_was_exported_is_imported_as_it_was(
    is_hash: bool, flag: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make("shop", is_hash)
    items = fill(source)
    exported = run("export", "shop", *flag)
    assert exported.status == 0
    assert "Exported 2,504 items of shop (" in exported.err
    assert len(exported.objects) == 2505
    assert exported.objects[-1] == {"items": 2504}
    data = exported.out.encode()
    result = from_stdin(monkeypatch, data, "import", "other", "--dry-run")
    assert result.out.startswith("Would have stored 2,504 items in other (hash)")
    assert not make("other")
    result = from_stdin(monkeypatch, data, "import", "other", "--layout", "keys")
    assert result.status == 0
    other = make("other", is_hash=False)
    assert dict(other) == items
    assert other.ttl("key 1") is None
    left_s = other.ttl("soon")
    assert left_s is not None
    assert 9_000 < left_s <= 10_000


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("shop").update(a=1, b=2)
    file = tmp_path / "shop.jsonl"
    assert run("export", "shop", str(file), "--match", "a*").status == 0
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"key": "a", "milliseconds_left": None, "type": "int", "value": 1},
        {"items": 1},
    ]

    def fail(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("redisdict.cli.transfer.line_of", fail)
    assert run("export", "shop", str(file)).status == 130
    assert len(file.read_text().splitlines()) == 2
    assert list(tmp_path.iterdir()) == [file]
    result = run("export", "shop", str(tmp_path / "no" / "file"))
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "can't be written: No such file or directory" in result.err
    result = run("export", "shop", "--match", "[a")
    assert result.status == 1
    assert "--match is '[a'" in result.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "The end is missing"),
        (lambda lines: lines[1:], "Line 3 says 3 items, and 2 came before it"),
        (lambda lines: [*lines[:2], b"{", *lines[2:]], "Line 3 isn't JSON"),
        (lambda lines: [b"[]", *lines], "Line 1 is a JSON list"),
        (lambda lines: [b'{"value": 1}', *lines], "Line 1 has no key"),
        (lambda lines: [b'{"key": "x"}', *lines], "Line 1 has no value"),
        (lambda lines: [b'{"key_hex": "x", "value": 1}', *lines], 'Line 1 has a "key_hex" that'),
        (lambda lines: [b'{"key": "x", "stored_hex": "1"}', *lines], 'has a "stored_hex" that'),
        (lambda lines: [b'{"key": "x", "literal": "f()"}', *lines], 'has a "literal" that'),
        (
            lambda lines: [b'{"key": "x", "value": 1, "milliseconds_left": -1}', *lines],
            'has "milliseconds_left": -1',
        ),
    ],
)
def test_of_a_damaged_file_nothing_is_stored(
    change: Callable[[list[bytes]], list[bytes]], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("shop").update(a=1, b=2, c=3)
    lines = run("export", "shop").out.encode().splitlines()
    result = from_stdin(monkeypatch, b"\n".join(change(lines)), "import", "other")
    assert result.status == 1
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not make("other")


def test_a_value_that_the_alias_cannot_store_stops_the_import(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("shop")["a"] = (1, 2)
    data = run("export", "shop").out.encode()
    settings.REDISDICT = {"default": settings.REDISDICT["default"] | {"SERIALIZER": "json"}}
    result = from_stdin(monkeypatch, data, "import", "other")
    assert "Line 1 has a value that can't be stored: The serializer 'json'" in result.err
    assert not make("other")


def test_a_file_without_an_end_is_read_when_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    file.write_text('{"key": "a", "value": [1]}\n\n{"key": "b", "value": 2}')
    assert run("import", "shop", str(file)).status == 1
    assert run("import", "shop", str(file), "--no-end").status == 0
    assert dict(make("shop")) == {"a": [1], "b": 2}
    result = run("import", "shop", str(tmp_path / "no"))
    assert (result.status, result.err.count("\n")) == (1, 1)


def test_an_interrupted_import_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("shop").update({str(number): number for number in range(2500)})
    file = tmp_path / "shop.jsonl"
    run("export", "shop", str(file))
    calls = []

    def next_batch(records: Any) -> list[Any]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [record for record, _ in zip(records, range(1000), strict=False)]

    with monkeypatch.context() as patch:
        patch.setattr("redisdict.cli.transfer.next_batch", next_batch)
        result = run("import", "other", str(file))
    assert result.status == 130
    assert "Interrupted after 1,000 of 2,500 items; run the same command again" in result.err
    assert len(make("other")) == 1000
    assert run("import", "other", str(file)).status == 0
    assert dict(make("other")) == dict(make("shop"))


MOVES = {
    "layout": ["--to-layout", "OTHER"],
    "prefix": ["--to-prefix", "PREFIX-2"],
    "name": ["--to-name", "other/eu"],
    "alias": ["--to-using", "other"],
    "shards": ["--to-shards", "4", "--to-name", "wide"],
}


@pytest.mark.each_value_once("server")
@LAYOUTS
@pytest.mark.parametrize("way", MOVES)
def test_items_are_moved(
    is_hash: bool, way: str, server: str, settings: Any, alias_for: Callable[..., dict[str, Any]]
) -> None:
    own = settings.REDISDICT["default"]
    settings.REDISDICT = {
        "default": own,
        "other": own | {"KEY_PREFIX": f"{server}-3", "SERIALIZER": "msgpack", "COMPRESSOR": "zlib"},
        "second": own | {"KEY_PREFIX": f"{server}-2"},
    }
    source = make("shop", is_hash)
    items = fill(source)
    meant = {"PREFIX-2": f"{server}-2", "OTHER": "keys" if is_hash else "hash"}
    arguments = [meant.get(argument, argument) for argument in MOVES[way]]
    result = run("move", "shop", *arguments, "--dry-run")
    assert (result.status, result.out[:30]) == (0, "Would have moved 2,504 items f")
    assert len(source) == 2504
    moved = run("move", "shop", *arguments, "--json").object
    assert (moved["items"], moved["left"]) == (2504, 0)
    targets = {
        "layout": lambda: make("shop", not is_hash),
        "prefix": lambda: make("shop", is_hash, using="second"),
        "name": lambda: make("other", is_hash).child("eu"),
        "alias": lambda: make("shop", is_hash, using="other"),
        "shards": lambda: make("wide", is_hash, shards=4),
    }
    target = targets[way]()
    assert dict(target) == items
    left_s = target.ttl("soon")
    assert left_s is not None
    assert 9_000 < left_s <= 10_000
    assert len(source) == 0


def test_nothing_is_moved_to_where_it_is_or_onto_others() -> None:
    make("shop")["a"] = 1
    make("full")["a"] = 2
    result = run("move", "shop")
    assert (result.status, "has the items already" in result.err) == (1, True)
    result = run("move", "shop", "--to-name", "full")
    assert (result.status, "There are 1 items in full (" in result.err) == (1, True)
    assert make("full")["a"] == 2
    assert run("move", "shop", "--to-name", "full", "--merge").status == 0
    assert (dict(make("full")), dict(make("shop"))) == ({"a": 1}, {})


@LAYOUTS
def test_what_others_change_meanwhile_is_taken_over(
    is_hash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make("shop", is_hash), make("other", is_hash)
    source.update(a=1, b=2, c=3)
    remove = moving._remove

    def change_first(*arguments: Any) -> None:
        for field, stored, _ in arguments[2]:
            if (field, stored) == (b"a", b"1"):
                source["a"] = "new"
                source["late"] = 4
            elif field == b"b":
                del source["b"]
        remove(*arguments)

    monkeypatch.setattr(moving, "_remove", change_first)
    assert run("move", "shop", "--to-name", "other").status == 0
    assert dict(target) == {"a": "new", "c": 3, "late": 4}
    assert not source


def test_an_interrupted_move_loses_nothing_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    source = make("shop")
    items = fill(source)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_remove", interrupt)
        result = run("move", "shop", "--to-name", "other")
    assert result.status == 130
    assert "run the same command again with --merge to do the rest" in result.err
    assert dict(source) == items
    assert 0 < len(make("other")) < 2504
    assert run("move", "shop", "--to-name", "other", "--merge").status == 0
    assert dict(make("other")) == items
    assert not source
