"""Keep results in this process's memory, for readers with `near`.

A result is kept under its cell's key. The server sends a message about a change of that cell, and
about each change of the version of one of its tables, which a writer's barrier makes before others
can see the change: then all results of these tables are dropped. A result is kept only if one
script has found that it counts, with its times to live at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence

from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import FOREVER
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.results.in_tasks import need_thread
from redisdict.modelcache.slots.results import ResultStore
from redisdict.near.clock import clock
from redisdict.near.eviction import ENTRY_BYTES
from redisdict.near.eviction import FOREVER as NO_END
from redisdict.near.reader import track
from redisdict.near.service import near_service, teller_of
from redisdict.near.space import NearSpace, NearStats, Part
from redisdict.near.state import NearState
from redisdict.near.watches import Watch


class NearResults:
    """This process's memory for results of the same tables.

    Args:
        names: make a key of the results' own, to test that the server reports changes.
        prefix: the beginning of the keys of all results, and of no other keys.
        near: the promise, in seconds or "request".

    Raises:
        ConfigurationError: the server is a Cluster, or reads go to replicas.
    """

    def __init__(
        self,
        names: Names,
        prefix: bytes,
        tables: Sequence[CachedTable],
        store: ResultStore,
        near: float | str,
    ) -> None:
        self._backend = backend = tables[0].backend
        config = backend.config
        if backend.cluster is not None or backend.factory.reads_replicas:
            what = "replicas that are read from" if backend.cluster is None else "a Cluster"
            raise ConfigurationError(
                f"near={near!r} for results is on {config.where}, which is {what}: several servers"
                " would announce the changes of tables and results, in no common order. Use an"
                " alias of one server, or leave near out."
            )
        self._store = store

        def make() -> NearSpace:
            state = NearState(config.near_max_bytes, config.near_max_items)
            watches = [Watch(prefix, state, has_whole_keys=True)]
            watches += [Watch(one.store.table_key, state, is_exact=True) for one in tables]
            part = Part(state, watches, teller_of(backend, watches, names.probe_prefix))
            for one in tables:
                one.near.results.append(state)
            return NearSpace([part])

        self._space: NearSpace = near_service(backend).space(("results", names), make)
        self._state = self._space.parts[0].state
        self._reader = self._space.parts[0].reader(near)

    def body(self, key: bytes) -> bytes | None:
        """Return the body of a result, from memory or by one EVALSHA; None when there is none.

        Raises:
            NeedsThread: in a task, and it isn't in memory.
            BackendUnavailable, redis.exceptions.RedisError: the server can't be asked.
        """
        entry = self._reader.find(key)
        if entry is None and (pinging := self._reader.who_pings(key)) is not None:
            need_thread()
            if pinging.ping():
                entry = self._reader.find(key)
        if entry is not None and entry.owner is self._store:
            kept: bytes = entry.value
            return kept
        need_thread()
        return self._ask(key)

    def _ask(self, key: bytes) -> bytes | None:
        state, body, expires_at = self._state, None, None
        token = state.begin_fill(key)
        try:
            self._backend.driver.run(track(self._reader.listener, state, [key]))
            sent_at = clock()
            found = self._backend.driver.do(self._store.peek(key, with_time_left=True))
            if found:
                body = self._store.body(found[:-1])
                left_ms = found[-1]
                if left_ms == FOREVER:
                    expires_at = NO_END
                elif isinstance(left_ms, int) and left_ms > 0:
                    expires_at = sent_at + left_ms / 1000
        finally:
            if body is None or expires_at is None:
                state.abandon_fill(token)
            else:
                state.complete_fill(
                    token,
                    body,
                    hash(body),
                    expires_at=expires_at,
                    size=ENTRY_BYTES + len(key) + len(body),
                    owner=self._store,
                )
        return body

    def drop(self, keys: Sequence[bytes]) -> None:
        """Drop results that were read elsewhere, as from the database: they may be newer."""
        self._state.drop(keys)

    def stats(self) -> NearStats:
        """Get the counts of the memory. Sends nothing to the server."""
        return self._space.stats()
