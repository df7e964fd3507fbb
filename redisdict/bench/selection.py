"""From the names a user typed to a specification and the services it is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from redisdict.bench.errors import UsageError
from redisdict.bench.names import match_name, unknown_name
from redisdict.bench.services import Service
from redisdict.bench.spec import (
    DEFAULT_POOL,
    MODES,
    OPERATIONS,
    POOLS,
    WORKLOADS,
    BenchmarkSpec,
    Table,
)

__all__ = ["POOL_NAMES", "choose_services", "select"]

POOL_NAMES = tuple(pool for mode in MODES for pool in POOLS[mode])

#: What only the table of concurrency has.
LOAD = {"concurrency", "connections"}


def select(
    spec: BenchmarkSpec,
    *,
    modes: Sequence[str] = (),
    pools: Sequence[str] = (),
    operations: Sequence[str] = (),
    tables: Sequence[str] = (),
    **changes: Any,
) -> BenchmarkSpec:
    """The specification with what the user chose; empty choices leave it as it is.

    Raises:
        UsageError: a name is unknown, or nothing is left to measure.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    named = _named("--operation", operations, OPERATIONS)
    chosen = replace(
        spec,
        modes=_named("--mode", modes, MODES) or spec.modes,
        pools=_named("--pool", pools, POOL_NAMES) or spec.pools,
        operations=named or spec.operations,
        tables=tuple(map(Table, _named("--table", tables, [table.value for table in Table])))
        or _tables_for(spec.tables, named, has_load=not LOAD.isdisjoint(given)),
        **given,
    )
    if chosen.pools and chosen.modes:
        left = [pool for mode in chosen.modes for pool in POOLS[mode] if pool in chosen.pools]
        if not left:
            raise UsageError(
                f"--pool {' '.join(chosen.pools)} is none of the pools for --mode"
                f" {' '.join(chosen.modes).lower()}; those are"
                f" {', '.join(pool for mode in chosen.modes for pool in POOLS[mode])}."
            )
    return chosen


def choose_services(available: Sequence[Service], names: Sequence[str]) -> list[Service]:
    """The services with these keys or titles, in the order of the report; all without names.

    A service that only a --url gave is always among them.

    Raises:
        UsageError: a name is unknown.
    """
    if not names:
        return list(available)
    titles = {service.title: service for service in available}
    keys = {service.key: service for service in available}
    wanted = []
    for name in names:
        match = match_name(name, [*keys, *titles])
        if match is None:
            raise UsageError(unknown_name("--service", name, list(keys), [*keys, *titles]))
        wanted.append(keys.get(match) or titles[match])
    return [service for service in available if service in wanted]


def _tables_for(
    tables: Sequence[Table], operations: Sequence[str], *, has_load: bool
) -> tuple[Table, ...]:
    """The tables, when nobody named any: those that have what was asked for among them."""
    further = [name for name in operations if name in WORKLOADS]
    wanted = set() if further and len(further) == len(operations) else set(tables)
    if further:
        wanted.add(Table.WORKLOADS)
    if has_load:
        wanted.add(Table.CONCURRENCY)
    return tuple(table for table in Table if table in wanted)


def _named(option: str, names: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """The known names that were meant, whatever their case."""
    found = []
    for name in names:
        match = match_name(name, known)
        if match is None:
            hint = ""
            if option == "--pool" and name.lower() == DEFAULT_POOL.lower():
                hint = " Leave --pool out to get Sentinel's own."
            raise UsageError(unknown_name(option, name, known) + hint)
        found.append(match)
    return tuple(dict.fromkeys(found))
