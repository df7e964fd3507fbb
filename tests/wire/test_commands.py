"""The table of commands: what each of its readers takes from it."""

from __future__ import annotations

import pytest

from redisdict.wire.commands import (
    COMMANDS,
    is_read,
    is_replica_read,
    lookup,
    scans_all_nodes,
    slot_of,
)
from redisdict.wire.requests import Batch


def test_what_changes_something_is_no_read() -> None:
    assert is_read([(b"HGET", b"d", b"f"), (b"INFO",)])
    assert not is_read([(b"HGET", b"d", b"f"), (b"HSET", b"d", b"f", b"v")])
    assert not is_read([(b"EVALSHA", b"digest", 1, b"d")])
    assert not is_read([(b"CONFIG", b"SET", b"save", b"")])


def test_a_replica_gets_no_walks_and_no_questions_about_the_server() -> None:
    assert is_replica_read([(b"HGET", b"d", b"f"), (b"MEMORY", b"USAGE", b"d")])
    for command in ((b"SCAN", 0), (b"HSCAN", b"d", 0), (b"INFO",), (b"COMMAND",), (b"SET", b"k")):
        assert not is_replica_read([command])
    assert all(info.is_read for info in COMMANDS.values() if info.is_for_replicas)


@pytest.mark.parametrize("name", ["get", b"GET", "Config Get", "JSON.SET", "wäit"])
def test_most_commands_of_a_client_share_a_connection(name: str | bytes) -> None:
    assert not lookup(name)[1].needs_own_connection


@pytest.mark.parametrize("name", ["blpop", b"MULTI", "CLIENT SETNAME", b"client no-evict", "scan"])
def test_some_need_one_of_their_own(name: str | bytes) -> None:
    assert lookup(name)[1].needs_own_connection


def test_those_about_their_own_writes_are_called_by_their_names() -> None:
    assert [lookup(name)[0] for name in (b"wait", "WaitAof 1 0 0")] == ["WAIT", "WAITAOF"]
    assert [name for name, info in COMMANDS.items() if info.is_about_own_writes] == [
        b"WAIT",
        b"WAITAOF",
    ]


def test_the_slot_is_that_of_the_first_key() -> None:
    slot = slot_of((b"GET", b"{d}"))
    for command in (
        (b"HSET", "{d}x", b"f", b"v"),
        (b"EVAL", b"text", 1, b"{d}:1"),
        (b"MEMORY", b"USAGE", b"{d}"),
        (b"SCAN", 0, b"MATCH", b"{d}:*"),
    ):
        assert slot_of(command) == slot
    assert slot_of(Batch([(b"ASKING",), (b"GET", b"{d}")])) == slot
    assert slot_of((b"INFO", b"server")) is None


def test_a_pattern_with_a_tag_is_for_one_node() -> None:
    assert scans_all_nodes((b"SCAN", 0, b"MATCH", b"p:*"))
    assert not scans_all_nodes((b"SCAN", 0, b"MATCH", b"p:{d}:*"))
    assert not scans_all_nodes((b"GET", b"k"))
    assert not scans_all_nodes(Batch([(b"SCAN", 0, b"MATCH", b"*"), (b"GET", b"k")]))
