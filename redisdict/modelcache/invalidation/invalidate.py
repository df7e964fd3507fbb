"""Announce changes to servers, and decide what happens to a change if that fails."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from redisdict.conf import LONGEST_NEAR_LEASE_S
from redisdict.connections.backend import Backend
from redisdict.exceptions import NoReplica
from redisdict.modelcache.cached_models import CachedTable, Rows
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.near_leases import wait_for_readers
from redisdict.modelcache.slots.store import new_token, put_barriers

T = TypeVar("T")

#: Milliseconds that a change waits for readers at most, whatever their settings say.
LONGEST_WAIT_MS = round(LONGEST_NEAR_LEASE_S * 1000)


def make_behind_barriers(rows: Sequence[Rows], change: Callable[[], T]) -> T:
    """Make a change that is visible to others at once: a commit, or a statement of autocommit.

    Two round trips for each server: a script for each table and 1,000 rows, before and after.

    Raises:
        BackendUnavailable: a server can't be reached, and a model is strict; the change isn't made.
    """
    if len(rows) == 1:
        [(table, keys)] = rows
        table.counters.invalidations += len(keys)
        table.counters.barriers += 1
        return _change_on_one(rows, change)
    by_backend: dict[Backend, list[Rows]] = {}
    for one in rows:
        table, keys = one
        table.counters.invalidations += len(keys)
        table.counters.barriers += 1
        by_backend.setdefault(table.backend, []).append(one)
    return _change_over(list(by_backend.values()), change)


def remove(rows: Sequence[Rows]) -> None:
    """Remove rows whose change others can see already. One script for 1,000 rows.

    Raises:
        BackendUnavailable: the server can't be reached, and the model is strict.
    """
    for table, keys in rows:
        table.counters.invalidations += len(keys)
        error = _tell(table, keys, new_token(), 0)
        if error is not None and table.cached.is_strict:
            raise error


def close(tables: Sequence[CachedTable], token: bytes) -> None:
    """Prevent the storing of rows of these tables, for the longest time of their barriers.

    One script for each table. What can't be announced is logged.
    """
    for table in tables:
        error = _tell(table, table.store.table_keys, token, table.cached.barrier_ms)
        if error is None:
            try:
                _wait_for_readers([table])
            except UNREACHED:
                _outwait_readers([table])


def reopen(tables: Sequence[CachedTable], token: bytes) -> None:
    """End what `close()` with the same token has begun; all rows are read again."""
    for table in tables:
        _tell(table, table.store.table_keys, token, 0)


def _tell(
    table: CachedTable, keys: Sequence[bytes], token: bytes, duration_ms: int
) -> Exception | None:
    """Put barriers up or take them down; why that has failed, if it has."""
    try:
        table.announcer.run(put_barriers(table.store.groups(keys), token, duration_ms))
    except UNREACHED as error:
        _leave_in_doubt(table, token, error)
        return error
    finally:
        table.near.drop(keys)
    return None


def _change_over(groups: Sequence[Sequence[Rows]], change: Callable[[], T]) -> T:
    """Make the change behind the barriers of several servers; each has one of the groups."""
    if not groups:
        return change()
    if len(groups) == 1:
        return _change_on_one(groups[0], change)
    return _change_on_one(groups[0], lambda: _change_over(groups[1:], change))


def _change_on_one(rows: Sequence[Rows], change: Callable[[], T]) -> T:
    token = new_token()
    barrier_ms = 0
    tables: list[CachedTable] = []
    changed: list[Sequence[bytes]] = []
    are_awaited = False
    for table, keys in rows:
        tables.append(table)
        changed += table.store.groups(keys)
        barrier_ms = max(barrier_ms, table.cached.barrier_ms)
        are_awaited = are_awaited or table.cached.is_near_strict
    if are_awaited:
        barrier_ms += LONGEST_WAIT_MS  # they stand while readers are waited for, too
    is_begun = False
    results: list[T] = []

    def make() -> None:
        nonlocal is_begun
        _drop_near(rows)
        if are_awaited:
            _wait_for_readers(tables)
        is_begun = True
        results.append(change())

    try:
        tables[0].announcer.run(change_behind_barriers(changed, token, barrier_ms, make))
    except UNREACHED as error:
        if results:
            for table in tables:
                _leave_in_doubt(table, token, error)
        elif is_begun:
            raise  # of another server, whose barriers come inside these
        else:
            return _make_untold(rows, token, barrier_ms, change, error)
    finally:
        _drop_near(rows)
    return results[0]


def _wait_for_readers(tables: Sequence[CachedTable]) -> None:
    """Wait behind the barriers until no process can serve the removed rows, if some dict is strict.

    One script for each table that somebody reads with `near="strict"`, and while processes hold
    near leases on it, NEAR_LEASE at most.

    Raises:
        BackendUnavailable, redis.exceptions.RedisError: the server can't be asked.
    """
    strict = [table for table in tables if table.cached.is_near_strict]
    if strict:
        longest_ms = max(_near_lease_ms(table) for table in strict)
        leases = [table.near.writers_lease for table in strict]
        strict[0].backend.driver.run(wait_for_readers(leases, longest_ms))


def _outwait_readers(tables: Sequence[CachedTable]) -> None:
    """Do the same without the server: some readers were notified, but their progress is unknown."""
    strict = [_near_lease_ms(table) for table in tables if table.cached.is_near_strict]
    time.sleep(max(strict, default=0) / 1000)


def _near_lease_ms(table: CachedTable) -> int:
    return math.ceil(table.backend.config.near_lease * 1000)


def _drop_near(rows: Sequence[Rows]) -> None:
    """Drop rows from this process's memory, while the barriers are up: no reply restores them.

    And again after the change, for readers that have asked in between.
    """
    for table, keys in rows:
        table.near.drop(keys)


def _make_untold(
    rows: Sequence[Rows],
    token: bytes,
    barrier_ms: int,
    change: Callable[[], T],
    error: Exception,
) -> T:
    """Make the change though the server doesn't know of it, unless a model is strict."""
    tables = [table for table, _ in rows]
    for table in tables:
        table.outages.note(error)
    if any(table.cached.is_strict for table in tables):
        raise error
    for table in tables:
        table.outages.begin_untold_change(token, barrier_ms / 1000)
    _outwait_readers(tables)
    if isinstance(error, NoReplica):
        # Others reach that server, too. Barriers that it may lose are better than none.
        with suppress(*UNREACHED):
            for table, keys in rows:
                table.backend.driver.run(table.store.block(keys, token, barrier_ms))
    try:
        return change()
    finally:
        for table in tables:
            table.outages.end_untold_change(token)


def _leave_in_doubt(table: CachedTable, token: bytes, error: Exception) -> None:
    """A change was made, and whether the server has heard of it is unknown."""
    table.outages.note(error)
    table.outages.begin_untold_change(token, 0)
    table.outages.end_untold_change(token)
