"""Items go to a file and back, and to other dicts, with their bytes and their times to live."""

from __future__ import annotations

import gzip
import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redisdict import DeserializationError, PersistentDict, SerializationError
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping import dump_format
from redisdict.mapping.layouts.base import FOREVER
from tests.mapping.conftest import Face
from tests.waiting import wait_until

ITEMS = {"a": 1, "b": None, "": [1, "2"], "\0*": {"x": (1, 2)}, "ü\ud800": b"\xff", "l" * 9999: 0}


def dumped(mapping: PersistentDict[Any, Any]) -> bytes:
    file = io.BytesIO()
    mapping.dump(file)
    return file.getvalue()


def test_what_is_dumped_comes_back(face: Face) -> None:
    face.set_many(ITEMS)
    file = io.BytesIO()
    assert face.dump(file) == len(ITEMS)
    face.clear()
    face.set("other", "stays")
    face.set("a", "overwritten")
    file.seek(0)
    assert face.load(file) == len(ITEMS)
    assert face.copy() == {**ITEMS, "other": "stays"}


def test_times_to_live_are_kept(face: Face) -> None:
    face.set("for ever", 1)
    face.set("soon", 2, timeout=30)
    face.set("later", 3, timeout=60)
    face.set("dead", 4, timeout=0.01)
    time.sleep(0.05)
    file = io.BytesIO()
    assert face.dump(file) == 3
    face.clear()
    file.seek(0)
    face.load(file)
    assert face.ttl("for ever") is None
    assert 50 < face.ttl("later") <= 60
    assert 0 < face.ttl("soon") <= 30
    assert face.copy() == {"for ever": 1, "soon": 2, "later": 3}


def test_what_was_left_to_live_is_what_an_item_gets(face: Face) -> None:
    writer = dump_format.DumpWriter("str")
    items = [(b"kept", b"1", FOREVER), (b"dying", b"2", 100)]
    file = writer.header() + writer.items(items) + writer.end()
    time.sleep(0.15)  # which doesn't count
    face.load(io.BytesIO(file))
    wait_until(lambda: face.copy() == {"kept": 1})


def test_the_end_of_a_dict_becomes_that_of_its_items(face: Face) -> None:
    face.set_many({"a": 1, "b": 2})
    face.expire(60)
    file = io.BytesIO()
    face.dump(file)
    face.clear()
    file.seek(0)
    face.load(file)
    assert 50 < face.ttl("a") <= 60


def test_many_items(face: Face) -> None:
    expected = {str(number): number for number in range(5000)}
    face.set_many(expected)
    face.set_many({f"t{number}": number for number in range(2500)}, timeout=60)
    file = io.BytesIO()
    assert face.dump(file) == 7500
    face.clear()
    file.seek(0)
    assert face.load(file) == 7500
    assert face.len() == 7500
    assert face.get_many(expected) == expected
    assert face.ttl("t0") > 50


def test_a_large_value_fills_a_page_alone(face: Face) -> None:
    expected = {str(number): os.urandom(700_000) for number in range(20)}
    face.set_many(expected)
    file = io.BytesIO()
    assert face.dump(file) == 20
    face.clear()
    file.seek(0)
    assert face.load(file) == 20
    assert face.copy() == expected


def test_files_of_every_kind(mapping: PersistentDict[str, Any], tmp_path: Path) -> None:
    mapping.update(ITEMS)
    path = tmp_path / "dump"
    with path.open("wb", buffering=0) as raw:
        mapping.dump(raw)
    with gzip.open(tmp_path / "dump.gz", "wb") as packed:
        mapping.dump(packed)
    for opening in (path.open("rb"), gzip.open(tmp_path / "dump.gz")):  # noqa: SIM115  # closed below
        mapping.clear()
        with opening as file:
            assert mapping.load(file) == len(ITEMS)
        assert mapping == ITEMS


def test_a_pipe_needs_no_going_back(mapping: PersistentDict[str, Any]) -> None:
    """Two dumps through one pipe; each is read up to its end and no further."""
    mapping.update(ITEMS)
    data = dumped(mapping)
    mapping.clear()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:

        def write() -> None:
            with sink:
                sink.write(data + data)

        writer = threading.Thread(target=write)
        writer.start()
        assert mapping.load(source) == len(ITEMS)
        assert mapping.load(source) == len(ITEMS)
        writer.join()
    assert mapping == ITEMS


def test_a_damaged_pipe_leaves_no_temporary_file_open(
    mapping: PersistentDict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []

    def temporary_file() -> io.BytesIO:
        copies.append(io.BytesIO())
        return copies[-1]

    monkeypatch.setattr(dump_format, "TemporaryFile", temporary_file)
    reading, writing = os.pipe()
    os.write(writing, b"nonsense, and nothing more")
    os.close(writing)
    with (
        os.fdopen(reading, "rb") as source,
        pytest.raises(DeserializationError, match="isn't one that dump"),
    ):
        mapping.load(source)
    assert [copy.closed for copy in copies] == [True]


def test_a_file_that_takes_little_at_a_time(mapping: PersistentDict[str, Any]) -> None:
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data[:7])
            return min(len(data), 7)

    mapping.update(ITEMS)
    slow = Slow()
    mapping.dump(slow)
    mapping.clear()
    mapping.load(io.BytesIO(slow.data))
    assert mapping == ITEMS


@pytest.fixture
def small_dump(make: Callable[..., PersistentDict[str, Any]]) -> bytes:
    mapping = make("source")
    mapping.set("k", "v", timeout=60)
    mapping["n"] = 1
    return dumped(mapping)


def test_any_damage_is_noticed_and_nothing_stored(
    make: Callable[..., PersistentDict[str, Any]], small_dump: bytes
) -> None:
    mapping = make("target")
    mapping["k"] = "old"
    for length in range(len(small_dump)):
        with pytest.raises(DeserializationError, match="Nothing was stored"):
            mapping.load(io.BytesIO(small_dump[:length]))
    for position in range(len(small_dump)):
        flipped = bytearray(small_dump)
        flipped[position] ^= random.randint(1, 255)
        with pytest.raises(DeserializationError, match="Nothing was stored"):
            mapping.load(io.BytesIO(flipped))
    assert mapping == {"k": "old"}


def test_an_absurd_length_costs_no_memory(mapping: PersistentDict[str, Any]) -> None:
    begin = dump_format.DumpWriter("str").header()
    for length in (dump_format.MAX_LENGTH, 2**32 - 1):
        head = begin + dump_format._ITEM.pack(1, 1, length, 0) + b"kv"

        class Counting(io.BytesIO):
            asked = 0

            def read(self, size: int | None = -1, /) -> bytes:
                self.asked = max(self.asked, size or 0)
                return super().read(size)

        file = Counting(head)
        with pytest.raises(DeserializationError, match=r"item 1 (has an absurd|is where the file)"):
            mapping.load(file)
        assert file.asked <= dump_format.READ_BYTES


def test_another_version_or_kind_of_keys_is_named(
    make: Callable[..., PersistentDict[Any, Any]], small_dump: bytes
) -> None:
    later = bytearray(small_dump)
    later[len(dump_format.MAGIC)] = 2
    with pytest.raises(DeserializationError, match=r"has version 2 .* reads version 1"):
        make().load(io.BytesIO(later))
    with pytest.raises(DeserializationError, match="key_type str, this dict has int"):
        make("numbers", key_type=int).load(io.BytesIO(small_dump))


def test_keys_that_the_dict_cannot_have_are_refused(
    make: Callable[..., PersistentDict[Any, Any]],
) -> None:
    words = make("words", key_type=(str.encode, bytes.decode))
    words["not a number"] = 1
    numbers = make("numbers", key_type=(lambda n: b"%d" % n, int))
    with pytest.raises(DeserializationError, match="no key of this dict"):
        numbers.load(io.BytesIO(dumped(words)))
    assert len(numbers) == 0


@pytest.mark.parametrize("method", ["dump", "load", "adump", "aload"])
async def test_only_files_of_bytes(mapping: PersistentDict[str, Any], method: str) -> None:
    for wrong in (io.StringIO(), "path", None):
        with pytest.raises(TypeError, match=f"file is {type(wrong).__name__}; a file of bytes"):
            await getattr(mapping, method)(wrong)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is full")
def test_a_full_disk_is_an_error(mapping: PersistentDict[str, Any]) -> None:
    mapping.update(ITEMS)
    with Path("/dev/full").open("wb", 0) as full, pytest.raises(OSError, match="No space left"):
        mapping.dump(full)


def test_the_format_does_not_change() -> None:
    """Golden bytes: a later version must read what this one has written."""
    writer = dump_format.DumpWriter("str")
    data = writer.header()
    data += writer.items([(b"k", b"value", FOREVER), (b"", b"", 1500), (b"last", b"", 0)])
    data += writer.end()
    assert data.hex(" ") == (
        "89 52 44 49 43 54 0d 0a 01 03 73 74 72 "
        "01 01 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 6b 76 61 6c 75 65 "
        "01 00 00 00 00 00 00 00 00 dc 05 00 00 00 00 00 00 "
        "01 04 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 6c 61 73 74 "
        "00 03 00 00 00 00 00 00 00 " + data[-4:].hex(" ")
    )
    assert data[-4:].hex() == "ff456cae"
    records = list(dump_format.DumpReader(io.BytesIO(data), "str"))
    assert records == [(b"k", b"value", FOREVER), (b"", b"", 1500), (b"last", b"", 1)]


@pytest.fixture
def elsewhere(valkey_url: str, key_prefix: str) -> Iterator[Backend]:
    """Another alias: another server, or the same one under another prefix."""
    made = Backend(
        parse_alias("elsewhere", {"LOCATION": valkey_url, "KEY_PREFIX": f"{key_prefix}-else"})
    )
    yield made
    made.close()


@pytest.mark.parametrize("to_hash", [True, False], ids=["to-hash", "to-keys"])
@pytest.mark.parametrize("serializer", [None, "pickle", "json"])
def test_a_clone_has_everything(
    face: Face, elsewhere: Backend, to_hash: bool, serializer: str | None
) -> None:
    items = {**{f"k{number}": number for number in range(1500)}, "t": "text", "none": None}
    face.set_many(items)
    face.set("timed", [1], timeout=60)
    other: PersistentDict[str, Any] = PersistentDict(
        "clone", elsewhere, hset_enabled=to_hash, serializer=serializer
    )
    other["what it had"] = "stays"
    if face.runner is None:
        assert face.mapping.clone_to(other) == len(items) + 1
    else:
        assert face.runner.run(face.mapping.aclone_to(other)) == len(items) + 1
        face.runner.run(elsewhere.aclose())
    assert other.copy() == {**items, "timed": [1], "what it had": "stays"}
    assert 50 < (other.ttl("timed") or 0) <= 60
    assert other.ttl("t") is None
    other.clear()


def test_bytes_are_copied_unread_where_that_is_possible(
    make: Callable[..., PersistentDict[str, Any]], backend: Backend
) -> None:
    """What was stored by another serializer before stays as it is."""
    make(serializer="json").update(old="written as json")
    mapping = make()
    mapping["new"] = (1, 2)
    copy = make("copy")
    mapping.clone_to(copy)
    layout = mapping._bound.layout
    fields = [b"old", b"new"]
    values = backend.driver.run(layout.get_many(fields))
    assert backend.driver.run(copy._bound.layout.get_many(fields)) == values


def test_a_dict_can_be_rewritten_in_place(make: Callable[..., PersistentDict[str, Any]]) -> None:
    old, new = make(serializer="pickle"), make()
    old["a"] = (1, 2)
    old.set("b", 3, timeout=60)
    old.clone_to(new)
    with pytest.raises(SerializationError):
        make().set("c", object())
    assert new.copy() == {"a": (1, 2), "b": 3}
    assert (new.ttl("b") or 0) > 50


def test_keys_of_another_type_are_converted_or_refused(
    make: Callable[..., PersistentDict[Any, Any]],
) -> None:
    hexadecimal = (lambda number: b"%x" % number, lambda stored: int(stored, 16))
    numbers, others = make("numbers", key_type=int), make("others", key_type=hexadecimal)
    numbers[255] = "x"
    numbers.clone_to(others)
    assert others.copy() == {255: "x"}
    with pytest.raises(TypeError, match="A key of this dict is str, not int"):
        numbers.clone_to(make("words"))


def test_a_value_that_the_other_cannot_store_stops_the_clone(
    make: Callable[..., PersistentDict[Any, Any]],
) -> None:
    mapping, raw = make(), make("raw", serializer="raw")
    mapping["n"] = [1]
    with pytest.raises(SerializationError):
        mapping.clone_to(raw)
    assert mapping.copy() == {"n": [1]}
