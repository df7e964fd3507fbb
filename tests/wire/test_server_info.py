"""What a server says of itself, in the words of each."""

from __future__ import annotations

import pytest
from redis.exceptions import NoPermissionError

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.wire.requests import Operation
from redisdict.wire.server_info import (
    PERSISTENCE_SETTINGS,
    ask_settings,
    count_replicas,
    eviction,
    evicts_any_key,
    family_and_version,
    parse_info,
    persistence,
    server_name,
    takes_writes,
    tells_offsets,
)
from tests.mapping.feeding import feed
from tests.recorded import RecordedServer


def ask() -> Operation[tuple[dict[str, str], dict[str, str]]]:
    info = parse_info((yield (b"INFO",)))
    return info, (yield from ask_settings(*PERSISTENCE_SETTINGS))


@pytest.mark.parametrize(
    ("server", "kept", "policy", "evicts", "replicas", "has_offsets"),
    [
        ("keydb-alone", "off", "noeviction", False, 0, False),
        ("keydb-active-replica", "off", "noeviction", False, 1, True),
        ("keydb-active-alone", "off", "noeviction", False, 0, False),
        ("dragonfly-alone", "off", "noeviction", False, 0, False),
        ("dragonfly-replica", "off", "noeviction", False, 1, False),
        ("dragonfly-cache-mode", "off", "eviction", True, 0, False),
        ("dragonfly-snapshots", "snapshots", "noeviction", False, 0, False),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3])
def test_what_the_real_ones_say(
    server: str,
    kept: str,
    policy: str,
    evicts: bool,
    replicas: int,
    has_offsets: bool,
    protocol: int,
) -> None:
    family, _, state = server.partition("-")
    with RecordedServer(family, state) as recorded:
        location = f"{recorded.url}?protocol={protocol}"
        backend = Backend(parse_alias("test", {"LOCATION": location}))
        info, settings = backend.driver.run(ask())
        backend.close()
    assert family_and_version(info)[0] == family
    assert persistence(info, settings) == kept
    assert (eviction(info), evicts_any_key(info)) == (policy, evicts)
    assert takes_writes(info)
    assert (count_replicas(info), tells_offsets(info)) == (replicas, has_offsets)


@pytest.mark.parametrize(
    ("info", "settings", "kept"),
    [
        ({}, {}, "unknown"),
        ({"aof_enabled": "0"}, {}, "unknown"),
        ({"aof_enabled": "1"}, {}, "append-only file"),  # CONFIG may be forbidden
        ({"aof_enabled": 1}, {"save": "60 1"}, "append-only file and snapshots"),
        ({"aof_enabled": "0"}, {"save": "", "dbfilename": "dump.rdb"}, "off"),
        ({"aof_enabled": "0", "storage_provider": "flash"}, {"save": ""}, "flash storage"),
        ({}, {"snapshot_cron": "", "dbfilename": "dump"}, "a snapshot at shutdown"),
        ({}, {"snapshot_cron": "* * * * *", "dbfilename": ""}, "off"),
    ],
)
def test_what_is_kept_on_disk(info: dict[str, object], settings: dict[str, str], kept: str) -> None:
    assert persistence(info, settings) == kept


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "eviction"])
def test_policies_that_delete_any_key(policy: str) -> None:
    assert evicts_any_key({"maxmemory_policy": policy})


@pytest.mark.parametrize("policy", ["", "noeviction", "volatile-lru", "volatile-ttl"])
def test_policies_that_do_not(policy: str) -> None:
    assert not evicts_any_key({"maxmemory_policy": policy})


def test_settings_of_who_may_not_ask() -> None:
    assert feed(ask_settings("save", "dbfilename"), NoPermissionError("NOPERM"))[1] == {}


def test_a_replica_takes_no_writes() -> None:
    assert not takes_writes({"role": "slave"})
    assert not takes_writes({"role": "replica"})  # Dragonfly, by a flag


REPLIES = {
    "Redis 7.0.15": "# Server\r\nredis_version:7.0.15\r\nexecutable:/usr/bin/redis-server\r\n",
    "Valkey 9.1.2": "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\n",
    "KeyDB 6.3.4": "# Server\r\nredis_version:6.3.4\r\nexecutable:/usr/local/bin/keydb-server\r\n",
    "Dragonfly 1.40.1": "# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.40.1\r\n",
    "Redis": "",
}


@pytest.mark.parametrize("name", REPLIES)
def test_the_name_of_a_server(name: str) -> None:
    asked, found = feed(server_name(), REPLIES[name].encode())
    assert asked == [(b"INFO", b"server")]
    assert found == name


def test_one_that_may_not_be_asked() -> None:
    assert feed(server_name(), NoPermissionError("NOPERM"))[1] == "the server"
