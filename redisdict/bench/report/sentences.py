"""Write the sentences of a report: what a run proves, how its figures came about, and where.

Conclusions are made from the run's intervals and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from redisdict.bench.measure.process_variance import least_difference
from redisdict.bench.records import CellResult, CellStatus, RunRecord
from redisdict.bench.spec import ITERATIONS, Table

__all__ = ["conclusions", "method_notes", "reference_name"]

Comparison = Mapping[str, Any]


def conclusions(record: RunRecord) -> list[str]:
    """One sentence for each pair of rows; "same" only where the interval lies within ±5 %."""
    return [
        *_services(_of_kind(record, "service")),
        *_layouts(_of_kind(record, "layout")),
        *_rows(_of_kind(record, "mode")),
        *_rows(_of_kind(record, "pool")),
    ]


def _of_kind(record: RunRecord, kind: str) -> list[Comparison]:
    return [comparison for comparison in record.comparisons if comparison["kind"] == kind]


def _services(found: Iterable[Comparison]) -> Iterator[str]:
    for (left, right), pairs in _grouped(found, "left", "right"):
        yield f"{left} against {right}: {_figures(pairs)}."


def _layouts(found: Iterable[Comparison]) -> Iterator[str]:
    for (left,), pairs in _grouped(found, "left"):
        mode = left.partition(" ")[0]
        for pair in pairs:
            name = f"{mode} HASH {pair['operation']}"
            yield f"{name} is {_interval(pair)} of direct keys: {pair['verdict']}."


def _rows(found: Iterable[Comparison]) -> Iterator[str]:
    keys = ("service", "concurrency", "connections", "left", "right")
    for (service, workers, connections, left, right), pairs in _grouped(found, *keys):
        load = f" with {workers} workers and {connections} connections" if workers > 1 else ""
        yield f"{service}{load}, {left} against {right}: {_figures(pairs)}."


def _figures(pairs: Iterable[Comparison]) -> str:
    return ", ".join(f"{pair['operation']} {_interval(pair)} {pair['verdict']}" for pair in pairs)


def _interval(pair: Comparison) -> str:
    return f"{pair['ratio']:.2f} [{pair['low']:.2f}, {pair['high']:.2f}]"


def _grouped(
    found: Iterable[Comparison], *keys: str
) -> Iterator[tuple[tuple[Any, ...], list[Comparison]]]:
    """Comparisons that share these values, in the order in which they first appear."""

    def values(comparison: Comparison) -> tuple[Any, ...]:
        return tuple(comparison[key] for key in keys)

    ordered = list(found)
    first_seen = {values(one): place for place, one in reversed(list(enumerate(ordered)))}
    ordered.sort(key=lambda one: first_seen[values(one)])
    for shared, group in groupby(ordered, values):
        yield shared, list(group)


def method_notes(record: RunRecord) -> list[str]:
    """Paragraphs for the end of a report."""
    notes = [_rounds(record), _counts(record), _noise(record), _placement(record)]
    notes += [_iteration(record), _latencies(record), _left_out(record), _other_tool(record)]
    notes += [_environment(record), _servers(record)]
    return [note for note in notes if note]


def reference_name(record: RunRecord) -> str:
    """The row that all ratios but those under concurrency refer to, without the operation."""
    for result in record.results:
        reference: str = result.details.get("reference") or ""
        is_row = result.table is not Table.CONCURRENCY and result.operation not in ITERATIONS
        if reference and is_row:
            return reference.rpartition(" ")[0]
    return ""


def _rounds(record: RunRecord) -> str:
    measured = _measured(record)
    if not measured:
        return "Nothing was measured."
    rounds = sorted(result.rounds for result in measured)
    spec = record.spec
    return (
        f"Figures are medians over {_range(rounds)} rounds (preset {record.preset}, seed"
        f" {spec.get('seed')}). In each round every cell of a group had one block of"
        f" {spec.get('block_operations')} operations, after {spec.get('lead_in_operations')} that"
        " weren't timed, in fresh random order. Ratios are medians of"
        f" paired quotients with {reference_name(record) or 'the reference'}, with 95 % intervals;"
        " they hold on a noisy machine, ops/s don't."
    )


def _counts(record: RunRecord) -> str:
    spec = record.spec
    wrapped = "with" if spec.get("is_transaction") else "without"
    sizes = spec.get("value_bytes")
    if isinstance(sizes, list):
        sizes = " or ".join(map(str, sizes))
    return (
        f"Values of {sizes} bytes; one operation is one call, in PIPE one SET of"
        f" a batch of {spec.get('batch_size')} {wrapped} MULTI/EXEC. Replies were compared with"
        " what had been stored."
    )


def _latencies(record: RunRecord) -> str:
    calls = [one.details.get("latency_calls", 0) for one in _measured(record)]
    if not any(calls):
        return ""
    text = (
        f"Latencies are those of {_range(sorted(filter(None, calls)))} calls, each timed by itself"
    )
    rated = [one for one in _measured(record) if one.details.get("rate_per_second")]
    if rated:
        names = " and ".join(dict.fromkeys(one.operation.upper() for one in rated))
        rate = rated[0].details["rate_per_second"]
        text += (
            f"; calls of {names} were made {rate:g} times a second, whether or not the last one had"
            " ended, and timed from their intended start"
        )
    return f"{text}."


def _range(ordered: Sequence[int]) -> str:
    first, last = ordered[0], ordered[-1]
    return str(first) if first == last else f"{first} to {last}"


def _noise(record: RunRecord) -> str:
    if record.noise_floor is None:
        return ""
    starts: int = record.spec.get("precision", {}).get("server_starts", 1)
    times = f"started {starts} times" if starts > 1 else "started once"
    call, walk = (least_difference(name, 0.0, starts) for name in ("Get", "Iter"))
    text = (
        f"Noise floor: two copies of the reference came out within {record.noise_floor:.1%} of one"
        f" another. Servers of the run were {times}; two processes of one program differ, so no"
        f" difference below {call:.1%} is called faster or slower"
    )
    if record.of_table(Table.DICT):
        text += f", for iterations none below {walk:.0%}"
    return f"{text}, and none that the two copies of the reference show as well."


def _placement(record: RunRecord) -> str:
    places = {
        "same": "on the same CPU",
        "split": "on two CPUs",
        "uncontrolled": "where the system put them (uncontrolled)",
    }
    found: dict[str, list[str]] = {}
    for result in _measured(record):
        services = found.setdefault(result.placement, [])
        if result.service not in services:
            services.append(result.service)
    if not found:
        return ""
    described = "; ".join(
        f"{places.get(place, place)}: {', '.join(services)}" for place, services in found.items()
    )
    return f"Client and server ran {described}."


def _iteration(record: RunRecord) -> str:
    """The second figure of an iteration, and what the first one counts."""
    items = [result for result in record.of_table(Table.DICT) if result.operation == "Items"]
    figures = ", ".join(
        f"{one.variant} {one.ops_per_second:,.0f}" for one in items if one.ops_per_second
    )
    count = record.spec.get("iteration_items")
    text = f"Iter counts the keys that one whole iteration over {count} items delivered, a second."
    if figures:
        text += f" Keys with their decoded values: {figures}."
    return text if record.of_table(Table.DICT) else ""


def _left_out(record: RunRecord) -> str:
    """Pools that could not be measured with few connections."""
    reasons: dict[str, list[str]] = {}
    for one in record.of_table(Table.CONCURRENCY):
        if one.status is CellStatus.UNAVAILABLE:
            row = f"{one.pool} ({one.concurrency} workers, {one.connections} connections)"
            rows = reasons.setdefault(one.reason, [])
            if row not in rows:
                rows.append(row)
    described = [f"{', '.join(rows)}: {reason}" for reason, rows in reasons.items()]
    return f"Not measured: {'; '.join(described)}." if described else ""


def _other_tool(record: RunRecord) -> str:
    facts = record.environment.get("redis_benchmark")
    if not facts:
        return ""
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in facts["ops_per_second"].items())
    return (
        f"For comparison, redis-benchmark over {facts['connections']} connections to"
        f" {facts['service']} (ops/s): {speeds}."
    )


def _environment(record: RunRecord) -> str:
    facts = record.environment
    packages = facts.get("packages", {})
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    parts = [record.machine, facts.get("kernel"), facts.get("python"), versions]
    loop = facts.get("event_loop")
    if loop:
        parts.append(f"event loop {loop}")
    if record.commit:
        parts.append(f"commit {record.commit}")
    return f"Environment: {', '.join(part for part in parts if part)}."


def _servers(record: RunRecord) -> str:
    servers = record.environment.get("servers", {})
    described = [
        f"{title} is {facts['name']} (persistence {facts['persistence']}{_protocol(facts)})"
        for title, facts in servers.items()
    ]
    return f"Servers: {'; '.join(described)}." if described else ""


def _protocol(facts: Mapping[str, Any]) -> str:
    version = facts.get("resp_version")
    return f", RESP{version}" if version else ""


def _measured(record: RunRecord) -> list[CellResult]:
    return [result for result in record.results if result.status is CellStatus.MEASURED]
