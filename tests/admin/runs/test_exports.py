"""Exports: the same files as from the command line, for one run or many."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest
from django.test import Client

from redisdict.bench.choices import Table
from redisdict.bench.report.files import from_json
from tests.admin.factories import make_result, make_run
from tests.bench.records import whole

pytestmark = pytest.mark.django_db

LIST = "/admin/redisdict/benchmarkrun/"
EXPORT = f"{LIST}export/"


def test_csv_has_a_line_for_every_cell(viewer: Client) -> None:
    run = make_run(label="Äpfel & <Birnen>")
    response = viewer.get(EXPORT, {"run": run.pk, "format": "csv"})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="benchmark-run-{run.pk}-apfel-birnen.csv"'
    )
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert len(rows) == run.results.count()
    assert rows[0]["label"] == "Äpfel & <Birnen>"
    assert float(rows[0]["ops_per_second"]) == 10_000.0


def test_json_can_be_imported_again(viewer: Client) -> None:
    run = make_run()
    response = viewer.get(EXPORT, {"run": run.pk, "format": "json"})
    assert response.headers["Content-Type"].startswith("application/json")
    assert whole(from_json(response.content.decode())) == whole(run)


def test_markdown_is_the_report(viewer: Client) -> None:
    run = make_run()
    text = viewer.get(EXPORT, {"run": run.pk, "format": "markdown"}).content.decode()
    assert (
        "| Service | Mode | Pool | SET (ops/s) | GET (ops/s) | DEL (ops/s) | PIPE (ops/s) |" in text
    )
    assert "| Variant | Set (ops/s) | Get (ops/s) | Del (ops/s) | Iter (ops/s) |" in text


def test_several_runs_come_as_an_archive(viewer: Client) -> None:
    runs = [make_run(label="one"), make_run(label="two")]
    response = viewer.get(EXPORT, {"run": [run.pk for run in runs], "format": "json"})
    assert response.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        documents = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    assert {name: document["run"]["label"] for name, document in documents.items()} == {
        f"benchmark-run-{runs[0].pk}-one.json": "one",
        f"benchmark-run-{runs[1].pk}-two.json": "two",
    }


@pytest.mark.parametrize("format_name", ["csv", "json", "markdown"])
def test_actions_of_the_list(viewer: Client, format_name: str) -> None:
    run = make_run()
    response = viewer.post(
        LIST, {"action": f"export_{format_name}", "_selected_action": [run.pk]}, follow=True
    )
    assert response.redirect_chain == [(f"{EXPORT}?run={run.pk}&format={format_name}", 302)]
    assert response.headers["Content-Disposition"].startswith("attachment; ")


@pytest.mark.parametrize(
    "query", [{}, {"run": "999", "format": "csv"}, {"run": "x", "format": "csv"}, {"format": "exe"}]
)
def test_nothing_to_export_is_not_found(viewer: Client, query: dict[str, str]) -> None:
    make_run()
    assert viewer.get(EXPORT, query).status_code == 404


def test_only_those_who_may_see_runs(outsider: Client, client: Client) -> None:
    query = {"run": make_run().pk, "format": "csv"}
    assert outsider.get(EXPORT, query).status_code == 403
    assert client.get(EXPORT, query).status_code == 302


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")']
)
def test_no_text_becomes_a_formula_in_a_spreadsheet(viewer: Client, text: str) -> None:
    run = make_run(
        [
            make_result(
                Table.POOLS,
                service=text,
                mode="SYNC",
                pool=text,
                operation=text,
                status="failed",
                reason=text,
                ratio=None,
            )
        ],
        label=text,
    )
    response = viewer.get(EXPORT, {"run": run.pk, "format": "csv"})
    [row] = csv.DictReader(io.StringIO(response.content.decode(), newline=""))
    for name in ("label", "service", "pool", "operation", "reason"):
        assert row[name] == f"'{text}"


def test_numbers_stay_numbers(viewer: Client) -> None:
    run = make_run([make_result(Table.POOLS, service="S", operation="SET", ops_per_second=-1.5)])
    response = viewer.get(EXPORT, {"run": run.pk, "format": "csv"})
    [row] = csv.DictReader(io.StringIO(response.content.decode()))
    assert row["ops_per_second"] == "-1.5"
