"""Read the counts of the process since its start: of models, near caches, pools, retries.

They are counted where they happen, at no further cost, and read on demand.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import redis.asyncio

from redisdict.connections import registry, retry
from redisdict.connections.backend import Backend
from redisdict.metrics.definitions import (
    AUDITED,
    COMPUTATIONS,
    GIVEN_UP,
    MODELS,
    NEAR,
    NEAR_BYTES,
    NEAR_ITEMS,
    NEAR_OFF,
    OPENED,
    POOL_CONNECTIONS,
    POOL_LIMIT,
    POOL_WAITED,
    POOL_WAITING,
    POOL_WAITS,
    RETRIES,
    Metric,
)


class Total(NamedTuple):
    """The value of one series now."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def read_totals() -> list[Total]:
    """Read all of them. Asks no server, and imports nothing that the project doesn't use."""
    summed: defaultdict[tuple[Metric, tuple[str, ...]], float] = defaultdict(int)
    for metric, labels, value in _each():
        summed[metric, labels] += value
    return [Total(metric, labels, value) for (metric, labels), value in summed.items()]


def _each() -> Iterator[Total]:
    for alias, count in list(retry.retried.items()):
        yield Total(RETRIES, (alias,), count)
    for alias, count in list(retry.given_up.items()):
        yield Total(GIVEN_UP, (alias,), count)
    for backend in registry.backends():
        yield from _of_pools(backend)
        yield from _of_near(backend)
    yield from _of_models()
    yield from _of_computations()
    yield from _of_audits()


def _of_pools(backend: Backend) -> Iterator[Total]:
    alias = backend.config.alias
    for pool in backend.pools():
        own: Any = pool
        opened = getattr(own, "opened", None)
        if opened is None:
            continue  # of another class, as one that is borrowed may be
        labels = alias, "async" if isinstance(pool, redis.asyncio.ConnectionPool) else "sync"
        yield Total(OPENED, labels, opened)
        yield Total(POOL_CONNECTIONS, (*labels, "idle"), len(own._available_connections))
        yield Total(POOL_CONNECTIONS, (*labels, "used"), len(own._in_use_connections))
        yield Total(POOL_LIMIT, labels, own.max_connections)
        yield Total(POOL_WAITING, labels, own.waiting)
        yield Total(POOL_WAITS, labels, own.waits)
        yield Total(POOL_WAITED, labels, own.waited_s)


def _of_near(backend: Backend) -> Iterator[Total]:
    service = sys.modules.get("redisdict.near.service")
    in_use = None if service is None else service.service_in_use(backend)
    if in_use is None:
        return
    for identity, held in in_use.spaces():
        for kind, space in _spaces_of(identity, held):
            stats = space.stats()
            labels = backend.config.alias, kind
            for event in ("hits", "misses", "pushes", "evictions"):
                yield Total(NEAR, (*labels, event), getattr(stats, event))
            yield Total(NEAR_ITEMS, labels, stats.items)
            yield Total(NEAR_BYTES, labels, stats.bytes)
            yield Total(NEAR_OFF, labels, not stats.is_on)


def _spaces_of(identity: Any, held: Any) -> Iterator[tuple[str, Any]]:
    if identity is None:
        yield "dict", held
    elif isinstance(identity, tuple) and identity[0] == "modelcache":
        yield "model", held[0]
    elif isinstance(identity, tuple) and identity[0] == "results":
        yield "results", held
    elif hasattr(held, "every"):
        for space in held.every():
            yield "cache", space


def _of_models() -> Iterator[Total]:
    module = sys.modules.get("redisdict.modelcache.registrations")
    if module is None:
        return
    for cached in module.cached_models():
        # Tables of one place share their counters.
        counters = {id(table.counters): table.counters for table in cached.tables()}
        for one in counters.values():
            for event, count in one.since_start().items():
                yield Total(MODELS, (str(cached), cached.alias, event), count)


def _of_computations() -> Iterator[Total]:
    module = sys.modules.get("redisdict.mapping.computation")
    if module is not None:
        for event, count in list(module.counted.items()):
            yield Total(COMPUTATIONS, (event,), count)


def _of_audits() -> Iterator[Total]:
    module = sys.modules.get("redisdict.modelcache.audit.passes")
    if module is not None:
        for (model, database), (judged, disagreed) in list(module.totals.items()):
            yield Total(AUDITED, (model, database, "agree"), judged - disagreed)
            yield Total(AUDITED, (model, database, "disagree"), disagreed)
