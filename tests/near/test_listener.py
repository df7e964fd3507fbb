"""The listener's thread in forks and races that real servers bring about too rarely to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from redis.exceptions import MovedError

from redisdict.connections.backend import Backend
from redisdict.near import listener as listener_module
from redisdict.near import service as service_module
from redisdict.near import session as session_module
from redisdict.near import space as space_module
from redisdict.near import state as state_module
from redisdict.near.barrier import near_barrier
from redisdict.near.clock import clock
from redisdict.near.listener import Listener
from redisdict.near.state import NearState
from redisdict.near.watches import Watch
from redisdict.servers.topologies import ClusterTopology
from tests.near.conftest import make, opened, settle, wait_until_on
from tests.waiting import wait_until


def listener_of(mapping: Any) -> Listener:
    found: Listener = mapping._near.reader_of(b"k").listener
    return found


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
