"""Who a server says it is; for servers in no package registry, from recorded INFO replies."""

from typing import Any

import pytest
import redis

from redisdict.bench.measure.services import identify
from redisdict.servers.process import ServerProcess
from tests.recorded import RecordedServer


class Recorded:
    """A client that repeats what a server once answered."""

    def __init__(self, info: dict[str, Any], save: str | None) -> None:
        self._info = info
        self._save = save

    def info(self) -> dict[str, Any]:
        return self._info

    def execute_command(self, *command: str) -> list[bytes]:
        if self._save is None:
            raise redis.ResponseError("NOPERM")
        return [b"save", self._save.encode()] if command[2] == "save" else []


KEYDB = {
    "redis_version": "6.3.4",
    "executable": "/usr/local/bin/keydb-server",
    "process_id": 1,
    "run_id": "k" * 40,
    "mvcc_depth": 0,
    "aof_enabled": 0,
}
DRAGONFLY = {
    "redis_version": "7.4.0",
    "dragonfly_version": "df-v1.40.1",
    "tcp_port": 6379,
    "master_replid": "d" * 40,
}


def test_keydb_is_known_by_its_own_section() -> None:
    identity = identify(Recorded(KEYDB, "3600 1"))  # type: ignore[arg-type]  # all it uses
    assert (identity.name, identity.run_id) == ("KeyDB 6.3.4", "k" * 40)
    assert identity.persistence == "snapshots"


def test_dragonfly_has_neither_process_nor_run_id() -> None:
    identity = identify(Recorded(DRAGONFLY, None))  # type: ignore[arg-type]  # all it uses
    assert (identity.name, identity.run_id) == ("Dragonfly 1.40.1", "d" * 40)
    assert identity.process_id is None
    assert identity.persistence == "unknown"


@pytest.mark.parametrize(
    ("family", "state", "kept"),
    [
        ("keydb", "alone", "off"),
        ("dragonfly", "alone", "off"),
        ("dragonfly", "snapshots", "snapshots"),
    ],
)
def test_what_those_without_a_package_keep_on_disk(family: str, state: str, kept: str) -> None:
    with RecordedServer(family, state) as server, redis.Redis.from_url(server.url) as client:
        identity = identify(client)
    assert (identity.family, identity.persistence) == (family, kept)


@pytest.mark.parametrize(
    ("save", "appendonly", "persistence"),
    [
        ("", "no", "off"),
        ("60 1", "no", "snapshots"),
        ("", "yes", "append-only file"),
        ("60 1", "yes", "append-only file and snapshots"),
    ],
)
def test_what_a_server_keeps_on_disk(
    redis_server: ServerProcess, save: str, appendonly: str, persistence: str
) -> None:
    arguments = ["--save", save, "--appendonly", appendonly]
    with ServerProcess(redis_server.program, arguments=arguments) as server:
        with server.client() as client:
            identity = identify(client)
    assert identity.family == "redis"
    assert identity.persistence == persistence
    assert identity.process_id == server.pid
