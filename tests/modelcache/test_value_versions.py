"""The version of a value's rows, on each kind of server."""

from __future__ import annotations

from redisdict.connections.backend import Backend
from redisdict.modelcache.slots.store import RowStore, new_token
from redisdict.wire.server_state import UNKNOWN
from tests.modelcache.test_row_store import as_of, backend, store

__all__ = ["backend", "store"]  # fixtures

DAY_MS = 24 * 3600 * 1000


def version_of(backend: Backend, store: RowStore, incarnation: bytes | None = None) -> bytes | None:
    """The cell of a value, read by a process that hasn't read it before; None behind a barrier."""
    reading = store.version_in(store.cell(b"5")).read_version(new_token())
    found = backend.driver.run(reading if incarnation is None else as_of(incarnation, reading))
    return found[0] if found else None


def test_it_is_the_same_until_it_is_barred(backend: Backend, store: RowStore) -> None:
    first = version_of(backend, store)
    assert first is not None
    assert (first[:1], len(first)) == (b"G", 17)
    assert version_of(backend, store) == first
    cells, token = [store.cell(b"5")], new_token()
    backend.driver.run(store.block(cells, token, 60_000))
    assert version_of(backend, store) is None
    backend.driver.run(store.lift(cells, new_token()))
    assert version_of(backend, store) is None  # it was another one's
    backend.driver.run(store.lift(cells, token))
    second = version_of(backend, store)
    assert second not in (None, first)
    assert backend.driver.run(store.read_version(new_token()))[0] not in (first, second)


def test_it_ends_by_itself(backend: Backend, store: RowStore) -> None:
    """There are as many as values: those that nobody reads any more shouldn't stay."""
    version_of(backend, store)
    assert 0 < backend.client().pttl(store.cell(b"5")) <= DAY_MS


def test_one_of_another_incarnation_counts_for_nothing(backend: Backend, store: RowStore) -> None:
    first = version_of(backend, store, b"earlier!")
    assert first is not None
    assert first.endswith(b"earlier!")
    assert version_of(backend, store, b"earlier!") == first
    second = version_of(backend, store, b"present!")
    assert second is not None
    assert second.endswith(b"present!")
    assert second[1:9] != first[1:9]


def test_where_the_server_does_not_tell_its_name_any_will_do(
    backend: Backend, store: RowStore
) -> None:
    first = version_of(backend, store, UNKNOWN)
    assert first is not None
    assert version_of(backend, store, UNKNOWN) == first
    assert version_of(backend, store, b"present!") != first
