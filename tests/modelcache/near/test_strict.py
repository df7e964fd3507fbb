"""`near="strict"` on real servers: who serves, and for whom a writer waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ResponseError

from redisdict import ModelDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError
from redisdict.modelcache import strict as strict_module
from redisdict.modelcache.invalidation import invalidate
from redisdict.modelcache.slots import near_leases
from redisdict.modelcache.slots.near_leases import UNKNOWN, NearLeases, Progress
from redisdict.wire.combinators import ask
from redisdict.wire.requests import Sleep
from tests.forks.forking import Child
from tests.modelcache.near.conftest import LONG_S, Elsewhere, is_served, keep, near_of, near_table
from tests.shop.models import Product
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def grown_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of the test have long begun, and a lease isn't given back before the test ends."""
    monkeypatch.setattr(near_leases, "UNKNOWN_MS", 0)
    monkeypatch.setattr(strict_module, "IDLE_S", 1000.0)


@pytest.fixture
def products(database: str, server: str) -> ModelDict[Product]:
    return ModelDict(Product, near="strict")


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long writers have waited, in pieces."""
    slept: list[float] = []

    real = near_leases.Sleep

    def sleep(seconds: float) -> Any:
        slept.append(seconds)
        return real(seconds)

    monkeypatch.setattr(near_leases, "Sleep", sleep)
    return slept


def leases_of(rows: ModelDict[Any]) -> NearLeases:
    leases: NearLeases = near_table(rows).near.writers_lease[0]
    return leases


def is_held(rows: ModelDict[Any]) -> bool:
    names = near_table(rows).backend.driver.run(ask_names(leases_of(rows)))
    return any(len(name) > 1 for name in names)


def ask_names(leases: NearLeases) -> Any:
    return (yield (b"HKEYS", leases.key))


def test_rows_are_served_while_the_lease_is_held(
    products: ModelDict[Product], tea: Product
) -> None:
    assert is_held(products)
    assert is_served(products, tea.pk)
    near_of(products)._lease.lose()
    assert not is_served(products, tea.pk)
    keep(products, tea.pk)


def test_who_holds_no_lease_is_not_waited_for(
    database: str, server: str, sleeps: list[float]
) -> None:
    ModelDict(Product, near="strict")
    Product.objects.create(name="Tea")
    assert sleeps == []


def test_the_own_process_is_not_waited_for(
    products: ModelDict[Product], tea: Product, sleeps: list[float]
) -> None:
    tea.name = "Green tea"
    tea.save()
    assert products[tea.pk].name == "Green tea"
    assert sleeps == []


class Writer:
    """A writer of another process: it has this one's leases to wait for."""

    def __init__(self, backend: Backend, rows: ModelDict[Any]) -> None:
        self.backend = backend
        self.leases = leases_of(rows)

    def announce(self, progress: Progress | None = None) -> tuple[Progress, int]:
        asking = self.leases.announce(b"writer", progress or Progress())
        return self.backend.driver.run(asking)

    def wait(self) -> None:
        self.backend.driver.run(near_leases.wait_for_readers([(self.leases, b"writer")], 100_000))


def test_another_process_is_waited_for_until_it_has_confirmed(
    products: ModelDict[Product], tea: Product, elsewhere: Elsewhere
) -> None:
    writer = Writer(elsewhere.backend, products)
    announced, slowest_ms = writer.announce()
    assert slowest_ms == LONG_S * 1000
    wait_until(lambda: writer.announce(announced)[1] == 0)
    again, _ = writer.announce()
    assert again.number == announced.number + 1
    writer.wait()


def test_who_does_not_confirm_is_waited_for_no_longer_than_it_may_be_behind(
    products: ModelDict[Product],
    tea: Product,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
    sleeps: list[float],
) -> None:
    teller = near_of(products)._lease.teller
    monkeypatch.setattr(teller, "ping_after", lambda _start: False)
    leases = leases_of(products)
    wait = near_leases.wait_for_readers([(leases, b"writer")], 1)
    elsewhere.backend.driver.run(wait)
    assert LONG_S <= round(sum(sleeps), 9) < LONG_S + 1


@dataclass
class Asking:
    """Asks a server about leases that no process of the test renews."""

    backend: Backend
    leases: NearLeases = field(default_factory=lambda: NearLeases(*UNUSED))

    def ask(self, *command: Any) -> Any:
        return self.backend.driver.run(ask(command))

    def announce(self, progress: Progress | None = None) -> tuple[Progress, int]:
        asking = self.leases.announce(b"writer", progress or Progress())
        return self.backend.driver.run(asking)

    def renew(self, process: bytes, lease_ms: int, confirmed: Progress) -> tuple[Progress, bool]:
        return self.backend.driver.run(self.leases.renew(process, lease_ms, confirmed, 50))


#: The keys of leases of a table that there is none of.
UNUSED = (b"n:{unused}", b"ns:{unused}")


@pytest.fixture
def asking(elsewhere: Elsewhere) -> Iterator[Asking]:
    made = Asking(elsewhere.backend)
    made.ask(b"DEL", *UNUSED)
    yield made
    made.ask(b"DEL", *UNUSED)


def test_a_lease_that_has_run_out_is_not_waited_for(asking: Asking) -> None:
    asking.renew(b"a" * 16, 1, Progress())
    wait_until(lambda: asking.announce()[1] == 0)
    assert b"a" * 16 not in asking.ask(b"HKEYS", asking.leases.key)


def test_a_server_that_has_just_begun_may_not_know_of_leases(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, sleeps: list[float]
) -> None:
    monkeypatch.setattr(near_leases, "UNKNOWN_MS", 10**9)
    assert asking.announce()[1] == UNKNOWN
    wait = near_leases.wait_for_readers([(asking.leases, b"w")], 7)
    asking.backend.driver.run(wait)
    assert sleeps == [0.007]


def test_a_server_that_does_not_tell_its_name_may_not_know_of_leases(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.announce()
    monkeypatch.setattr(near_leases, "Identified", lambda command: (*command, b""))
    monkeypatch.setattr(near_leases, "IdentifiedAnew", lambda command: (*command, b""))
    assert asking.announce()[1] == UNKNOWN


def test_leases_of_another_incarnation_are_gone(asking: Asking) -> None:
    announced, _ = asking.announce()

    def bring() -> None:
        values = (b"i", b"of another", b"t", b"5", b"b" * 16, b"99999999999999 99 50")
        asking.ask(b"HSET", asking.leases.key, *values)

    bring()
    later, slowest_ms = asking.announce()
    assert slowest_ms == 0
    assert later.begun >= announced.begun
    assert b"b" * 16 not in asking.ask(b"HKEYS", asking.leases.key)
    bring()
    progress, was_held = asking.renew(b"b" * 16, 1000, Progress())
    assert not was_held
    assert progress.number == 0
    # What was announced in the one before isn't known in this one.
    assert asking.announce(Progress(5, 1))[1] == UNKNOWN


def test_a_confirmation_counts_only_where_it_was_given(asking: Asking) -> None:
    _, was_held = asking.renew(b"a" * 16, 60_000, Progress(5, 1000))
    assert not was_held
    announced, slowest_ms = asking.announce()
    assert slowest_ms == 50
    assert asking.renew(b"a" * 16, 60_000, Progress(5, 1000)) == (announced, True)
    assert asking.announce(announced)[1] == 50
    asking.renew(b"a" * 16, 60_000, announced)
    assert asking.announce(announced)[1] == 0


def test_errors_of_the_server_are_told(asking: Asking) -> None:
    asking.ask(b"SET", asking.leases.key, b"no hash")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        asking.announce()


def test_a_server_learns_the_scripts(asking: Asking) -> None:
    asking.ask(b"SCRIPT", b"FLUSH")
    assert asking.announce()[1] == 0
    asking.ask(b"SCRIPT", b"FLUSH")
    assert asking.renew(b"a" * 16, 60_000, Progress())[1] is False


def test_a_lease_is_given_back_when_nobody_reads(
    products: ModelDict[Product], tea: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict_module, "IDLE_S", 0.01)
    keeper = near_of(products)._keeper
    wait_until(lambda: keeper._thread is None)
    assert not is_held(products)
    monkeypatch.setattr(strict_module, "IDLE_S", 1000)
    keep(products, tea.pk)


def test_closing_gives_it_back(products: ModelDict[Product], tea: Product) -> None:
    table = near_table(products)
    keeper = near_of(products)._keeper
    table.backend.close()
    assert keeper._thread is None
    assert not is_held(products)
    keeper.close()


def test_a_change_elsewhere_is_seen_when_its_writer_has_waited(
    products: ModelDict[Product], tea: Product, elsewhere: Elsewhere
) -> None:
    writer = Writer(elsewhere.backend, products)
    table = near_table(products)
    for number in range(20):
        token = b"%016d" % number
        elsewhere.backend.driver.run(table.store.block([table.key(tea.pk)], token, 60_000))
        writer.wait()
        assert not is_served(products, tea.pk)
        elsewhere.backend.driver.run(table.store.lift([table.key(tea.pk)], token))
        keep(products, tea.pk)


def test_writers_wait_behind_their_barriers(
    products: ModelDict[Product], tea: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    table = near_table(products)

    def ask(leases: Any, longest_ms: int) -> Any:
        assert longest_ms == LONG_S * 1000
        seen.append((yield (b"GET", table.key(tea.pk)))[:1])
        seen.append(Product.objects.get(pk=tea.pk).name)

    monkeypatch.setattr(invalidate, "wait_for_readers", ask)
    tea.name = "Green tea"
    tea.save()
    assert seen == [b"B", "Tea"]


def test_a_change_that_cannot_ask_waits_the_whole_time(
    products: ModelDict[Product], tea: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def fail(*_: Any) -> Any:
        raise invalidate.UNREACHED[0]("it is gone")
        yield

    monkeypatch.setattr(invalidate, "wait_for_readers", fail)
    tea.name = "Green tea"
    tea.save()
    assert LONG_S in slept
    assert Product.objects.get(pk=tea.pk).name == "Green tea"
    slept.clear()
    table = near_table(products)
    invalidate.close([table], b"0" * 16)
    invalidate.reopen([table], b"0" * 16)
    assert LONG_S in slept


@pytest.mark.parametrize("lease", [0, 0.001, 2, True, "50 ms", None])
def test_what_is_no_time_is_refused(lease: Any) -> None:
    with pytest.raises(ConfigurationError, match="NEAR_LEASE"):
        parse_alias("default", {"LOCATION": "redis://x", "NEAR_LEASE": lease})


class TestKeeper:
    """The thread that renews leases."""

    @pytest.fixture
    def keeper(self, products: ModelDict[Product], tea: Product) -> Any:
        return near_of(products)._keeper

    def test_it_is_the_same_for_all_readers(
        self, keeper: Any, products: ModelDict[Product], tea: Product
    ) -> None:
        other = ModelDict(Product, near="strict")
        keep(other, tea.pk)
        reader: Any = other._lookup().near
        assert reader._keeper is keeper
        assert reader._lease is near_of(products)._lease

    def test_an_error_ends_it_until_the_next_read(
        self,
        keeper: Any,
        products: ModelDict[Product],
        tea: Product,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(strict_module.NearLease, "renew", lambda _self: 1 / 0)
            keeper._held.copy().pop().signal.flush()
            wait_until(lambda: keeper._thread is None)
            assert not near_of(products).find(b"%d" % tea.pk)
        assert 'near="strict" is off' in caplog.text
        keep(products, tea.pk)

    def test_a_server_that_cannot_be_reached(
        self,
        keeper: Any,
        products: ModelDict[Product],
        tea: Product,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        failed: list[bool] = []

        def fail(_self: Any) -> Any:
            failed.append(True)
            raise invalidate.UNREACHED[0]("it is gone")

        with monkeypatch.context() as patched:
            patched.setattr(strict_module.NearLease, "renew", fail)
            wait_until(lambda: len(failed) > 1)
        lease = keeper._held.copy().pop()
        lease.lose()
        keep(products, tea.pk)

    def test_nothing_is_held_while_it_closes(
        self, keeper: Any, products: ModelDict[Product], tea: Product
    ) -> None:
        near_table(products).backend.close()
        keeper._is_closing = True
        keeper.hold(near_of(products)._lease)
        assert keeper._thread is None
        keeper._is_closing = False
        keep(products, tea.pk)

    def test_a_child_has_nothing_to_close(self, keeper: Any, products: ModelDict[Product]) -> None:
        def close() -> tuple[Any, float]:
            keeper.close()
            lease: Any = near_of(products)._lease
            return keeper._thread, lease.until

        assert Child(close).result() == (None, float("-inf"))
        assert keeper._thread is not None

    def test_the_end_of_the_process_gives_it_back(
        self, keeper: Any, products: ModelDict[Product]
    ) -> None:
        strict_module._close_all()
        assert keeper._thread is None
        assert not is_held(products)

    def test_a_signal_before_there_is_a_keeper(self) -> None:
        signal = strict_module.LeaseSignal()
        signal.flush()
        assert signal.is_told


def test_a_reader_nudges_the_listener_when_its_watermark_is_old(
    products: ModelDict[Product], tea: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader: Any = products._lookup().near
    nudged = []
    monkeypatch.setattr(reader.listener, "nudge", lambda: nudged.append(True))
    monkeypatch.setattr(reader.state, "watermark", float("-inf"))
    assert reader.who_pings(b"1") is None
    assert nudged


def test_a_read_that_waits_for_another_one_to_teach_the_server(
    products: ModelDict[Product], tea: Product
) -> None:
    """It sleeps, and asks for the times in each of its round trips."""
    table = near_table(products)
    cell = table.key(tea.pk)
    table.store._is_teaching = True
    operation = table.store.read([cell], b"0" * 16, 0)
    first: Any = operation.send(None)
    assert isinstance(operation.send([NoScriptError(""), -2]), Sleep)
    table.store._is_teaching = False
    again: Any = operation.send(None)
    assert again.commands == first.commands
    with pytest.raises(StopIteration) as stop:
        operation.send([[3], -2])
    assert stop.value.value == [3]
