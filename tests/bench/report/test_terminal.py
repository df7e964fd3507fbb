"""The report on terminals of different widths."""

from __future__ import annotations

import re

import pytest

from redisdict.bench.choices import CellStatus, Table
from redisdict.bench.report.terminal import TIMES, terminal
from tests.bench.records import changed, make_record, measured


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
    assert re.search(r"p50 +p90 +p99 +p99.9 +max +client CPU +server CPU", lines[start + 1])
    assert re.search(r"ConnectionPool +30.5 +40.0 +90.2 +- +500 +20.0 +5.0", lines[start + 3])


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
