"""What real servers and forks bring about too rarely for a test to wait for."""

from __future__ import annotations

import asyncio
import datetime
import select
import socket
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.connections.backend import Backend
from redisdict.near import clock as clock_module
from redisdict.near import listener as listener_module
from redisdict.near import service as service_module
from redisdict.near import session as session_module
from redisdict.near import space as space_module
from redisdict.near import state as state_module
from redisdict.near.barrier import near_barrier
from redisdict.near.clock import clock
from redisdict.near.listener import Listener
from redisdict.near.state import NearState
from redisdict.near.tracking import NotTracked, TrackingConnection, Wake, wait
from redisdict.near.values import immutable_size
from redisdict.near.watches import MOST_PREFIXES, Watch, Watches, covering
from redisdict.servers.topologies import ClusterTopology
from tests.near.conftest import make, opened, settle, wait_until_on
from tests.waiting import wait_until

# Values


class Zone(datetime.tzinfo):
    """A time zone that could be changed."""


@pytest.mark.parametrize(
    ("value", "is_immutable"),
    [
        ("text", True),
        ((), True),
        ((1, ("a", frozenset({b"b"}))), True),
        ((1, [2]), False),
        ([1], False),
        (bytearray(b"a"), False),
        (datetime.datetime(2026, 1, 2), True),  # noqa: DTZ001
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), True),
        (datetime.datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")), True),
        (datetime.datetime(2026, 1, 2, tzinfo=Zone()), False),
        (type("Text", (str,), {})("a"), False),
    ],
)
def test_what_may_be_handed_out(value: Any, is_immutable: bool) -> None:
    size = immutable_size(value)
    assert (size is not None) == is_immutable
    assert size is None or size > 0


# Watches


def test_prefixes_cover_one_another() -> None:
    assert covering([b"b:", b"a:1", b"a:", b"b:", b"c"]) == [b"a:", b"b:", b"c"]
    many = [b"p:k:{%03d}:" % number for number in range(MOST_PREFIXES)]
    assert covering(many) == many
    assert covering([*many, b"p:k:{x}:"]) == [b"p:k:{"]
    assert covering([*many, b"q"]) == [b""]


def test_a_push_goes_to_those_it_concerns() -> None:
    items, whole, both = (NearState(10**6, 10) for _ in range(3))
    watches = Watches([Watch(b"p:k:", items), Watch(b"p:h", whole, is_exact=True)])
    watches = watches.plus([Watch(b"p:k:", both), Watch(b"p:h", both, is_exact=True)])
    watches.invalidate([b"p:k:a", b"p:k", b"p:h", b"p:h2", b"other"])
    assert (items.pushes, whole.pushes, both.pushes) == (1, 1, 2)
    assert watches.without([both]).states == (items, whole)


# Clock


def test_without_a_clock_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(clock_module.time, "CLOCK_BOOTTIME", raising=False)
    assert clock_module._choose() is clock_module.time.monotonic


# Connections


class FakeConnection:
    """What redis-py's would be, over a socket pair."""

    def __init__(self, error: Exception | None = None, **options: Any) -> None:
        assert options["protocol"] == 3
        self.error = error
        self.is_closed = False
        self._sock: Any = None

    def connect(self) -> None:
        if self.error is not None:
            raise self.error

    def disconnect(self) -> None:
        self.is_closed = True


class FakePool:
    def __init__(self, **options: Any) -> None:
        self.connection_kwargs = options
        self.made: list[FakeConnection] = []

    def connection_class(self, **options: Any) -> FakeConnection:
        made = FakeConnection(**options)
        self.made.append(made)
        here, self.server = socket.socketpair()
        made._sock = here
        return made


@pytest.fixture
def pool() -> Iterator[FakePool]:
    pool = FakePool()
    yield pool
    for made in pool.made:
        made._sock.close()
    pool.server.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ResponseError("unknown command HELLO"), NotTracked),
        (RedisConnectionError("refused"), RedisConnectionError),
    ],
)
def test_a_connection_that_cant_be_made_is_closed(
    pool: FakePool, error: Exception, expected: type[Exception]
) -> None:
    pool.connection_kwargs["error"] = error
    with pytest.raises(expected):
        TrackingConnection(pool, 0.01, lambda keys: None)  # type: ignore[arg-type]  # a fake
    assert pool.made[0].is_closed


def test_replies_and_pushes_come_in_their_order(pool: FakePool) -> None:
    heard: list[Any] = []
    connection = TrackingConnection(pool, 0.05, heard.append)  # type: ignore[arg-type]  # a fake
    assert connection.address is None
    pool.server.sendall(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
    pool.server.sendall(b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n")
    assert connection.receive() == []
    assert heard == [[b"k"], None]
    replies = iter([[], [b"PONG"]])  # first a push alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "receive", lambda: next(replies))
        assert connection.ask((b"PING",)) == b"PONG"
    assert pool.server.recv(100) == b"*1\r\n$4\r\nPING\r\n"
    with pytest.raises(RedisTimeoutError):
        connection.receive()
    assert not connection.receive_until(lambda: False)
    pool.server.close()
    with pytest.raises(RedisConnectionError):
        connection.receive()


def test_what_tls_has_decrypted_is_read_as_well(pool: FakePool) -> None:
    class Decrypting:
        """A socket that has more than poll() knows of."""

        def __init__(self) -> None:
            self.parts = [b"+PO", b"NG\r\n"]

        def recv(self, size: int) -> bytes:
            return self.parts.pop(0)

        def pending(self) -> int:
            return len(self.parts)

    connection = TrackingConnection(pool, 0.05, lambda keys: None)  # type: ignore[arg-type]  # a fake
    connection._sock = Decrypting()
    assert connection.receive() == [b"PONG"]


def test_without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    wake = Wake()
    monkeypatch.delattr(select, "poll")
    assert wait([wake], 0) == []
    wake.wake()
    assert wait([wake], None) == [wake]
    wake.clear()
    assert wait([wake], 0) == []
    wake.close()
    wake.wake()


# Forks that Python doesn't see: what takes over is tried by test_faults.py


@pytest.mark.parametrize(
    ("module", "use"),
    [
        (state_module, lambda mapping, state: state.begin_fill(b"k")),
        (state_module, lambda mapping, state: state.drop([b"k"])),
        (state_module, lambda mapping, state: state.drop_all()),
        (state_module, lambda mapping, state: state.drop_missing()),
        (space_module, lambda mapping, state: mapping.near_stats()),
        (service_module, lambda mapping, state: mapping._unbound()),
        (listener_module, lambda mapping, state: listener_of(mapping).ensure()),
        (listener_module, lambda mapping, state: listener_of(mapping).close()),
    ],
)
def test_a_fork_is_looked_for(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, module: ModuleType, use: Callable[..., Any]
) -> None:
    mapping = make(backend)
    mapping.get("k")
    calls: list[int] = []
    monkeypatch.setattr(module, "own", [0])
    monkeypatch.setattr(module, "take_over", lambda: calls.append(1))
    mapping._unbound = lambda: service_module.near_service(backend)
    use(mapping, mapping._near.reader_of(b"k").state)
    assert calls


def listener_of(mapping: Any) -> Listener:
    found: Listener = mapping._near.reader_of(b"k").listener
    return found


def test_a_child_has_nothing_of_the_parents(backend: Backend) -> None:
    mapping = make(backend)
    wait_until_on(mapping)
    listener, state = listener_of(mapping), mapping._near.reader_of(b"k").state
    thread, wake, connection = listener._thread, listener._wake, listener._connection
    assert thread is not None
    assert wake is not None
    listener._thread = None  # so that the parent's isn't taken for the child's
    wake.wake()
    state._renew()
    assert not state.is_connected
    service_module._begin_anew()
    sent: list[Any] = []
    listener._connection = type("Inherited", (), {"close": lambda self: sent.append(self)})()
    listener._wake = None
    listener._renew()
    assert (listener.is_up, len(sent), listener._connection) == (False, 1, None)
    # What the parent goes on with ends by itself.
    assert connection is not None
    listener._is_closing = True
    wake.wake()
    thread.join(100)
    listener._is_closing = False


# Races


def test_another_thread_has_the_dict_bound_anew(backend: Backend) -> None:
    mapping = make(backend)
    mapping.get("k")
    near = mapping._near
    del mapping.__dict__["_near"]
    assert mapping._near is not near


def test_two_begin_at_once(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = make(backend)
    mapping.get("k")
    listener = listener_of(mapping)
    backend.close()
    listener._is_closing = True  # as it is while another thread waits for the end
    listener.ensure()
    assert listener._thread is None
    listener._is_closing = False

    class Late(dict[str, Any]):
        """Another thread has made it in between."""

        def get(self, key: str, default: Any = None) -> Any:
            found = super().get(key)
            super().setdefault(key, service)
            return found

    service = service_module.near_service(backend)
    backend.attachments = Late()
    assert service_module.near_service(backend) is service
    backend.attachments = {"near": service}


def test_two_handles_make_one_space(backend: Backend) -> None:
    service = service_module.near_service(backend)
    made = [service.space("identity", lambda: [number]) for number in range(2)]  # noqa: B023
    assert made == [[0], [0]]
    assert service.find("identity") is made[0]


def test_a_barrier_whose_connection_is_lost(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = make(backend, near="request")
    wait_until_on(mapping)
    listener = listener_of(mapping)
    backend.close()
    monkeypatch.setattr(listener, "ensure", lambda: None)  # a new one could be up by then
    assert not listener.ping_after(clock())

    async def ask() -> bool:
        return await listener.aping_after(clock())

    assert not asyncio.run(ask())


def test_a_barrier_that_nobody_answers(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = make(backend, near="request")
    wait_until_on(mapping)
    listener = listener_of(mapping)
    monkeypatch.setattr(listener, "_timeout_s", 0.01)
    monkeypatch.setattr(session_module.Session, "_ping", lambda session: None)

    async def ask() -> bool:
        return await listener.aping_after(clock())

    assert not listener.ping_after(clock() + 1000)
    assert not asyncio.run(ask())
    monkeypatch.undo()
    wait_until(lambda: listener.ping_after(clock()) or mapping.get("k"))


def test_closing_from_the_thread_itself(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = make(backend)
    closed: list[int] = []

    def close(session: Any) -> None:
        session._listener.close()
        closed.append(1)

    monkeypatch.setattr(session_module.Session, "run", close)
    wait_until(lambda: mapping.get("k") or closed)


def test_the_end_of_the_process_closes_all(backend: Backend) -> None:
    mapping = make(backend)
    wait_until_on(mapping)
    listener_module._close_all()
    assert not mapping.near_stats().is_on
    wait_until_on(mapping)


@pytest.mark.each_value_once
def test_a_lost_write_that_isnt_repeated(own_backend: Backend) -> None:
    mapping = make(own_backend)
    mapping["k"] = 1
    wait_until_on(mapping)
    settle(mapping)
    assert mapping["k"] == 1
    state = mapping._near.reader_of(b"k").state
    client = own_backend.client()
    client.execute_command("CLIENT", "PAUSE", 100_000, "WRITE")
    with pytest.raises(Exception, match=r"(?i)time") as caught:
        mapping.incr("k")
    assert not state.has(b"k")
    assert caught.value.__traceback__ is not None  # so the operation is still there
    client.execute_command("CLIENT", "UNPAUSE")


def test_nobody_has_the_fast_path_of_what_drops_nothing(backend: Backend) -> None:
    mapping = make(backend)
    mapping.get("k")
    assert mapping._bound.driver._access.concerns((b"GET", b"k"))


def test_keys_that_need_another_look(backend: Backend) -> None:
    mapping = make(backend)
    wait_until_on(mapping)
    key = "\ud800"
    mapping.update({key: "v", "list": [1]})
    settle(mapping)

    async def read() -> list[Any]:
        return [await mapping.aget(key), await mapping.agetitem(key), await mapping.acontains(key)]

    for _ in range(2):
        assert [mapping.get(key), mapping[key], key in mapping] == ["v", "v", True]
        assert asyncio.run(read()) == ["v", "v", True]
    for _ in range(2):
        assert "nothing" not in mapping
        assert mapping.get_many(["list"]) == {"list": [1]}
    assert "list" in mapping

    async def look() -> bool:
        return await mapping.acontains("nothing else")

    assert not asyncio.run(look())
    for _ in range(2):
        assert mapping.get_or_set("list", lambda: None) == [1]
    mapping.clear()


# Clusters


def test_a_slot_that_is_another_nodes(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = make(backend)
    refusals = [MovedError("1 127.0.0.1:1")]
    run = backend.driver.run

    def refuse_once(operation: Any) -> Any:
        if refusals:
            operation.close()
            raise refusals.pop()
        return run(operation)

    driver = type("Driver", (), {"run": staticmethod(refuse_once)})()
    monkeypatch.setattr(listener_of(mapping), "_server", _ServerWith(backend, driver))
    wait_until_on(mapping)
    assert refusals == []


def test_a_change_while_it_is_tried_whether_the_server_tells(
    backend: Backend, elsewhere: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping, other = make(backend), make(elsewhere, near=None)

    def run_after_a_change(operation: Any) -> Any:
        other["k"] = 1  # the push of it comes before that of the probe
        return backend.driver.run(operation)

    driver = type("Driver", (), {"run": staticmethod(run_after_a_change)})()
    monkeypatch.setattr(listener_of(mapping), "_server", _ServerWith(backend, driver))
    wait_until_on(mapping)
    assert mapping["k"] == 1


class _ServerWith:
    """A backend with another driver."""

    def __init__(self, backend: Backend, driver: Any) -> None:
        self.driver = driver
        self.pool = backend.pool
        self.leave_connections = backend.leave_connections
        self.address = backend.address


def test_a_state_that_came_while_a_ping_was_under_way(backend: Backend) -> None:
    late = NearState(10**6, 10)
    listener = Listener(backend)
    session = session_module.Session(listener, None, None)  # type: ignore[arg-type]  # not run
    listener.watch([Watch(b"late:", late)], b"probe:")
    late.connect()
    session._pong(set(), [], [b"PONG"])
    assert late.watermark == state_module.NEVER


def test_a_promise_for_a_slot_that_is_listened_to(
    cluster: ClusterTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with opened(alias_for(cluster.location)) as backend:
        mapping = make(backend, near="request")
        assert mapping.near_stats().reason
        wait_until_on(mapping)
        by_seconds = make(backend, near=5.0)
        by_seconds.get("k")
        assert listener_of(mapping)._listener._bound == 5.0  # type: ignore[attr-defined]

        async def read() -> Any:
            with near_barrier():
                return [await mapping.aget("k"), await mapping.aget("k")]

        mapping["k"] = "v"
        settle(mapping)
        for _ in range(3):
            assert asyncio.run(read()) == ["v", "v"]
        mapping.clear()
