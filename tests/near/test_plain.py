"""Servers that tell only of keys that were asked for, and which servers that are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict.connections.backend import Backend
from redisdict.near import session as session_module
from redisdict.near.clock import clock
from redisdict.near.listener import Listener
from redisdict.near.session import Session
from redisdict.near.state import NearState
from redisdict.near.tracking import TrackingConnection
from redisdict.near.watches import Watch
from redisdict.servers.process import ServerProcess
from tests.near.conftest import is_served, make, opened, settle, wait_until_on
from tests.waiting import wait_until


@pytest.fixture
def tracking() -> str:
    return "plain"


def listener_of(backend: Backend) -> Listener:
    found: Listener = backend.attachments["near"].listener  # type: ignore[attr-defined]
    return found


def refuse_bcast(session: Session, prefixes: Any) -> None:
    raise ResponseError("BCAST isn't known here")


def test_a_server_without_bcast(
    url: str, alias_for: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "_ask_for", refuse_bcast)
    with opened(alias_for(url)) as backend, opened(alias_for(url)) as elsewhere:
        mapping, other = make(backend), make(elsewhere, near=None)
        wait_until_on(mapping)
        assert listener_of(backend).is_plain
        later = make(backend, name="later")
        wait_until_on(later)
        for number in range(3):
            for one, another in ((mapping, other), (later, make(elsewhere, None, name="later"))):
                another["k"] = number
                settle(one)
                assert one["k"] == number
                assert is_served(one, "k")


@pytest.mark.parametrize("answer", [b"dragonfly_version:df-v1.40.1\r\n", ResponseError("NOPERM")])
def test_a_server_that_may_answer_too_early(
    url: str,
    alias_for: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
) -> None:
    ask = TrackingConnection.ask

    def ask_dragonfly(connection: TrackingConnection, command: Any) -> Any:
        if command[0] != b"INFO":
            return ask(connection, command)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Session, "_ask_for", refuse_bcast)
    monkeypatch.setattr(TrackingConnection, "ask", ask_dragonfly)
    with opened(alias_for(url)) as backend:
        mapping = make(backend)
        mapping["k"] = "v"
        wait_until(lambda: mapping["k"] == "v" and "Dragonfly" in mapping.near_stats().reason)
        assert not mapping.near_stats().is_on
    with opened(alias_for(url, NEAR_TRACKING="plain")) as backend:
        wait_until_on(make(backend))


def test_a_server_that_remembers_few_keys(
    own_backend: Backend, own_elsewhere: Backend, own_server: ServerProcess
) -> None:
    with own_server.client() as client:
        client.config_set("tracking-table-max-keys", 10)
    mapping, other = make(own_backend), make(own_elsewhere, near=None)
    keys = [f"key {number}" for number in range(200)]
    other.update(dict.fromkeys(keys, 0))
    wait_until_on(mapping)
    for number in range(1, 4):
        mapping.get_many(keys)
        other.update(dict.fromkeys(keys, number))
        settle(mapping)
        assert mapping.get_many(keys) == dict.fromkeys(keys, number)
    # The server says of those that it forgets that they were changed.
    wait_until(lambda: mapping.near_stats().items <= 10)


@pytest.mark.parametrize("shards", [None, 3])
def test_many_readers_at_once(backend: Backend, elsewhere: Backend, shards: int | None) -> None:
    mapping = make(backend, shards=shards)
    other = make(elsewhere, near=None, shards=shards)
    keys = [f"key {number}" for number in range(50)]
    other.update(dict.fromkeys(keys, 0))
    wait_until_on(mapping)
    seen: list[Any] = []

    def read() -> None:
        seen.append(mapping.get_many(keys))
        seen.extend({key: mapping[key]} for key in keys)

    async def read_in_tasks() -> None:
        values = await asyncio.gather(*map(mapping.agetitem, keys))
        seen.append(dict(zip(keys, values, strict=True)))

    for number in range(1, 4):
        other.update(dict.fromkeys(keys, number))
        settle(mapping)
        seen.clear()
        threads = [threading.Thread(target=read) for _ in range(4)]
        threads += [threading.Thread(target=lambda: asyncio.run(read_in_tasks()))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {value for each in seen for value in each.values()} == {number}
        wait_until(lambda: all(is_served(mapping, key) for key in keys))


def test_what_isnt_asked_for_isnt_kept(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, elsewhere: Backend
) -> None:
    mapping = make(backend)
    other = make(elsewhere, near=None)
    wait_until_on(mapping)
    listener = listener_of(backend)
    state = mapping._near.reader_of(b"k").state
    monkeypatch.setattr(Session, "_ask_for_keys", lambda session: None)
    monkeypatch.setattr(listener, "_timeout_s", 0.01)
    other["k"] = "v"
    assert mapping["k"] == "v"
    assert asyncio.run(mapping.agetitem("k")) == "v"
    assert not state.has(b"k")
    monkeypatch.undo()
    wait_until(lambda: is_served(mapping, "k"))


def test_a_connection_that_is_lost_while_a_key_is_asked_for(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = make(backend)
    wait_until_on(mapping)
    mapping["k"] = "v"
    send = Session._send

    def lose(session: Session, commands: Any, take: Any) -> None:
        if commands[0][0] == b"EXISTS":
            raise ConnectionResetError("cut")
        send(session, commands, take)

    monkeypatch.setattr(Session, "_send", lose)
    state = mapping._near.reader_of(b"k").state
    assert not listener_of(backend).track(state, [b"k"])
    assert mapping["k"] == "v"
    assert not state.has(b"k")
    monkeypatch.undo()
    wait_until(lambda: is_served(mapping, "k"))


def test_of_whom_nobody_tells_nothing_is_asked(backend: Backend) -> None:
    wait_until_on(make(backend))
    assert not listener_of(backend).track(NearState(1, 1), [b"k"])
    assert not asyncio.run(listener_of(backend).atrack(NearState(1, 1), [b"k"]))


def test_a_refusal_is_no_promise(backend: Backend) -> None:
    wait_until_on(make(backend))
    listener = listener_of(backend)
    state = NearState(10, 10)
    listener.watch([Watch(b"", state)], b"probe:")
    assert listener.track(state, [b"k"])
    assert session_module.epoch_in(ResponseError("no")) is None


# The name of a server


@pytest.mark.parametrize("where", ["away", "here", "nowhere"])
def test_the_name_leads_to_another_address(
    own_server: ServerProcess,
    alias_for: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    with opened(alias_for(own_server.url.replace("127.0.0.1", "localhost"))) as backend:
        mapping = make(backend, near="request")
        wait_until_on(mapping)
        listener = listener_of(backend)
        assert listener._connection is not None
        here = listener._connection._sock.getpeername()[0]

        def resolve(*asked: Any, **options: Any) -> Any:
            if where == "nowhere":
                raise OSError("no such name")
            return [(0, 0, 0, "", ("192.0.2.1" if where == "away" else here, 1))]

        monkeypatch.setattr("redisdict.near.tracking.socket.getaddrinfo", resolve)
        monkeypatch.setattr(session_module, "NAME_EVERY_S", -1.0)
        assert listener.ping_after(clock()) == (where != "away")
        assert ("another address" in mapping.near_stats().reason) == (where == "away")


def test_an_address_leads_nowhere_else(
    url: str, alias_for: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No resolver is asked about 127.0.0.1."""
    asked: list[Any] = []
    with opened(alias_for(url)) as backend:
        mapping = make(backend, near="request")
        wait_until_on(mapping)
        monkeypatch.setattr("redisdict.near.tracking.socket.getaddrinfo", asked.append)
        monkeypatch.setattr(session_module, "NAME_EVERY_S", -1.0)
        assert listener_of(backend).ping_after(clock())
        connection = listener_of(backend)._connection
        assert connection is not None
        assert not connection.leads_elsewhere()
    assert asked == []
