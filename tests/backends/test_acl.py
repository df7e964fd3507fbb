"""A user who may do what docs/servers.md lists, and no more, can use every method of a dict."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from redisdict import BackendUnavailable, NoReplica, PersistentDict, ServerUnsupported
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from redisdict.modelcache.slots.store import LEASED, RowStore, new_token
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Family, Program, ProgramMissing, find_program
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from redisdict.wire.requests import Operation
from tests.backends.conftest import fetched
from tests.conftest import program_for_tests
from tests.mapping.test_mapping_protocol import *  # noqa: F403
from tests.mapping.test_timeouts import (  # noqa: F401
    test_an_item_dies_for_everybody,
    test_changing_keeps_the_timeout,
    test_the_whole_dict_has_a_timeout,
)
from tests.recorded import RecordedServer

DOCS = Path(__file__).parents[2] / "docs" / "servers.md"


def documented_rules(user: str, password: str, prefix: str) -> list[str]:
    """The rules of the ACL SETUSER that the docs show, for this user, password and prefix."""
    [line] = re.findall(r"^ACL SETUSER shop (.+)$", DOCS.read_text(), re.MULTILINE)
    rules = line.replace(">PASSWORD", f">{password}").replace("redisdict:", f"{prefix}*:")
    return [user, *rules.split()]


def documented_additions(family: str) -> dict[str, str]:
    """The rules that the docs add for further purposes, as this program takes them."""
    line = r"^- ([^,`]*).*?: `(\+[^`]+)`(?: \(on Dragonfly `(\+\w+)`)?"
    found = re.findall(line, DOCS.read_text(), re.MULTILINE)
    is_dragonfly = family == "dragonfly"
    return {purpose: (is_dragonfly and other) or rule for purpose, rule, other in found}


def let_in(server: ServerProcess, *additions: str) -> str:
    """The location of the server for a user with the documented rights and these."""
    with server.client() as client:
        rules = documented_rules("limited", "pass", "test-")
        client.execute_command("ACL", "SETUSER", *rules, *additions)
    return f"redis://limited:pass@{urlsplit(server.url).netloc}/0"


def unpackaged() -> dict[str, Program]:
    """Those of KeyDB and Dragonfly that are on PATH."""
    found = {}
    families: list[Family] = ["keydb", "dragonfly"]
    for family in families:
        with suppress(ProgramMissing):
            found[family] = find_program(family)
    return found


UNPACKAGED = unpackaged()

#: Beside those of `server_url`.
OTHERS: dict[str, Callable[[], Program]] = {
    name: lambda name=name: fetched(name)  # type: ignore[misc]
    for name in ("redis-6.2", "redis-8.2", "valkey-8.0")
}


@pytest.fixture(scope="module", params=["redis", "valkey", "cluster", *UNPACKAGED])
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "cluster":
        with ClusterTopology(program_for_tests("valkey")) as topology:
            for member in topology.members:
                let_in(member, documented_additions(member.program.family)["a Cluster"])
            yield topology.location.replace("://", "://limited:pass@")
        return
    program = UNPACKAGED.get(request.param) or program_for_tests(request.param)
    with ServerProcess(program) as server:
        yield let_in(server)


def test_other_keys_and_commands_are_forbidden(
    server_url: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    backend = Backend(parse_alias("test", {**alias_for(server_url), "KEY_PREFIX": "other"}))
    with pytest.raises(Exception, match=r"(?i)no permissions to access|no ACL permissions"):
        PersistentDict("d", backend)["a"] = 1
    with pytest.raises(Exception, match=r"(?i)no permissions to run|no ACL permissions"):
        backend.driver.run(one_command(b"KEYS", b"*"))
    backend.close()


def one_command(*words: bytes) -> Operation[Any]:
    return (yield words)


def use_everything(backend: Backend) -> None:
    """What needs rights of its own: the scripts, the clock, locks, sizes, cells of a model."""
    for hset_enabled in (True, False):
        d: PersistentDict[str, int] = PersistentDict("all", backend, hset_enabled)
        d.set_many({"a": 1, "b": 2, "c": 3}, timeout=60)
        d["d"] = 4
        assert d.transform("a", lambda value: value + 1) == 2
        assert (d.incr("b"), d.pop("c"), d.touch("a", 50), d.expire(40)) == (3, 3, True, True)
        assert sorted(d.items()) == [("a", 2), ("b", 3), ("d", 4)]
        assert d.memory_usage() > 0
        with d.lock("l"):
            assert d.get_or_set("e", lambda: 5, timeout=60) == 5
        assert d.popitem()
        d.clear()
    cells = RowStore(Names(backend.config.key_prefix, ("rows", "default")), b"12345678")
    key, token = cells.prefix + b"1", new_token()
    run = backend.driver.run
    run(cells.block([cells.table_key], token, 1000))
    run(cells.lift([cells.table_key], token))
    assert run(cells.read([key], token, 1000)) == [LEASED]
    assert run(cells.fill([key], token, [b"body"], 1000)) == 1
    assert run(cells.read([key], new_token(), 1000)) == [b"body"]


def test_everything_is_allowed(server_url: str, alias_for: Callable[..., dict[str, Any]]) -> None:
    backend = Backend(parse_alias("test", alias_for(server_url)))
    use_everything(backend)
    backend.close()


@pytest.mark.parametrize("name", OTHERS)
def test_everything_is_allowed_on(name: str, alias_for: Callable[..., dict[str, Any]]) -> None:
    with ServerProcess(OTHERS[name]()) as server:
        backend = Backend(parse_alias("test", alias_for(let_in(server))))
        use_everything(backend)
        backend.close()


@pytest.mark.parametrize("family", ["keydb", "dragonfly"])
def test_each_rule_is_one_that_the_server_knows(family: str) -> None:
    """By the replies of a real one, also where there is none."""
    recorded = RecordedServer(family)
    rules = documented_rules("shop", "PASSWORD", "redisdict")
    for rule in [*rules[1:], *documented_additions(family).values()]:
        rule = rule.replace("redisdict*:*", "redisdict:*")
        reply = recorded.reply_to(2, [b"ACL", b"SETUSER", b"shop", rule.encode()])
        assert reply == b"+OK\r\n", f"{rule}: {reply!r} (None: have tests.recorded record it)"


@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_dicts_in_shards_need_no_other_rights(
    server_url: str, alias_for: Callable[..., dict[str, Any]], hset_enabled: bool
) -> None:
    backend = Backend(parse_alias("test", alias_for(server_url)))
    d: PersistentDict[str, int] = PersistentDict("d", backend, hset_enabled, shards=4)
    d.set_many({"a": 1, "b": 2}, timeout=60)
    assert (len(d), d.pop("a"), d.copy()) == (2, 1, {"b": 2})
    with d.lock():
        d.clear()
    backend.close()


def test_durable_writes(alias_for: Callable[..., dict[str, Any]]) -> None:
    with ServerProcess(program_for_tests("valkey"), arguments=["--appendonly", "yes"]) as server:
        backend = Backend(parse_alias("test", alias_for(let_in(server))))
        PersistentDict("d", backend, durable="aof")["a"] = 1
        with pytest.raises(NoReplica, match="no replica is connected"):
            PersistentDict("d", backend, durable="replicas")["a"] = 2
        for right in ("info", "wait"):
            let_in(server, f"-{right}")
            with pytest.raises(ServerUnsupported, match=r"(?i)no permissions.* \+info \+wait\)"):
                PersistentDict("d", backend, durable="replicas")["a"] = 2
        assert PersistentDict("d", backend)["a"] == 1
        backend.close()


def test_a_wrong_password_is_an_error_without_it(
    alias_for: Callable[..., dict[str, Any]], server_url: str
) -> None:
    backend = Backend(parse_alias("test", alias_for(server_url.replace("pass", "wr0ng"))))
    with pytest.raises(BackendUnavailable, match=r"(?i)invalid username-password") as caught:
        PersistentDict("d", backend)["a"] = 1
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    "reading",
    [{}, {"read_from_replicas": True}, {"read_from_replicas": True, "availability_zone": "a"}],
    ids=["primary", "replicas", "zone"],
)
def test_sentinels_with_a_user_of_their_own(
    sentinel: SentinelTopology, alias_for: Callable[..., dict[str, Any]], reading: dict[str, Any]
) -> None:
    [[rules, addition]] = re.findall(
        r"^A user of the sentinels needs `(.+?)`, and with `read_from_replicas` also `(.+?)`",
        DOCS.read_text(),
        re.MULTILINE,
    )
    user = f"watcher-{len(reading)}"
    for member in sentinel.sentinels:
        with member.client() as client:
            words = (*rules.split(), *([addition] if reading else []))
            client.execute_command("ACL", "SETUSER", user, "on", ">pass", *words)
    location = f"{sentinel.location}?sentinel_username={user}&sentinel_password=pass"
    backend = Backend(parse_alias("test", alias_for(location, OPTIONS=reading)))
    d: PersistentDict[str, int] = PersistentDict("d", backend, durable="replicas")
    d["a"] = 1
    assert d["a"] == 1
    assert asyncio.run(d.agetitem("a")) == 1
    if backend._replicas is not None:  # it may be read without the primary's help
        assert PersistentDict("d", backend._replicas)["a"] == 1
    d.clear()
    backend.close()
