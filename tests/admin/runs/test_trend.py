"""The trend of a cell over the runs of one machine."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from redisdict.bench.choices import Table
from redisdict.models import BenchmarkRun
from tests.admin.factories import FIRST_DAY, make_result, make_run
from tests.admin.pages import Page

pytestmark = pytest.mark.django_db

TREND = "/admin/redisdict/benchmarkrun/trend/"
KEY = ["pools", "Valkey", "SYNC", "ConnectionPool", "", "GET", 1, 0]


def run_with(day: int, ratio: float, half_width: float = 0.005, **fields: Any) -> BenchmarkRun:
    """A run on this day whose GET has this ratio; its SET is always 2."""
    common = {"service": "Valkey", "mode": "SYNC", "pool": "ConnectionPool"}
    values = {"environment": {"machine_hash": "a"}, "noise_floor": 0.0, "machine": "M", **fields}
    return make_run(
        [
            make_result(
                Table.POOLS,
                operation="GET",
                ratio=ratio,
                ratio_low=ratio * (1 - half_width),
                ratio_high=ratio * (1 + half_width),
                **common,
            ),
            make_result(Table.POOLS, operation="SET", ratio=2.0, **common),
        ],
        label=f"day {day}",
        commit=f"c{day}",
        started_at=FIRST_DAY + timedelta(days=day),
        **values,
    )


def trend(client: Client, **query: Any) -> Page:
    response = client.get(TREND, {"cell": json.dumps(KEY), **query})
    assert response.status_code == 200
    return Page(response.content)


def test_steps_are_found_and_marked(viewer: Client) -> None:
    for day, ratio in enumerate([1.0, 1.001, 1.2, 1.199, 0.9]):
        run_with(day, ratio)
    page = trend(viewer)
    rows = page.rows("Run", "Ratio", "Verdict")
    assert [(row["Commit"], row["Verdict"]) for row in rows] == [
        ("c4", "slower"), ("c3", "same"), ("c2", "faster"), ("c1", "same"), ("c0", "first"),
    ]  # fmt: skip
    assert "2 proven changes." in page.text
    [data] = page.data
    assert data["kind"] == "lines"
    assert data["series"][0]["values"] == [1.0, 1.001, 1.2, 1.199, 0.9]
    assert data["series"][1]["values"] == [None, None, 1.2, None, 0.9]


def test_slow_decline_is_found(viewer: Client) -> None:
    for day in range(6):
        run_with(day, 1.0 - 0.01 * day, half_width=0.008)
    rows = trend(viewer).rows("Run", "Ratio", "Verdict")
    assert "slower" in [row["Verdict"] for row in rows]


def test_another_method_begins_a_level_of_its_own(viewer: Client) -> None:
    run_with(0, 1.0, spec={"value_bytes": 100})
    run_with(1, 3.0, spec={"value_bytes": 200})
    run_with(2, 3.0, spec={"value_bytes": 200})
    verdicts = [row["Verdict"] for row in trend(viewer).rows("Run", "Ratio", "Verdict")]
    assert verdicts[0] == "same"
    assert verdicts[1].startswith("not comparable")
    assert verdicts[2] == "first"


def test_only_runs_of_the_chosen_machine(viewer: Client) -> None:
    run_with(0, 1.0)
    run_with(1, 1.0, machine="Other")
    for machine, commit in (("M", "c0"), ("Other", "c1")):
        [row] = trend(viewer, machine=machine).rows("Run", "Ratio", "Verdict")
        assert row["Commit"] == commit


def test_latest_machine_and_first_cell_are_shown_at_first(viewer: Client) -> None:
    run_with(0, 1.0)
    run_with(1, 1.5, machine="Other")
    page = Page(viewer.get(TREND).content)
    [row] = page.rows("Run", "Ratio", "Verdict")
    assert row["Commit"] == "c1"
    assert row["Ratio"].startswith("1.500")


@pytest.mark.parametrize(
    "cell", ["", "nonsense", "[]", "null", '["pools"]', '["pools","<b>","","","","",1,0]']
)
def test_unknown_cell_is_the_first_one(viewer: Client, cell: str) -> None:
    run_with(0, 1.0)
    page = Page(viewer.get(TREND, {"cell": cell, "machine": "nowhere"}).content)
    assert page.rows("Run", "Ratio")[0]["Ratio"].startswith("1.000")


def test_without_runs(viewer: Client) -> None:
    assert "There are no figures yet." in Page(viewer.get(TREND).content).text


def test_cost_does_not_grow_with_the_runs(viewer: Client) -> None:
    for day in range(30):
        run_with(day, 1.0)
    with CaptureQueriesContext(connection) as queries:
        trend(viewer)
    assert len(queries) <= 10


def test_only_those_who_may_see_runs(outsider: Client, client: Client) -> None:
    assert outsider.get(TREND).status_code == 403
    assert client.get(TREND).status_code == 302
