"""The page of one run: conclusions first, the report's tables, charts with their numbers, facts."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from redisdict.bench.choices import Table
from redisdict.models import BenchmarkRun
from tests.admin.factories import make_result, make_run, server
from tests.admin.pages import Page

pytestmark = pytest.mark.django_db

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&"


def page_of(client: Client, run: BenchmarkRun) -> Page:
    response = client.get(f"/admin/redisdict/benchmarkrun/{run.pk}/change/")
    assert response.status_code == 200
    return Page(response.content)


def figures(number: int) -> str:
    return f"{10_000 + number:,} 0.975 [0.970, 0.980]"


def test_pool_table_is_that_of_the_report(viewer: Client) -> None:
    rows = page_of(viewer, make_run()).rows("Service", "Mode", "Pool", "SET (ops/s)")
    assert list(rows[0]) == [
        "Service", "Mode", "Pool", "SET (ops/s)", "GET (ops/s)", "DEL (ops/s)", "PIPE (ops/s)",
    ]  # fmt: skip
    assert rows[0] == {
        "Service": "Standard Redis",
        "Mode": "ASYNC",
        "Pool": "AsyncConnectionPool",
        "SET (ops/s)": figures(0),
        "GET (ops/s)": figures(1),
        "DEL (ops/s)": figures(2),
        "PIPE (ops/s)": figures(3),
    }
    assert [(row["Service"], row["Mode"], row["Pool"]) for row in rows[:-1]] == [
        (service, mode, pool)
        for service in ("Standard Redis", "Valkey")
        for mode, pool in [
            ("ASYNC", "AsyncConnectionPool"),
            ("ASYNC", "AsyncBlockingConnectionPool"),
            ("ASYNC", "OptimizedAsyncConnectionPool"),
            ("SYNC", "ConnectionPool"),
            ("SYNC", "BlockingConnectionPool"),
        ]
    ]


def test_missing_service_keeps_its_row_with_the_reason(viewer: Client) -> None:
    row = page_of(viewer, make_run()).rows("Service", "Mode", "Pool", "SET (ops/s)")[-1]
    assert row["Service"] == "Dragonfly"
    assert row["SET (ops/s)"] == "no program `dragonfly`; install it or give its address with --url"
    assert row["Mode"] == "\N{EN DASH}"


def test_failed_cell_says_why_beside_the_figures_of_its_row(viewer: Client) -> None:
    common = {"service": "Valkey", "mode": "SYNC", "pool": "ConnectionPool"}
    run = make_run(
        [
            make_result(Table.POOLS, operation="SET", **common),
            make_result(
                Table.POOLS,
                operation="GET",
                status="failed",
                reason="wrong reply",
                ops_per_second=None,
                ratio=None,
                **common,
            ),
        ]
    )
    [row] = page_of(viewer, run).rows("Service", "Mode", "Pool")
    assert (row["SET (ops/s)"], row["GET (ops/s)"]) == (figures(0), "wrong reply")


def test_row_of_failures_with_one_reason_says_it_once(viewer: Client) -> None:
    run = make_run(
        [
            make_result(
                Table.POOLS,
                service="KeyDB",
                mode="SYNC",
                pool="ConnectionPool",
                operation=operation,
                status="failed",
                reason="the server hung up",
                ops_per_second=None,
                ratio=None,
            )
            for operation in ("SET", "GET")
        ]
    )
    assert page_of(viewer, run).text.count("the server hung up") == 1


def test_dict_table_is_that_of_the_report(viewer: Client) -> None:
    rows = page_of(viewer, make_run()).rows("Variant", "Set (ops/s)")
    assert list(rows[0])[:5] == [
        "Variant", "Set (ops/s)", "Get (ops/s)", "Del (ops/s)", "Iter (ops/s)",
    ]  # fmt: skip
    assert [row["Variant"] for row in rows] == [
        "Sync (HSET)", "Sync (No HSET)", "Async (HSET)", "Async (No HSET)",
    ]  # fmt: skip
    assert rows[0]["Set (ops/s)"] == figures(41)


def test_dicts_of_two_services_are_told_apart(viewer: Client) -> None:
    run = make_run(
        [
            make_result(Table.DICT, service=service, variant="Sync (HSET)", operation="Get")
            for service in ("Valkey", "KeyDB")
        ]
    )
    rows = page_of(viewer, run).rows("Service", "Variant", "Get (ops/s)")
    assert [row["Service"] for row in rows] == ["Valkey", "KeyDB"]


def test_pools_under_concurrency(viewer: Client) -> None:
    run = make_run(
        [
            make_result(
                Table.CONCURRENCY,
                service="Valkey",
                mode="ASYNC",
                pool="AsyncConnectionPool",
                operation="GET",
                concurrency=50,
                connections=connections,
            )
            for connections in (0, 5)
        ]
    )
    rows = page_of(viewer, run).rows("Concurrency", "Connections", "GET (ops/s)")
    assert [(row["Concurrency"], row["Connections"]) for row in rows] == [
        ("50", "default"),
        ("50", "5"),
    ]


def test_dicts_under_concurrency_have_rows_beside_those_of_redis_py(viewer: Client) -> None:
    common = {"service": "Valkey", "mode": "ASYNC", "pool": "AsyncConnectionPool"}
    common |= {"concurrency": 50, "connections": 5}
    run = make_run(
        [
            make_result(Table.CONCURRENCY, operation="GET", **common),
            make_result(
                Table.CONCURRENCY,
                operation="Get",
                variant="Async (HSET)",
                ops_per_second=20_000.0,
                **common,
            ),
        ]
    )
    rows = page_of(viewer, run).rows("Pool", "Variant", "GET (ops/s)")
    assert [(row["Variant"], row["GET (ops/s)"].split()[0]) for row in rows] == [
        ("redis-py", "10,000"),
        ("Async (HSET)", "20,000"),
    ]


def test_further_workloads_have_a_row_each(viewer: Client) -> None:
    run = make_run(
        [
            make_result(Table.WORKLOADS, service="Valkey", mode=mode, pool=mode, operation=name)
            for mode in ("ASYNC", "SYNC")
            for name in ("SET 10 B", "CONNECT")
        ]
    )
    rows = page_of(viewer, run).rows("Service", "Operation", "SYNC (ops/s)")
    assert [row["Operation"] for row in rows] == ["SET 10 B", "CONNECT"]
    assert list(rows[0])[2:] == ["ASYNC (ops/s)", "SYNC (ops/s)"]


def test_unbounded_intervals_are_shown_as_such(viewer: Client) -> None:
    run = make_run(
        [
            make_result(
                Table.POOLS,
                service="Valkey",
                mode="SYNC",
                pool="ConnectionPool",
                operation="GET",
                ratio_low=None,
                ratio_high=None,
            )
        ]
    )
    page = page_of(viewer, run)
    [row] = page.rows("Service", "GET (ops/s)")
    assert row["GET (ops/s)"] == "10,000 0.975 [\N{EN DASH}, \N{EN DASH}]"
    assert page.data[0]["series"][0]["low"] == [None]


def test_warnings_that_change_conclusions_come_before_the_figures(viewer: Client) -> None:
    run = make_run(
        warnings=[
            {"name": "drift", "text": "3 cells drift.", "advice": "Trust the ratios."},
            {"name": "settings-differ", "text": "Settings differ.", "advice": "Give all the same."},
        ],
        comparisons=[comparison()],
        error="the server went away",
    )
    text = page_of(viewer, run).text
    places = [
        text.index(part)
        for part in (
            "the server went away",
            "Conclusions",
            "1 warning ",
            "Settings differ. Give all the same.",
            "Services and pools",
            "1 remark that changes no conclusion",
            "3 cells drift. Trust the ratios.",
        )
    ]
    assert places == sorted(places)


def comparison(**fields: Any) -> dict[str, Any]:
    """Two rows as a run compares them: the left one is 20 % slower."""
    return {
        "kind": "service",
        "group": "Standard Redis: pools",
        "table": "pools",
        "service": "Standard Redis",
        "operation": "GET",
        "concurrency": 1,
        "connections": 0,
        "left": "Valkey",
        "right": "Standard Redis",
        "ratio": 0.8,
        "low": 0.79,
        "high": 0.81,
        "rounds": 100,
        "least_difference": 0.01,
        "verdict": "slower",
        **fields,
    }


def test_conclusions_come_first_with_the_strongest_ahead(viewer: Client) -> None:
    unsure = {"ratio": 1.0, "low": 0.5, "high": 2.0, "verdict": "unsure"}
    run = make_run(
        comparisons=[
            comparison(kind="A/A", left="twin", right="twin", ratio=1.0, verdict="same"),
            comparison(),
            comparison(operation="SET", ratio=1.1, low=1.05, high=1.15, verdict="faster"),
            comparison(left="KeyDB", ratio=0.5, low=0.45, high=0.55),
            comparison(left="Dragonfly", **unsure),
            comparison(kind="pool", left="B", right="A", concurrency=50, connections=5),
            comparison(kind="ab", left="commit 2", right="commit 1", ratio=1.3, verdict="faster"),
        ]
    )
    response = viewer.get(f"/admin/redisdict/benchmarkrun/{run.pk}/change/")
    found = response.context["conclusions"]
    assert [(str(title), [pair.left for pair in pairs]) for title, pairs in found["opened"]] == [
        ("Services", ["KeyDB", "Valkey"]),
        ("Pools", ["B"]),
        ("Further comparisons", ["commit 2"]),
    ]
    assert [(str(title), [pair.left for pair in pairs]) for title, pairs in found["folded"]] == [
        ("Services", ["Dragonfly"]),
    ]
    page = Page(response.content)
    assert "2 faster 3 slower 1 undecided" in page.text
    assert "B against A Standard Redis, 50 workers, 5 connections" in page.text
    assert "GET 0.80 slower SET 1.10 faster" in page.text
    rows = page.rows("Compared", "Operation", "Ratio", "Verdict")
    assert {"Compared": "Valkey against Standard Redis", "Operation": "GET",
            "Ratio": "0.800 [0.790, 0.810]", "Verdict": "slower"} in rows  # fmt: skip
    assert len(rows) == 6
    assert "twin" not in page.text
    assert page.text.index("Conclusions") < page.text.index("Services and pools")


def test_marks_lie_where_their_ratios_are(viewer: Client) -> None:
    run = make_run(
        comparisons=[
            comparison(operation=name, ratio=value, low=low, high=high, verdict=verdict)
            for name, value, low, high, verdict in (
                ("SET", 0.5, 0.4, 0.6, "slower"),
                ("GET", 1.0, 0.0, 1e9, "unsure"),
                ("DEL", 2.0, 1.8, 2.2, "faster"),
            )
        ]
    )
    response = viewer.get(f"/admin/redisdict/benchmarkrun/{run.pk}/change/")
    [(_title, [pair])] = response.context["conclusions"]["opened"]
    places = [float(mark.at.rstrip("%")) for mark in pair.marks]
    assert places == sorted(places)
    assert places[1] == pytest.approx((places[0] + places[2]) / 2, abs=0.1)  # logarithmic
    assert pair.marks[1].at == pair.axis.one
    for mark in pair.marks:
        low, at, high = (float(end.rstrip("%")) for end in (mark.low, mark.at, mark.high))
        assert 0 < low <= at <= high < 100
    assert len({mark.shape for mark in pair.marks}) == len({mark.lane for mark in pair.marks}) == 3
    ticks = response.context["conclusions"]["axis"].ticks
    assert [tick.text for tick in ticks] == sorted((tick.text for tick in ticks), key=float)
    assert {"0.50", "1.00", "2.00"} <= {tick.text for tick in ticks}
    at = [float(tick.at.rstrip("%")) for tick in ticks]
    assert min(right - left for left, right in pairwise(at)) > 13  # each label has its room


def test_without_comparisons_the_first_chart_is_the_picture(viewer: Client) -> None:
    page = page_of(viewer, make_run())
    assert "Conclusions" not in page.text
    assert page.text.index("Throughput: Services and pools, ASYNC") < page.text.index("1 warning")


def test_run_that_proves_nothing_says_so(viewer: Client) -> None:
    pairs = [comparison(left=f"Service {number}", verdict="unsure") for number in range(7)]
    run = make_run(comparisons=pairs)
    response = viewer.get(f"/admin/redisdict/benchmarkrun/{run.pk}/change/")
    page = Page(response.content)
    assert "7 undecided" in page.text
    assert "Nothing is decided." in page.text
    assert "2 further pairs" in page.text
    # The page begins with a picture all the same.
    [(_title, shown)] = response.context["conclusions"]["opened"]
    assert len(shown) == 5


def test_environment_and_servers_with_their_differences_open(viewer: Client) -> None:
    page = page_of(viewer, make_run())
    differing, equal = [
        table for table in page.tables if table[0] == ["Fact", "Standard Redis", "Valkey", "Same?"]
    ]
    assert differing[1:] == [
        ["name", "Redis 7.0.15", "Valkey 9.1.2", "differs"],
        ["executable", "redis-server", "valkey-server", "differs"],
        ["config: appendonly", "no", "yes", "differs"],
    ]
    assert [row[-1] for row in equal[1:]] == ["same"] * 4 + ["varies"]
    facts = [row for table in page.tables for row in table if len(row) == 2]
    assert ["packages: redis", "8.1.0"] in facts
    assert ["packages: uvloop", "\N{EN DASH}"] in facts
    assert ["is virtual machine", "yes"] in facts
    assert ["precision: min rounds", "30"] in facts


def test_charts_have_the_numbers_of_the_tables(viewer: Client) -> None:
    page = page_of(viewer, make_run())
    [throughput] = [
        data for data in page.data if data["labels"][-1] == "Valkey · BlockingConnectionPool"
        and data["kind"] == "bars"
    ]  # fmt: skip
    assert [series["label"] for series in throughput["series"]] == ["SET", "GET", "DEL", "PIPE"]
    assert [series["axis"] for series in throughput["series"]] == ["main"] * 3 + ["second"]
    first = throughput["series"][0]
    assert first["values"] == [10_012, 10_016, 10_032, 10_036]
    assert first["low"][0] == pytest.approx(10_012 * 0.970 / 0.975)
    assert first["high"][0] == pytest.approx(10_012 * 0.980 / 0.975)

    [latency] = [
        data for data in page.data if data["kind"] == "dots" and len(data["labels"]) == 4
    ][:1]  # fmt: skip
    assert latency["axis"]["logarithmic"] is True
    # Too few calls for p99.9, so nothing is said about it.
    assert [(series["label"], series["values"][0]) for series in latency["series"]] == [
        ("p50", 30.0), ("p90", 40.5), ("p99", 99.0), ("max", 1234.0),
    ]  # fmt: skip
    [spread] = [data for data in page.data if "deviation" in data["axis"]["label"]][:1]
    assert spread["series"][0]["values"][0] == pytest.approx(4.0)
    # A table for every chart, one row for every label.
    assert page.text.count("Numbers: ") == len(page.data)


def test_charts_leave_out_what_was_not_measured(viewer: Client) -> None:
    page = page_of(viewer, make_run())
    labels = [label for data in page.data for label in data["labels"]]
    assert labels
    assert not any("Dragonfly" in label for label in labels)


def test_run_without_results_yet(viewer: Client) -> None:
    run = make_run([], status="running", finished_at=None, noise_floor=None, environment={})
    page = page_of(viewer, run)
    assert "There are no results yet." in page.text
    assert page.data == []


def test_markup_in_stored_texts_is_text(viewer: Client) -> None:
    results = [
        make_result(
            table,
            service=HOSTILE,
            mode="SYNC",
            pool=HOSTILE,
            variant=HOSTILE[:40],
            operation=HOSTILE[:40],
        )
        for table in Table
    ]
    run = make_run(
        results,
        label=HOSTILE,
        machine=HOSTILE,
        commit=HOSTILE,
        error=HOSTILE,
        spec={HOSTILE: HOSTILE},
        environment={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}], "servers": {HOSTILE: server(HOSTILE)}},
        warnings=[{"name": HOSTILE, "text": HOSTILE, "advice": HOSTILE}],
    )
    response = viewer.get(f"/admin/redisdict/benchmarkrun/{run.pk}/change/")
    html = response.content.decode()
    assert "<img" not in html
    page = Page(html)
    assert page.inline_code == []
    assert page.text.count(HOSTILE) > 10
    # The data blocks end where they should, so that the script reads them whole.
    assert any(HOSTILE in label for data in page.data for label in data["labels"])


def test_figures_are_written_as_the_language_wants(viewer: Client) -> None:
    run = make_run()
    with translation.override("de"):
        response = viewer.get(
            f"/admin/redisdict/benchmarkrun/{run.pk}/change/", headers={"accept-language": "de"}
        )
    page = Page(response.content)
    assert "10.000 0,975 [0,970, 0,980]" in [cell for t in page.tables for row in t for cell in row]
    # Data for the script stay as JSON wants them.
    assert re.search(r'"values": \[10012\.0,', response.content.decode())


def test_cost_does_not_grow_with_the_results(viewer: Client) -> None:
    page_of(viewer, make_run())  # the first page of a process asks for content types, too
    counts = []
    for size in (1, 200):
        run = make_run(
            [
                make_result(Table.WORKLOADS, service="Valkey", mode="SYNC", operation=str(number))
                for number in range(size)
            ]
        )
        with CaptureQueriesContext(connection) as queries:
            page_of(viewer, run)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 10


def test_unknown_run_leads_back_to_the_start(viewer: Client) -> None:
    response = viewer.get("/admin/redisdict/benchmarkrun/999/change/")
    assert response.headers["Location"] == "/admin/"
