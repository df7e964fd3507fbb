"""The server of recorded replies gives them, asks its Valkey for the rest, holds as KeyDB does."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import ResponseError

from tests.recorded import RecordedServer
from tests.recorded.frames import ReplyReader
from tests.recorded.server import packed
from tests.waiting import LIMIT_S


@pytest.fixture(scope="module", params=["keydb", "dragonfly"])
def recorded(request: pytest.FixtureRequest) -> Iterator[RecordedServer]:
    with RecordedServer(request.param) as server:
        yield server


@pytest.fixture(params=[2, 3])
def client(recorded: RecordedServer, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(recorded.url, protocol=request.param) as client:
        yield client


def test_what_was_recorded_is_given(recorded: RecordedServer, client: redis.Redis) -> None:
    info = client.info("server")
    assert ("dragonfly_version" in info) == ("dragonfly" in recorded.name)
    assert "valkey_version" not in info
    assert ("INFO", "server") in recorded.calls
    with pytest.raises(ResponseError, match="unknown command"):
        client.execute_command("WAITAOF", 1, 0, 5)


def test_the_rest_is_asked_of_a_real_server(client: redis.Redis) -> None:
    big = b"x" * 200_000
    with client.pipeline() as pipeline:
        pipeline.set("big", big).get("big").hset("h", mapping={"a": 1}).hgetall("h").get("nothing")
        assert pipeline.execute()[1:] == [big, 1, {b"a": b"1"}, None]
        pipeline.delete("h", "big").execute()


def talk(recorded: RecordedServer, *commands: str) -> tuple[socket.socket, ReplyReader]:
    """A connection over which the commands have been sent at once, and what reads its replies."""
    connection = socket.create_connection(("127.0.0.1", recorded.port), timeout=LIMIT_S)
    connection.sendall(b"".join(packed(command.encode().split(b" ")) for command in commands))
    return connection, ReplyReader(connection)


def test_keydb_leaves_what_follows_a_long_scan() -> None:
    with RecordedServer("keydb") as keydb:
        connection, replies = talk(keydb, "SCAN 0 COUNT 100", "PING")
        with connection:
            assert replies.read().startswith(b"*2")
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                replies.read()
            assert keydb.held == 1
            connection.settimeout(LIMIT_S)
            connection.sendall(packed([b"ECHO", b"more"]))
            assert [replies.read(), replies.read()] == [b"+PONG\r\n", b"$4\r\nmore\r\n"]


@pytest.mark.parametrize(
    ("family", "scan"), [("keydb", "SCAN 0 COUNT 99"), ("dragonfly", "SCAN 0 COUNT 1000")]
)
def test_other_scans_are_answered_in_their_turn(family: str, scan: str) -> None:
    with RecordedServer(family) as server:
        connection, replies = talk(server, scan, "PING", "MULTI", "SCAN 0 COUNT 500", "EXEC")
        with connection:
            assert [replies.read()[:2], replies.read()] == [b"*2", b"+PONG\r\n"]
            assert [replies.read() for _ in range(2)] == [b"+OK\r\n", b"+QUEUED\r\n"]
            assert replies.read().startswith(b"*1\r\n*2\r\n")
        assert server.held == 0
