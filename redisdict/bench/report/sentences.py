"""Write the sentences of a report: its conclusions, the method, and the environment.

Conclusions are made from the run's intervals and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from redisdict.bench import noise
from redisdict.bench.choices import AB, CellStatus, Comparison, Table, load_parts
from redisdict.bench.measure.placement import FREE, SAME, SPLIT, UNCONTROLLED
from redisdict.bench.operations import ITERATIONS
from redisdict.models import BenchmarkRun

Pair = Mapping[str, Any]


def conclusions(run: BenchmarkRun) -> list[str]:
    """Write a sentence for each pair of rows; "same" only where the interval is within ±5 %."""
    return [
        *_services(_of_kind(run, Comparison.SERVICE)),
        *_layouts(_of_kind(run, Comparison.LAYOUT)),
        *_rows(_of_kind(run, Comparison.MODE)),
        *_rows(_of_kind(run, Comparison.POOL)),
    ]


def _of_kind(run: BenchmarkRun, kind: Comparison) -> list[Pair]:
    return [comparison for comparison in run.comparisons if comparison["kind"] == kind]


def _services(found: Iterable[Pair]) -> Iterator[str]:
    for (left, right), pairs in _grouped(found, "left", "right"):
        yield f"{left} against {right}: {_figures(pairs)}."


def _layouts(found: Iterable[Pair]) -> Iterator[str]:
    for (left,), pairs in _grouped(found, "left"):
        mode = left.partition(" ")[0]
        for pair in pairs:
            name = f"{mode} HASH {pair['operation']}"
            yield f"{name} is {_interval(pair)} of direct keys: {pair['verdict']}."


def _rows(found: Iterable[Pair]) -> Iterator[str]:
    keys = ("service", "concurrency", "connections", "left", "right")
    for (service, workers, connections, left, right), pairs in _grouped(found, *keys):
        load = f" with {workers} workers and {connections} connections" if workers > 1 else ""
        yield f"{service}{load}, {left} against {right}: {_figures(pairs)}."


def _figures(pairs: Iterable[Pair]) -> str:
    return ", ".join(f"{pair['operation']} {_interval(pair)} {pair['verdict']}" for pair in pairs)


def _interval(pair: Pair) -> str:
    return f"{pair['ratio']:.2f} [{pair['low']:.2f}, {pair['high']:.2f}]"


def _grouped(found: Iterable[Pair], *keys: str) -> Iterable[tuple[tuple[Any, ...], list[Pair]]]:
    """Group comparisons that share these values, in the order in which they first appear."""
    groups: dict[tuple[Any, ...], list[Pair]] = {}
    for one in found:
        groups.setdefault(tuple(one[key] for key in keys), []).append(one)
    return groups.items()


def method_notes(run: BenchmarkRun) -> list[str]:
    """Write the paragraphs for the end of a report."""
    notes = [_rounds(run), _counts(run), _noise(run), _placement(run)]
    notes += [_iteration(run), _latencies(run), _left_out(run), _other_tool(run)]
    notes += [_environment(run), _servers(run)]
    return [note for note in notes if note]


def reference_name(run: BenchmarkRun) -> str:
    """Name the row that all ratios but those under concurrency refer to, without its operation."""
    if run.preset == AB:
        return next((one.service for one in run.cells), "")
    for result in run.cells:
        reference: str = result.details.get("reference") or ""
        is_row = result.table != Table.CONCURRENCY and result.operation not in ITERATIONS
        if reference and is_row:
            return reference.rpartition(" ")[0]
    return ""


def _rounds(run: BenchmarkRun) -> str:
    measured = run.measured
    if not measured:
        return "Nothing was measured."
    rounds = sorted(result.rounds for result in measured)
    spec = run.spec
    return (
        f"Figures are medians over {_range(rounds)} rounds (preset {run.preset}, seed"
        f" {spec.get('seed')}). In each round every cell of a group had one block of"
        f" {spec.get('block_operations')} operations, after {spec.get('lead_in_operations')} that"
        " weren't timed, in fresh random order. Ratios are medians of"
        f" paired quotients with {reference_name(run) or 'the reference'}, with 95 % intervals;"
        " they hold on a noisy machine, ops/s don't."
    )


def _counts(run: BenchmarkRun) -> str:
    spec = run.spec
    if run.preset == AB:
        return (
            "Each side was a process of its own, started again for every generation; the first"
            " side ran twice. One operation is one call of the public API; every reply was"
            " checked."
        )
    wrapped = "with" if spec.get("is_transaction") else "without"
    sizes = spec.get("value_bytes")
    if isinstance(sizes, list):
        sizes = " or ".join(map(str, sizes))
    return (
        f"Values of {sizes} bytes; one operation is one call, in PIPE one SET of"
        f" a batch of {spec.get('batch_size')} {wrapped} MULTI/EXEC. Replies were compared with"
        " what had been stored."
    )


def _latencies(run: BenchmarkRun) -> str:
    calls = [one.details.get("latency_calls", 0) for one in run.measured]
    if not any(calls):
        return ""
    text = (
        f"Latencies are those of {_range(sorted(filter(None, calls)))} calls, each timed by itself"
    )
    rated = [one for one in run.measured if one.details.get("rate_per_second")]
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


def _noise(run: BenchmarkRun) -> str:
    """Describe the least differences that the verdicts used, and the difference between runs."""
    used: dict[str, list[float]] = {}
    for one in run.comparisons:
        if one["kind"] != Comparison.TWIN and one["least_difference"]:
            used.setdefault(one["operation"], []).append(one["least_difference"])
    if not used:
        return ""
    starts: int = run.spec.get("precision", {}).get("server_starts", 1)
    times = f"started {starts} times" if starts > 1 else "started once"
    least = ", ".join(f"{name} {_percents(values)}" for name, values in used.items())
    text = (
        "Noise floor: no smaller difference is called faster or slower than the interval of two"
        f" copies of the reference reaches in the same rounds, or two processes of one program"
        f" show when they are {times}: {least}."
    )
    between = run.environment.get(noise.KEY)
    if between:
        deviations = ", ".join(
            f"{name} {deviation:.1%}" for name, deviation in between["deviations"].items()
        )
        text += f" Equal runs deviate by {deviations} ({between['source']})."
    return text


def _percents(logs: Sequence[float]) -> str:
    """Write differences on the log scale as a percentage, or the range of them."""
    texts = dict.fromkeys(f"{math.expm1(log):.1%}" for log in (min(logs), max(logs)))
    return " to ".join(texts)


def _placement(run: BenchmarkRun) -> str:
    places = {
        SAME: "on the same CPU",
        SPLIT: "on two CPUs",
        FREE: "on whatever CPUs the system gave them (unpinned)",
        UNCONTROLLED: "where the system put them (uncontrolled)",
    }
    found: dict[str, dict[str, None]] = {}
    for result in run.measured:
        found.setdefault(result.placement, {})[result.service] = None
    if not found:
        return ""
    described = "; ".join(
        f"{places.get(place, place)}: {', '.join(services)}" for place, services in found.items()
    )
    probed = "".join(f" {line}" for line in run.environment.get("placements", ()))
    return f"Client and server ran {described}.{probed}"


def _iteration(run: BenchmarkRun) -> str:
    """Describe the second figure of an iteration, and what the first one counts."""
    items = [result for result in run.of_table(Table.DICT) if result.operation == "Items"]
    figures = ", ".join(
        f"{one.variant} {one.ops_per_second:,.0f}" for one in items if one.ops_per_second
    )
    count = run.spec.get("iteration_items")
    text = f"Iter counts the keys per second that whole iterations over {count} items delivered."
    if figures:
        text += f" Keys with their decoded values: {figures}."
    return text if run.of_table(Table.DICT) else ""


def _left_out(run: BenchmarkRun) -> str:
    """List the pools that could not be measured with few connections."""
    reasons: dict[str, dict[str, None]] = {}
    for one in run.of_table(Table.CONCURRENCY):
        if one.status == CellStatus.UNAVAILABLE:
            row = f"{one.pool} ({', '.join(load_parts(one))})"
            reasons.setdefault(one.reason, {})[row] = None
    described = [f"{', '.join(rows)}: {reason}" for reason, rows in reasons.items()]
    return f"Not measured: {'; '.join(described)}." if described else ""


def _other_tool(run: BenchmarkRun) -> str:
    facts = run.environment.get("redis_benchmark")
    if not facts:
        return ""
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in facts["ops_per_second"].items())
    return (
        f"For comparison, redis-benchmark over {facts['connections']} connections to"
        f" {facts['service']} (ops/s): {speeds}."
    )


def _environment(run: BenchmarkRun) -> str:
    facts = run.environment
    packages = facts.get("packages", {})
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    parts = [run.machine, facts.get("kernel"), facts.get("python"), versions]
    loop = facts.get("event_loop")
    if loop:
        parts.append(f"event loop {loop}")
    if run.commit:
        parts.append(f"commit {run.commit}")
    return f"Environment: {', '.join(part for part in parts if part)}."


def _servers(run: BenchmarkRun) -> str:
    servers = run.environment.get("servers", {})
    described = []
    for title, facts in servers.items():
        version = facts.get("resp_version")
        protocol = f", RESP{version}" if version else ""
        described += [f"{title} is {facts['name']} (persistence {facts['persistence']}{protocol})"]
    return f"Servers: {'; '.join(described)}." if described else ""
