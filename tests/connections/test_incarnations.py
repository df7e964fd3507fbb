"""A command names the incarnation of the server that its own connection leads to, and no other.

ECHO says what the driver has put at the end of the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.connections.cluster_requests import ask_importing as ask_node
from redisdict.pools import ConnectionPool
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology
from redisdict.wire.commands import slot_of
from redisdict.wire.requests import (
    Batch,
    Identified,
    IdentifiedAnew,
    Operation,
    Step,
    Witnessed,
    as_batch,
)
from redisdict.wire.server_state import (
    LENGTH,
    UNKNOWN,
    Incarnations,
    is_asked_anew,
    is_identified,
    named,
)
from tests.backends.proxy import Proxy
from tests.conftest import program_for_tests
from tests.logs import logged_by

POOLS = [
    ("redisdict.pools.ConnectionPool", "redisdict.pools.OptimizedAsyncConnectionPool"),
    ("redis.BlockingConnectionPool", "redisdict.pools.AsyncConnectionPool"),
    ("redis.ConnectionPool", "redis.asyncio.ConnectionPool"),
]

Ask = Callable[[Any], Any]


def one(request: Any) -> Operation[Any]:
    return (yield request)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with ServerProcess(program_for_tests("redis")) as first:
        with ServerProcess(program_for_tests("valkey")) as second:
            yield first, second


@pytest.fixture
def address(servers: tuple[ServerProcess, ServerProcess]) -> Iterator[Proxy]:
    proxy = Proxy(servers[0].port)
    yield proxy
    proxy.close()


@pytest.fixture(params=POOLS, ids=lambda pools: pools[0].rpartition(".")[0])
def backend(
    request: pytest.FixtureRequest, address: Proxy, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[Backend]:
    pool, async_pool = request.param
    url = f"redis://127.0.0.1:{address.port}/0"
    values = alias_for(url, POOL_CLASS=pool, ASYNC_POOL_CLASS=async_pool)
    made = Backend(parse_alias("test", values))
    yield made
    made.close()


@pytest.fixture(params=["run", "ask", "async run", "async ask"])
def ask(request: pytest.FixtureRequest, backend: Backend) -> Iterator[Ask]:
    """Asks the server one request in one of the ways there are."""
    with asyncio.Runner() as runner:

        async def async_run(asked: Any) -> Any:
            return await backend.async_driver.run(one(asked))

        async def async_ask(asked: Any) -> Any:
            return await backend.async_driver.do(Step(asked, one, (asked,)))

        ways: dict[str, Ask] = {
            "run": lambda asked: backend.driver.run(one(asked)),
            "ask": lambda asked: backend.driver.do(Step(asked, one, (asked,))),
            "async run": lambda asked: runner.run(async_run(asked)),
            "async ask": lambda asked: runner.run(async_ask(asked)),
        }
        yield ways[request.param]


def name_of(server: ServerProcess) -> bytes:
    with server.client() as client:
        sections: list[Any] = [client.execute_command("INFO", name) for name in SECTIONS]
    lines = [
        f"{name}:{section[name]}".encode()
        for section in sections
        for name in ("run_id", "process_id", "master_replid")
        if name in section
    ]
    assert len(lines) == 3
    return Incarnations("here").name_of([b"\r\n".join(lines)])


SECTIONS = ("server", "replication")
ECHO = Identified((b"ECHO",))


def infos(server: ServerProcess) -> int:
    with server.client() as client:
        stats: Any = client.info("commandstats")
    return int(stats["cmdstat_info"]["calls"])


def test_each_way_names_the_server_and_asks_once_a_connection(
    ask: Ask, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    name = name_of(servers[0])
    assert len(name) == LENGTH
    before = infos(servers[0])
    assert [ask(ECHO) for _ in range(3)] == [name] * 3
    assert infos(servers[0]) - before - 1 == len(SECTIONS)
    assert ask(IdentifiedAnew((b"ECHO",))) == name
    assert ask(ECHO) == name
    assert infos(servers[0]) - before - 2 == 2 * len(SECTIONS)


def test_a_connection_made_anew_is_asked_anew(
    ask: Ask, address: Proxy, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    assert ask(ECHO) == name_of(servers[0])
    address.lead_to(servers[1].port)
    assert ask(ECHO) == name_of(servers[0])  # it is still the old connection
    hang_up(servers[0])
    assert ask(ECHO) == name_of(servers[1])


def test_a_witnessed_reply_has_the_name_at_its_end(
    backend: Backend, address: Proxy, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    first, second = map(name_of, servers)
    step = Step(Witnessed((b"MGET", b"nothing", b"neither")), one, (ECHO,))
    has_fast_path = isinstance(backend.pool(), ConnectionPool)

    def expected(name: bytes) -> Any:
        return [None, None, name] if has_fast_path else name

    # The operation is run where there is no fast path, and until the name is known.
    assert [backend.driver.do(step) for _ in range(3)] == [first, *[expected(first)] * 2]
    address.lead_to(servers[1].port)
    assert backend.driver.do(step) == expected(first)  # it is still the old connection
    hang_up(servers[0])
    assert [backend.driver.do(step) for _ in range(2)] == [second, expected(second)]

    async def ask_in_a_task() -> Any:
        return [await backend.async_driver.do(step) for _ in range(2)]

    assert asyncio.run(ask_in_a_task()) == [second, second]
    wrong = Step(Witnessed((b"HGETALL", b"nothing", b"neither")), one, (ECHO,))
    assert backend.driver.do(wrong) == second


def hang_up(server: ServerProcess) -> None:
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


def test_a_batch_names_it_where_it_is_wanted(
    backend: Backend, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    name = name_of(servers[0])
    for is_atomic in (False, True):
        batch = Batch([ECHO, (b"ECHO", b"no")], is_atomic=is_atomic, is_identified=True)
        assert backend.driver.run(one(batch)) == [name, b"no"]

        async def ask_in_tasks(batch: Batch = batch) -> Any:
            return await backend.async_driver.run(one(batch))

        assert asyncio.run(ask_in_tasks()) == [name, b"no"]


class Fickle(redis.Connection):
    """Is lost, and connected anew by redis-py, when the name has been put into the command."""

    losses = 0

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if b"ECHO" in command[0] and Fickle.losses:
            Fickle.losses -= 1
            self.disconnect()
        super().send_packed_command(command, check_health)


class AsyncFickle(redis.asyncio.Connection):
    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if b"ECHO" in command[0] and Fickle.losses:
            Fickle.losses -= 1
            await self.disconnect()
        await super().send_packed_command(command, check_health)


def test_a_reconnect_that_redis_py_makes_by_itself(
    address: Proxy,
    servers: tuple[ServerProcess, ServerProcess],
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    url = f"redis://127.0.0.1:{address.port}/0"
    for is_async, connection_class in ((False, Fickle), (True, AsyncFickle)):
        values = alias_for(
            url,
            POOL_CLASS="redis.ConnectionPool",
            ASYNC_POOL_CLASS="redis.asyncio.ConnectionPool",
            OPTIONS={"connection_class": connection_class},
        )
        address.lead_to(servers[0].port)
        backend = Backend(parse_alias("test", values))

        async def twice(backend: Backend = backend) -> list[Any]:
            first = await backend.async_driver.run(one(ECHO))
            address.lead_to(servers[1].port)
            Fickle.losses = 1
            return [first, await backend.async_driver.run(one(ECHO))]

        if is_async:
            names = asyncio.run(twice())
        else:
            names = [backend.driver.run(one(ECHO))]
            address.lead_to(servers[1].port)
            Fickle.losses = 1
            names.append(backend.driver.run(one(ECHO)))
        assert names == [name_of(servers[0]), name_of(servers[1])]
        assert Fickle.losses == 0
        backend.close()


def test_each_node_of_a_cluster_has_its_own(
    cluster: ClusterTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    backend = Backend(parse_alias("test", alias_for(cluster.location)))
    commands = [Identified((b"EVAL", b"return ARGV[1]", 1, b"k%d" % n)) for n in range(60)]
    assert len({slot_of(command) for command in commands}) > 50
    names = {backend.driver.run(one(command)) for command in commands}

    async def ask_in_tasks() -> set[Any]:
        return {await backend.async_driver.run(one(command)) for command in commands}

    assert names == asyncio.run(ask_in_tasks()) == {name_of(member) for member in cluster.members}
    backend.close()


@pytest.mark.parametrize("kind", [Identified, IdentifiedAnew])
def test_it_is_named_in_whatever_it_is_wrapped_in(kind: type[Identified]) -> None:
    command = kind((b"ECHO",))
    for wrapped in (next(ask_node(command)), as_batch(command)):
        assert is_identified(wrapped)
        assert is_asked_anew(wrapped) == (kind is IdentifiedAnew)
        assert named(wrapped, b"name").commands[-1] == (b"ECHO", b"name")


def test_whatever_a_server_tells_makes_the_name() -> None:
    names = Incarnations("here")
    redis_7 = [b"# Server\r\nrun_id:1\r\nprocess_id:2\r\n", b"role:master\r\nmaster_replid:3\r\n"]
    dragonfly = [b"process_id:2\r\n", b"role:master\r\nmaster_replid:3\r\n"]
    made = names.name_of(redis_7)
    assert made == names.name_of([redis_7[0] + b"uptime_in_seconds:5\r\n", redis_7[1]])
    others = [
        names.name_of(dragonfly),
        names.name_of([redis_7[0], b"master_replid:4\r\n"]),
        names.name_of([redis_7[0].replace(b"run_id:1", b"run_id:4"), redis_7[1]]),
        names.name_of([redis_7[0].replace(b"process_id:2", b"process_id:4"), redis_7[1]]),
    ]
    assert len({made, *others}) == 5


@pytest.mark.parametrize(
    "refusal",
    [
        NoPermissionError("no permissions to run the 'info' command"),
        ResponseError("unknown command 'INFO'"),
    ],
)
def test_a_refusal_for_good_is_told_once(
    refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    names = Incarnations("redis://here:6379/0")
    for _ in range(3):
        assert names.name_of([refusal, refusal]) == UNKNOWN
    [record] = logged_by(caplog, "server_state")
    assert "redis://here:6379/0" in record.getMessage()
    assert "+info" in record.getMessage()


def test_a_refusal_for_now_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ResponseError, match="BUSY"):
        Incarnations("here").name_of([ResponseError("BUSY running a script"), b""])
    assert not logged_by(caplog, "server_state")
