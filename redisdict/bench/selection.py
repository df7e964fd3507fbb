"""Build a specification from what a user typed: options, a TOML file, the names of services."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redisdict.bench.choices import Table
from redisdict.bench.errors import UsageError
from redisdict.bench.measure.placement import CHOICES
from redisdict.bench.measure.services import Service
from redisdict.bench.measure.statistics import LEAST_ROUNDS
from redisdict.bench.operations import OPERATION_NAMES, WORKLOADS
from redisdict.bench.spec import (
    DEFAULT_POOL,
    EVENT_LOOPS,
    MODES,
    POOLS,
    PRESETS,
    BenchmarkSpec,
    Precision,
)
from redisdict.suggestions import nearest


def unknown_name(where: str, name: str, known: Sequence[str], others: Sequence[str] = ()) -> str:
    """Make the error for an unknown name: the known names, and the most similar one.

    Args:
        where: the option or key that it was given for.
        others: names that are known too, and not listed.
    """
    close = nearest(name, [*known, *others])
    hint = f" Did you mean {close!r}?" if close else ""
    return f"{where} {name!r} is unknown.{hint} Known: {', '.join(known)}."


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
    """Apply the user's choices to a specification; empty choices leave it as it is.

    Raises:
        UsageError: a name is unknown, or nothing is left to measure.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    named = _named("--operation", operations, OPERATION_NAMES)
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


#: Of all rounds, one start of the servers gets so many seconds at least.
LEAST_SECONDS_A_START = 30

#: Calls of the latency pass without which there are no percentiles to speak of.
LEAST_LATENCY_CALLS = 100


def shortened(spec: BenchmarkSpec, seconds: float) -> BenchmarkSpec:
    """Set the time of the rounds; if it is less than the preset's, shorten everything else too.

    Otherwise starting servers five times and timing thousands of single calls would take several
    times as long as was asked for.
    """
    before = spec.precision
    share = min(seconds / before.seconds, 1.0)
    starts = max(min(before.server_starts, int(seconds / LEAST_SECONDS_A_START)), 1)
    least = max(round(before.min_rounds * share), LEAST_ROUNDS)
    calls = max(round(spec.latency_operations * share), LEAST_LATENCY_CALLS)
    return replace(
        spec,
        precision=replace(before, seconds=seconds, server_starts=starts, min_rounds=least),
        latency_operations=min(calls, spec.latency_operations),
    )


def choose_services(available: Sequence[Service], names: Sequence[str]) -> list[Service]:
    """Choose services by keys or titles, in the order of the report; all without names.

    A service that only a --url gave is always among them.

    Raises:
        UsageError: a name is unknown.
    """
    if not names:
        return list(available)
    keys, titles = [[getattr(one, name) for one in available] for name in ("key", "title")]
    wanted = _named("--service", names, keys, titles)
    return [one for one in available if one.key in wanted or one.title in wanted]


def _tables_for(
    tables: Sequence[Table], operations: Sequence[str], *, has_load: bool
) -> tuple[Table, ...]:
    """Choose the tables, if none is named: those that have the chosen operations."""
    further = [name for name in operations if name in WORKLOADS]
    wanted = set() if further and len(further) == len(operations) else set(tables)
    if further:
        wanted.add(Table.WORKLOADS)
    if has_load:
        wanted.add(Table.CONCURRENCY)
    return tuple(table for table in Table if table in wanted)


def _named(
    option: str, names: Sequence[str], known: Sequence[str], others: Sequence[str] = ()
) -> tuple[str, ...]:
    """Find the known names that were meant, whatever their case."""
    by_folded = {name.lower(): name for name in (*others, *known)}
    for name in names:
        if name.lower() not in by_folded:
            hint = ""
            if option == "--pool" and name.lower() == DEFAULT_POOL.lower():
                hint = " Leave --pool out to get Sentinel's own."
            raise UsageError(unknown_name(option, name, known, others) + hint)
    return tuple(dict.fromkeys(by_folded[name.lower()] for name in names))


#: The keys with a number, or a list of them, that has to be positive.
AT_LEAST_ONE = (
    "block_operations", "batch_size", "value_bytes", "key_count", "iteration_items", "concurrency",
    "connections",
)  # fmt: skip


def read_spec(path: Path) -> BenchmarkSpec:
    """Read a specification from TOML: a `preset`, and changes to it.

    Raises:
        UsageError: it can't be read, or has an unknown or unfit value.
    """
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"--spec {path} can't be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--spec {path} isn't TOML: {error}.") from error
    return spec_from_dict(values, where=f"--spec {path}")


def spec_from_dict(values: Mapping[str, Any], where: str) -> BenchmarkSpec:
    """Build a specification from a dict of `spec_to_dict`; missing keys are as in the preset.

    Raises:
        UsageError: an unknown name, or a value of the wrong kind.
    """
    preset = values.get("preset", "standard")
    if preset not in PRESETS:
        raise UsageError(unknown_name(f"{where}: preset", str(preset), list(PRESETS)))
    base = PRESETS[preset]
    changes: dict[str, Any] = {}
    known = [field.name for field in fields(BenchmarkSpec)]
    for name, value in values.items():
        if name not in known:
            raise UsageError(unknown_name(f"{where}: key", name, known))
        current = getattr(base, name)
        if name == "precision":
            changes[name] = _precision(base.precision, value, where)
        elif name == "value_bytes" and isinstance(value, int):
            changes[name] = (_of_kind(where, name, value, int),)
        elif isinstance(current, tuple):
            changes[name] = tuple(_of_kind(where, name, value, list))
        else:
            kind = (int, float) if type(current) is float else type(current)
            changes[name] = _of_kind(where, name, value, kind)
    chosen = {name: changes.pop(name, ()) for name in ("modes", "pools", "operations", "tables")}
    try:
        spec = select(replace(base, **changes), **chosen)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return check_spec(spec, where)


def check_spec(spec: BenchmarkSpec, where: str) -> BenchmarkSpec:
    """Check that the specification can be carried out, and give it back.

    Raises:
        UsageError: a number is out of its range.
    """
    for name in AT_LEAST_ONE:
        found = getattr(spec, name)
        numbers = found if isinstance(found, tuple) else (found,)
        if not numbers or not all(isinstance(one, int) and one >= 1 for one in numbers):
            told = list(found) if isinstance(found, tuple) else found
            raise UsageError(f"{where}: {name} is {told}; whole numbers from 1 are expected.")
    if spec.placement not in CHOICES:
        raise UsageError(unknown_name(f"{where}: placement", spec.placement, CHOICES))
    if spec.event_loop not in EVENT_LOOPS:
        raise UsageError(unknown_name(f"{where}: event_loop", spec.event_loop, EVENT_LOOPS))
    if spec.event_loop == "uvloop" and find_spec("uvloop") is None:
        raise UsageError(f"{where}: uvloop isn't installed; pip install uvloop")
    return spec


def spec_to_dict(spec: BenchmarkSpec) -> dict[str, Any]:
    """Write for storing: plain numbers, texts and lists; one size of values is a number."""
    values = asdict(spec)
    if len(spec.value_bytes) == 1:
        (values["value_bytes"],) = spec.value_bytes
    return {
        name: [str(one) if isinstance(one, Table) else one for one in value]
        if isinstance(value, tuple)
        else value
        for name, value in values.items()
    }


def _precision(base: Precision, values: Any, where: str) -> Precision:
    known = [field.name for field in fields(Precision)]
    for name in _of_kind(where, "precision", values, dict):
        if name not in known:
            raise UsageError(unknown_name(f"{where}: precision has the key", name, known))
    return replace(base, **values)


def _of_kind(where: str, name: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = kind.__name__ if isinstance(kind, type) else "number"
        raise UsageError(
            f"{where}: {name} is {value!r} ({type(value).__name__}); {expected} is expected."
        )
    return value
