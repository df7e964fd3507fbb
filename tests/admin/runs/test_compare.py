"""Runs beside one another: verdicts, intervals, and why a cell can't be compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from redisdict.bench.choices import Table
from redisdict.models import BenchmarkResult, BenchmarkRun
from tests.admin.factories import FIRST_DAY, make_result, make_run
from tests.admin.pages import Page

pytestmark = pytest.mark.django_db

LIST = "/admin/redisdict/benchmarkrun/"
ENVIRONMENT = {"machine_hash": "a", "cpu_model": "Test CPU"}


def cell(operation: str, ratio: float, half_width: float = 0.005, **fields: Any) -> BenchmarkResult:
    return make_result(
        Table.POOLS,
        service="Valkey",
        mode="SYNC",
        pool="ConnectionPool",
        operation=operation,
        ratio=ratio,
        ratio_low=ratio * (1 - half_width),
        ratio_high=ratio * (1 + half_width),
        **fields,
    )


def run_of(label: str, results: Sequence[BenchmarkResult], day: int = 0, **fields: Any) -> int:
    values = {"environment": ENVIRONMENT, "noise_floor": 0.0, **fields}
    return make_run(results, label=label, started_at=FIRST_DAY + timedelta(days=day), **values).pk


def compare(client: Client, *keys: int) -> Page:
    response = client.get(f"{LIST}compare/", {"run": keys})
    assert response.status_code == 200
    return Page(response.content)


def compared(page: Page) -> list[dict[str, str]]:
    """The compared cells in the order of the page: those decided, then each folded table."""
    return [
        dict(zip(table[0], row, strict=True))
        for table in page.tables
        if table[0][:1] == ["Cell"]
        for row in table[1:]
    ]


def verdicts(page: Page) -> dict[str, str]:
    return {row["Cell"].split()[-1]: row["Verdict"] for row in compared(page)}


def test_verdicts_and_their_counts(viewer: Client) -> None:
    before = run_of("before", [cell(name, 1.0) for name in ("A", "B", "C", "D")])
    after = run_of(
        "after", [cell("A", 1.2), cell("B", 0.8), cell("C", 1.0), cell("D", 1.0, 0.2)], day=1
    )
    page = compare(viewer, after, before)
    assert verdicts(page) == {"A": "faster", "B": "slower", "C": "same", "D": "undecided"}
    assert "1 faster 1 slower 1 same 1 undecided 0 not comparable" in page.text
    assert "after (2026-03-02 12:00) against before (2026-03-01 12:00)" in page.text


def test_greatest_change_comes_first_on_an_axis_above_all(viewer: Client) -> None:
    ratios = {"A": 1.5, "B": 0.3, "C": 1.0, "D": 3.0, "E": 0.5}
    before = run_of("before", [cell(name, 1.0) for name in ratios])
    after = run_of("after", [cell(name, ratio) for name, ratio in ratios.items()], day=1)
    response = viewer.get(f"{LIST}compare/", {"run": (before, after)})
    [one] = response.context["compared"]
    lines = [line.change.after.operation for line in one["opened"]]
    assert lines == ["B", "D", "E", "A"]
    [(_name, [undecided])] = one["folded"]
    assert undecided.change.after.operation == "C"
    places = [float(line.marks[0].at.rstrip("%")) for line in (*one["opened"], undecided)]
    assert [places.index(place) for place in sorted(places)] == [0, 2, 4, 3, 1]
    assert float(one["axis"].one.rstrip("%")) == pytest.approx(places[-1], abs=0.1)
    assert "1.00" in [tick.text for tick in one["axis"].ticks]
    html = response.content.decode()
    assert html.index('class="redisdict-axis"') < html.index('class="redisdict-marks"')
    assert "<details open" not in html


def test_most_decided_cells_stand_open_and_no_more(viewer: Client) -> None:
    names = [f"OP{number:02}" for number in range(40)]
    before = run_of("before", [cell(name, 1.0) for name in names])
    after = run_of(
        "after", [cell(name, 2 + number / 10) for number, name in enumerate(names)], day=1
    )
    [one] = viewer.get(f"{LIST}compare/", {"run": (before, after)}).context["compared"]
    assert [line.change.after.operation for line in one["opened"]] == names[:9:-1]
    [(name, rest)] = one["folded"]
    assert (name, [line.change.after.operation for line in rest]) == ("decided", names[9::-1])
    page = compare(viewer, before, after)
    assert "10 smaller changes" in page.text
    assert len(compared(page)) == 40


def test_noise_floor_hides_what_it_could_explain(viewer: Client) -> None:
    before = run_of("before", [cell("A", 1.0)], noise_floor=0.5)
    after = run_of("after", [cell("A", 1.2)], day=1)
    assert verdicts(compare(viewer, before, after)) == {"A": "undecided"}


def test_cells_that_cannot_be_compared_say_why(viewer: Client) -> None:
    without_interval = cell("C", 1.0)
    without_interval.ratio_low = None
    before = run_of(
        "before", [cell("A", 1.0), cell("B", 1.0), without_interval, cell("D", 1.0), cell("E", 1.0)]
    )
    after = run_of(
        "after",
        [
            cell("A", 1.0, placement="split"),
            cell("B", 1.0, status="failed", reason="gone", ops_per_second=None),
            cell("C", 1.0),
            cell("D", 1.0, details={"reference": "another"}),
            cell("F", 1.0),
        ],
        day=1,
    )
    page = compare(viewer, before, after)
    rows = {row["Cell"].split()[-1]: row for row in compared(page)}
    assert "placement" in rows["A"]["Verdict"]
    assert "failed" in rows["B"]["Verdict"]
    assert "interval" in rows["C"]["Verdict"]
    assert "reference" in rows["D"]["Verdict"]
    assert {row["Change"] for row in rows.values()} == {"\N{EN DASH}"}
    assert all(row["Verdict"].startswith("not comparable ") for row in rows.values())
    assert "2 cells were measured only before" in page.text  # B failed now
    assert "1 cell was measured only now Valkey · SYNC ConnectionPool · F" in page.text


def test_runs_of_two_machines_are_not_compared(viewer: Client) -> None:
    before = run_of("before", [cell("A", 1.0)])
    after = run_of("after", [cell("A", 2.0)], day=1, environment={"machine_hash": "b"})
    page = compare(viewer, before, after)
    assert verdicts(page)["A"].startswith("not comparable another machine")
    assert (
        "The figures of these two runs can\N{RIGHT SINGLE QUOTATION MARK}t be compared" in page.text
    )


def test_baseline_is_what_others_are_compared_with(viewer: Client) -> None:
    old = run_of("old", [cell("A", 1.0)])
    baseline = run_of("base", [cell("A", 2.0)], day=1, is_baseline=True)
    new = run_of("new", [cell("A", 4.0)], day=2)
    page = compare(viewer, old, baseline, new)
    assert [row["Verdict"] for row in compared(page)] == ["slower", "faster"]
    assert "old (2026-03-01 12:00) against base" in page.text
    assert "new (2026-03-03 12:00) against base" in page.text


def test_differences_of_specification_and_environment(viewer: Client) -> None:
    before = run_of("before", [cell("A", 1.0)], spec={"value_bytes": 100, "seed": 1})
    after = run_of(
        "after",
        [cell("A", 1.0)],
        day=1,
        spec={"value_bytes": 200, "seed": 1},
        environment={**ENVIRONMENT, "load_average": [9]},
    )
    page = compare(viewer, before, after)
    differing, equal, environment = [table for table in page.tables if table[0][0] == "Fact"]
    assert differing[1:] == [["value bytes", "100", "200", "differs"]]
    assert equal[1:] == [["seed", "1", "1", "same"]]
    assert environment[-1] == ["load average", "\N{EN DASH}", "9", "varies"]
    assert "1 fact that is the same, or varies with every start" in page.text
    assert "There is no difference." in page.text


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_or_too_many_runs(viewer: Client, count: int) -> None:
    keys = [run_of("one", [], day=day) for day in range(count)]
    response = viewer.get(f"{LIST}compare/", {"run": keys}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "Select two to 6 runs to compare." in Page(response.content).text


def test_action_of_the_list(viewer: Client) -> None:
    keys = [run_of("one", [], day=day) for day in (0, 1)]
    response = viewer.post(LIST, {"action": "compare", "_selected_action": keys})
    assert response.headers["Location"] == f"{LIST}compare/?run={keys[0]}&run={keys[1]}"


def test_cost_does_not_grow_with_the_runs(viewer: Client) -> None:
    keys = [run_of("one", [cell("A", 1.0)], day=day) for day in range(6)]
    with CaptureQueriesContext(connection) as queries:
        compare(viewer, *keys)
    assert len(queries) <= 10


def test_only_those_who_may_see_runs(outsider: Client, client: Client) -> None:
    keys = [run_of("one", [], day=day) for day in (0, 1)]
    assert outsider.get(f"{LIST}compare/", {"run": keys}).status_code == 403
    assert client.get(f"{LIST}compare/", {"run": keys}).status_code == 302


def test_markup_in_stored_texts_is_text(viewer: Client) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    runs = [
        make_run(
            [make_result(Table.DICT, service=hostile, variant="v", operation=hostile)],
            label=hostile,
            commit=hostile,
            started_at=FIRST_DAY + timedelta(days=day),
            environment={"machine_hash": "a", hostile: f"{day}{hostile}"},
            spec={hostile: f"{day}{hostile}", "batch_size": f"{day}{hostile}"},
        )
        for day in (0, 1)
    ]
    html = viewer.get(f"{LIST}compare/", {"run": [run.pk for run in runs]}).content.decode()
    assert "<img" not in html
    assert Page(html).inline_code == []
    assert BenchmarkRun.objects.count() == 2
