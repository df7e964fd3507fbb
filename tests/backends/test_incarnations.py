"""Servers that go back in time, with all the scripts that they knew: nobody gets an old row.

Redis 6.2 and KeyDB keep scripts with their data once they have had a replica, and give them to
replicas; Dragonfly has them in its snapshots. So each server here has a replica from the beginning.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import redis

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.modelcache.slots.store import RowStore, new_token
from redisdict.modelcache.stats import Counters
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Program, ProgramMissing, find_program
from redisdict.wire.requests import Step
from redisdict.wire.server_state import LENGTH
from tests.backends.conftest import fetched
from tests.backends.proxy import Proxy
from tests.conftest import program_for_tests
from tests.logs import logged_by
from tests.waiting import wait_until

LEASE_MS = 60_000

PROGRAMS: dict[str, Callable[[], Program]] = {
    "redis-installed": lambda: program_for_tests("redis"),
    "redis-6.2": lambda: fetched("redis-6.2"),
    "redis-8.2": lambda: fetched("redis-8.2"),
    "valkey-installed": lambda: program_for_tests("valkey"),
    "valkey-8.0": lambda: fetched("valkey-8.0"),
}
for family in ("keydb", "dragonfly"):  # those that aren't here are skipped by test_servers.py
    try:
        found = find_program(family)
    except ProgramMissing:
        continue
    PROGRAMS[family] = lambda found=found: found

#: How a reader comes to its connection.
POOLS: dict[str, dict[str, str]] = {
    "redisdict's": {},
    "redis-py's": {
        "POOL_CLASS": "redis.BlockingConnectionPool",
        "ASYNC_POOL_CLASS": "redis.asyncio.BlockingConnectionPool",
    },
    "not shared": {"ASYNC_POOL_CLASS": "redisdict.pools.AsyncBlockingConnectionPool"},
}


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Program:
    return PROGRAMS[request.param]()


@pytest.fixture
def servers(program: Program) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """A primary and a replica that follows it."""
    arguments = ["--dbfilename=rows"] if program.family == "dragonfly" else []
    with ExitStack() as stack:
        primary, replica = (
            stack.enter_context(ServerProcess(program, arguments=arguments)) for _ in range(2)
        )
        with replica.client(timeout_s=20) as client:
            follow(client, primary)
        wait_until(lambda: follows(primary, replica))
        yield primary, replica


def follow(client: redis.Redis, primary: ServerProcess) -> None:
    """Get everything from the primary anew, its scripts included where they go along."""
    client.execute_command("REPLICAOF", "NO", "ONE")
    client.execute_command("REPLICAOF", "127.0.0.1", primary.port)


def follows(primary: ServerProcess, replica: ServerProcess) -> bool:
    """Whether the replica has what was written to the primary just now."""
    mark = time.monotonic_ns()
    with primary.client() as writer, replica.client() as reader:
        info: Any = reader.info("replication")
        if info.get("role") != "slave" or info.get("master_link_status") != "up":
            return False
        writer.set("mark", mark)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            # Dragonfly may say that its link is up and be loading again all the same.
            with suppress(redis.BusyLoadingError):
                if reader.get("mark") == b"%d" % mark:
                    return True
    return False


def save(primary: ServerProcess) -> None:
    """Write the snapshot that the server will start with."""
    with primary.client(timeout_s=20) as client:
        # The one for its replica may not have ended, and then the server refuses.
        wait_until(lambda: not client.info("persistence").get("rdb_bgsave_in_progress"))
        client.save()


class Shop:
    """A table whose rows are all of one version, and its readers and writers."""

    def __init__(self, backend: Backend, way: str) -> None:
        self._backend = backend
        self._store = RowStore(Names(backend.config.key_prefix, (way, "default")), b"12345678")
        self._version = 0
        self._is_async = way.startswith("a")
        self._keys = [self._store.prefix + b"%d" % number for number in range(100)]
        if "many" not in way:
            del self._keys[1:]
        self._reader: Reader[int] = Reader(
            self._store,
            Counters(b"unused"),
            encode=lambda version: b"%d" % version,
            decode=int,
            lease_ms=LEASE_MS,
            timeout_ms=None,
            absent_ms=None,
        )
        self.queries = 0

    def read(self, runner: asyncio.Runner) -> set[int]:
        """The versions that `get()` or `get_many()` of a `ModelDict` gives."""
        token = new_token()
        if self._is_async:
            found: dict[bytes, int] = runner.run(self._aread(token))
        else:
            driver, answers = self._backend.driver, None
            if len(self._keys) == 1:
                answers = driver.do(self._request(token))
            found = driver.run(self._reader.read(self._keys, self._load, token, answers))
        return set(found.values())

    async def _aread(self, token: bytes) -> dict[bytes, int]:
        driver, answers = self._backend.async_driver, None
        if len(self._keys) == 1:
            answers = await driver.do(self._request(token))
        return await driver.run(self._reader.read(self._keys, self._load, token, answers))

    def change(self) -> None:
        changed = [self._keys]
        change = self._commit
        self._backend.driver.run(change_behind_barriers(changed, new_token(), LEASE_MS, change))

    def _request(self, token: bytes) -> Step[Any]:
        command = self._store.read_command(self._keys, token, LEASE_MS)
        return Step(command, self._store.read, (self._keys, token, LEASE_MS))

    def _load(self, keys: Sequence[bytes]) -> Loaded[int]:
        self.queries += 1
        return Loaded(dict.fromkeys(keys, self._version), may_be_kept=True)

    def _commit(self) -> None:
        self._version += 1


WAYS = ("get", "get_many", "aget", "aget_many")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


class Shops:
    """A table for each way to read it: who reads first makes it safe for those that follow."""

    def __init__(self, url: str, alias_for: Callable[..., Any], runner: asyncio.Runner) -> None:
        self._runner = runner
        self._backends = {
            name: Backend(parse_alias(name, alias_for(url, **pools)))
            for name, pools in POOLS.items()
        }
        self._shops = {
            f"{name} {way}": Shop(backend, f"{way} {name}")
            for name, backend in self._backends.items()
            for way in WAYS
        }

    def read(self) -> dict[str, set[int]]:
        return {name: shop.read(self._runner) for name, shop in self._shops.items()}

    def queries(self) -> int:
        return sum(shop.queries for shop in self._shops.values())

    def change(self) -> None:
        for shop in self._shops.values():
            shop.change()

    def close(self) -> None:
        for backend in self._backends.values():
            backend.close()


def test_it_starts_again_with_an_older_state(
    servers: tuple[ServerProcess, ServerProcess],
    alias_for: Callable[..., dict[str, Any]],
    runner: asyncio.Runner,
) -> None:
    primary, _ = servers
    shops = Shops(primary.url, alias_for, runner)
    before = shops.read()
    queries = shops.queries()
    assert shops.read() == before
    assert shops.queries() == queries  # the rows are on the server
    save(primary)
    shops.change()
    primary.kill()
    primary.start()
    after = shops.read()
    shops.close()
    assert after == {way: {1} for way in before}


def test_a_replica_that_lagged_takes_over(
    servers: tuple[ServerProcess, ServerProcess],
    alias_for: Callable[..., dict[str, Any]],
    runner: asyncio.Runner,
) -> None:
    primary, replica = servers
    address = Proxy(primary.port)
    shops = Shops(f"redis://127.0.0.1:{address.port}/0", alias_for, runner)
    before = shops.read()
    shops.read()
    with replica.client(timeout_s=20) as client:
        follow(client, primary)
        wait_until(lambda: follows(primary, replica))
        client.execute_command("REPLICAOF", "NO", "ONE")  # it is cut off from here on
    shops.change()
    address.lead_to(replica.port)
    primary.kill()
    after = shops.read()
    queries = shops.queries()
    assert shops.read() == after
    address.close()
    shops.close()
    assert after == {way: {1} for way in before}
    assert shops.queries() == queries  # and the new one keeps them


def test_a_primary_that_lost_the_role_and_gets_it_back(
    servers: tuple[ServerProcess, ServerProcess],
    program: Program,
    alias_for: Callable[..., dict[str, Any]],
    runner: asyncio.Runner,
) -> None:
    if program.family == "dragonfly":
        pytest.skip("It keeps its ids as long as its process lives; docs/modeldict.md says so.")
    primary, other = servers
    address = Proxy(primary.port)
    shops = Shops(f"redis://127.0.0.1:{address.port}/0", alias_for, runner)
    before = shops.read()
    wait_until(lambda: follows(primary, other))
    with primary.client(timeout_s=20) as client, other.client(timeout_s=20) as second:
        second.execute_command("REPLICAOF", "NO", "ONE")
        client.execute_command("REPLICAOF", "127.0.0.1", other.port)
        wait_until(lambda: follows(other, primary))
        address.lead_to(other.port)
        client.client_kill_filter(_type="normal", skipme=True)  # as sentinels do
        client.execute_command("REPLICAOF", "NO", "ONE")  # it is cut off from here on
    shops.change()  # nobody has read from `other`, so no generation has begun there
    address.lead_to(primary.port)
    other.kill()
    after = shops.read()
    address.close()
    shops.close()
    assert after == {way: {1} for way in before}


def test_another_history_without_a_loss_costs_one_generation(
    program: Program, alias_for: Callable[..., dict[str, Any]], runner: asyncio.Runner
) -> None:
    """As when Redis forgets its replicas: old connections and new ones come to terms."""
    if program.family == "dragonfly":
        pytest.skip("It keeps its ids as long as its process lives.")
    with ServerProcess(program) as server, server.client(timeout_s=20) as client:
        first = Shops(server.url, alias_for, runner)
        first.read()
        client.execute_command("REPLICAOF", "127.0.0.1", 1)
        client.execute_command("REPLICAOF", "NO", "ONE")
        second = Shops(server.url, alias_for, runner)
        second.read()
        first.read()
        queries = first.queries() + second.queries()
        for shops in (first, second, first, second):
            shops.read()
        assert first.queries() + second.queries() == queries
        first.close()
        second.close()


def test_a_user_who_may_not_ask(
    alias_for: Callable[..., dict[str, Any]],
    runner: asyncio.Runner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ServerProcess(program_for_tests("redis")) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "shy", "on", ">pass", "~*", "+@all", "-info")
        shops = Shops(server.url.replace("://", "://shy:pass@"), alias_for, runner)
        open_to_all = Shops(server.url, alias_for, runner)
        before = shops.read()
        queries = shops.queries()
        assert shops.read() == before
        assert open_to_all.read() == before
        assert shops.read() == before
        assert shops.queries() == queries  # what the others keep is good enough
        assert open_to_all.queries() == len(before)
        told = [
            record for record in logged_by(caplog, "server_state") if "+info" in record.getMessage()
        ]
        assert len(told) == len(POOLS)  # once a backend
        shops.close()
        open_to_all.close()


def test_what_was_stored_before_there_were_incarnations(
    alias_for: Callable[..., dict[str, Any]], redis_url: str
) -> None:
    """A release before knew generations of 16 bytes, and compared them as a whole."""
    backend = Backend(parse_alias("test", alias_for(redis_url)))
    cells = RowStore(Names(backend.config.key_prefix, ("old", "default")), b"12345678")
    key = cells.prefix + b"1"
    client: redis.Redis = backend.client()
    client.set(cells.table_key, b"G0123456789abcdef")
    client.set(key, b"V0123456789abcdef12345678body")
    run, token = backend.driver.run, new_token()
    assert run(cells.read([key], token, LEASE_MS)) == [1]
    assert run(cells.fill([key], token, [b"new"], None)) == 1
    generation: Any = client.get(cells.table_key)
    # What the release before does with it: the same letters, lengths and comparisons.
    assert generation.startswith(b"G")
    assert len(generation) == 1 + 16
    assert client.get(key) == b"V" + generation[1:] + b"12345678" + b"new"
    assert len(generation[9:]) == LENGTH
    backend.close()
