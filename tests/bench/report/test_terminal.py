"""The report on terminals of different widths."""

from __future__ import annotations

import re

import pytest

from redisdict.bench.choices import CellStatus, Table
from redisdict.bench.report.summary import summary
from redisdict.bench.report.terminal import TIMES, terminal
from redisdict.models import BenchmarkRun
from tests.bench.records import changed, comparison, make_record, measured


def lines_of(width: int, **changes: object) -> list[str]:
    return terminal(make_record(**changes), width=width).splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    record = make_record()
    crowded = {"table": Table.CONCURRENCY, "concurrency": 50, "connections": 64}
    record.put([measured(**crowded, pool="OptimizedAsyncConnectionPool")])
    record.put([measured(**crowded, pool="OptimizedAsyncConnectionPool", variant="Async (HSET)")])
    lines = terminal(record, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]


def test_a_wide_one_has_the_columns_of_the_report_and_a_ratio_beside_each_figure() -> None:
    lines = lines_of(120)
    (heading,) = [line for line in lines if line.startswith("Service") and "Mode" in line]
    assert re.split(" {2,}", heading) == [
        "Service", "Mode", "Pool", "SET (ops/s)", "GET (ops/s)", "DEL (ops/s)", "PIPE (ops/s)",
    ]  # fmt: skip
    assert any(re.search(rf"SYNC +ConnectionPool +10,014 {TIMES}1.00", line) for line in lines)


def test_a_service_is_named_once() -> None:
    lines = lines_of(120)
    start = next(place for place, line in enumerate(lines) if line.startswith("Service  "))
    assert [line.split("  ")[0] for line in lines[start + 2 : start + 7]] == [
        "Standard Redis", "", "", "", "",
    ]  # fmt: skip


def test_a_narrow_one_has_services_as_headings_and_short_figures() -> None:
    lines = lines_of(80)
    start = lines.index("Standard Redis, SYNC")
    assert re.fullmatch(
        rf"ConnectionPool +10.0k {TIMES}1.00 +20.0k {TIMES}1.00 .*", lines[start + 1]
    )


def test_a_service_that_is_not_there_has_its_row_and_the_reason_below() -> None:
    assert "KeyDB" in lines_of(80)
    lines = lines_of(120)
    assert any(re.search(r"KeyDB +- +not available +- +- +- +-", line) for line in lines)
    assert (
        "- KeyDB: not available: No KeyDB program is here: see compose.yaml | or build it." in lines
    )


def test_a_failed_cell_says_so() -> None:
    record = make_record()
    record.put([changed(measured(), status=CellStatus.FAILED, ops_per_second=None)])
    assert re.search(r"BlockingConnectionPool +10,022 \S+ +failed ", terminal(record))


def test_latencies_of_one_operation_are_shown() -> None:
    lines = lines_of(120)
    start = lines.index("A single GET, in microseconds")
    # There were too few calls for p99.9 in any cell.
    assert re.search(r"p50 +p90 +p99 +max +client CPU +server CPU", lines[start + 1])
    assert re.search(r"ConnectionPool +30.5 +40.0 +90.2 +500 +20.0 +5.0", lines[start + 3])
    record = make_record()
    next(one for one in record.cells if one.operation == "GET").p999_us = 300.0
    assert re.search(r"p99 +p99.9 +max", terminal(record))


def three_services() -> BenchmarkRun:
    """What the first command of the README measures where three services are."""
    record = make_record()
    own = [one for one in record.cells if one.table == Table.POOLS and one.is_measured]
    valkey = [changed(one, service="Valkey") for one in own]
    sentinel = [
        changed(one, service="Redis Sentinel", pool="Default")
        for one in own
        if one.pool in ("AsyncConnectionPool", "ConnectionPool")
    ]
    absent = [one for one in record.cells if not one.is_measured]
    absent += [changed(absent[0], service=name) for name in ("Dragonfly", "Redis Cluster")]
    dicts = [one for one in record.cells if one.table == Table.DICT]
    record.cells = [*own, *absent, *valkey, *sentinel, *dicts]
    crowd = {"table": Table.CONCURRENCY, "concurrency": 50}
    record.put(changed(one, **crowd, connections=size) for one in own for size in (5, 64))
    pairs = [("SET", 0.9, "slower"), ("GET", 1.2, "faster"), ("DEL", 1.0, "same")]
    pairs += [("PIPE", 1.01, "unsure")]
    names = [
        ("service", "Valkey", "Standard Redis"),
        ("service", "Redis Sentinel", "Standard Redis"),
        ("service", "Redis Cluster", "Standard Redis"),
        ("mode", "Async (HSET)", "Sync (HSET)"),
        ("pool", "ASYNC OptimizedAsyncConnectionPool", "ASYNC AsyncConnectionPool"),
    ]
    record.comparisons = [
        comparison(kind, left, right, ratio, operation, verdict)
        for kind, left, right in names
        for operation, ratio, verdict in pairs
    ]
    return record


def test_a_run_of_three_services_fits_on_a_screen() -> None:
    text = terminal(three_services(), width=80, is_verbose=False)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    # Of 45, two say what is being measured, and four are for warnings.
    assert len(lines) <= 39
    assert f"AsyncBlockingConnectionPool   10.0k {TIMES}0.40" in text
    assert "- not available: KeyDB, Dragonfly, Redis Cluster; see `redisbench services`" in lines
    assert "Redis Sentinel\nASYNC Default" in text
    assert "50" not in [line.split()[0] for line in lines if line]
    full = terminal(three_services(), width=80)
    assert len(full.splitlines()) > 2 * len(lines)


def test_after_the_tables_are_eight_lines_at_most() -> None:
    for width in (80, 120, 200):
        lines = summary(three_services(), width)
        assert len(lines) <= 8
        assert max(map(len, lines)) <= width
    assert lines == [
        f"{left} against Standard Redis: faster GET {TIMES}1.20; slower SET {TIMES}0.90;"
        f" same DEL {TIMES}1.00"
        for left in ("Valkey", "Redis Sentinel", "Redis Cluster")
    ] + [
        f"best: Standard Redis, Async (HSET) against Sync (HSET): GET {TIMES}1.20 [1.19, 1.21]",
        f"worst: Standard Redis, Async (HSET) against Sync (HSET): SET {TIMES}0.90 [0.89, 0.91]",
        "5 faster, 5 slower, 5 same, 5 undecided (--verbose); also there: pools under concurrency,"
        " latencies",
    ]
    assert summary(three_services(), 80)[-4:-2] == [
        f"best: Standard Redis, Async (HSET) against Sync (HSET): GET {TIMES}1.20 [1.19, 1.21]",
        f"worst: Standard Redis, Async (HSET) against Sync (HSET): SET {TIMES}0.90 [0.89, 0.91]",
    ]
    many = three_services()
    services = [comparison("service", f"S{n}", "Redis", 2.0, "GET", "faster") for n in range(20)]
    many.comparisons += services
    lines = summary(many, 80)
    assert len(lines) == 8
    assert "… and more between services (--verbose)" in lines
    assert summary(make_record(comparisons=[]), 80) == []


def test_what_was_asked_for_alone_is_shown_also_in_short() -> None:
    record = make_record(results=[measured(table=Table.CONCURRENCY, concurrency=50)])
    assert "Pools under concurrency" in terminal(record, is_verbose=False)
    assert "Pools under concurrency" not in terminal(three_services(), is_verbose=False)


def test_operations_that_nobody_asked_for_have_no_column() -> None:
    record = make_record()
    record.cells = [one for one in record.cells if one.operation in ("GET", "Get", "")]
    lines = terminal(record).splitlines()
    heading = next(line for line in lines if line.startswith("Service  "))
    assert re.split(" {2,}", heading) == ["Service", "Mode", "Pool", "GET (ops/s)"]


def test_colours_only_when_asked_for() -> None:
    assert "\x1b" not in terminal(make_record())
    colored = terminal(make_record(), is_colored=True)
    assert "\x1b[32mfaster\x1b[0m" in colored
    assert "\x1b[31mslower\x1b[0m" in colored
    assert "\x1b[33munsure\x1b[0m" in colored
