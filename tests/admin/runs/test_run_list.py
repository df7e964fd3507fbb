"""The list of runs: columns, filters, search, the baseline, deletion, permissions and cost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.db.models.signals import post_init
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from redisdict.models import BenchmarkResult, BenchmarkRun
from tests.admin.factories import FIRST_DAY, make_run, make_runs
from tests.admin.pages import Page

pytestmark = pytest.mark.django_db

LIST = "/admin/redisdict/benchmarkrun/"


def labels(client: Client, query: str = "") -> list[str]:
    page = Page(client.get(f"{LIST}?{query}").content)
    return [row["Label"] for row in page.rows("Label")] if page.has_table("Label") else []


def test_columns_of_the_list(viewer: Client) -> None:
    # The logarithm of how much faster one copy of the reference may be: 1.4 times as fast.
    make_run(is_baseline=True, noise_floor=math.log(1.4))
    [row] = Page(viewer.get(LIST).content).rows("Label")
    assert row == {
        "": "",  # the box to select it
        "Started": "March 1, 2026, noon",
        "Label": "before",
        "Preset": "quick",
        "Status": "finished",
        "Warnings": "1",
        "Noise floor": "40.0 %",
        "Baseline": "yes",
        "Services": "Standard Redis, Valkey",
        "Commit": "0123456789ab",
        "Machine": "Linux x86_64, Test CPU, 2 CPUs",
    }


def test_what_changes_no_conclusion_is_no_warning(viewer: Client) -> None:
    names = ("noise-floor", "drift", "client-bound")
    make_run(warnings=[{"name": name, "text": "Found.", "advice": "Do."} for name in names])
    [row] = Page(viewer.get(LIST).content).rows("Label")
    assert row["Warnings"] == "1"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status__exact=failed", ["broken"]),
        ("preset=standard", ["long"]),
        ("service=Valkey", ["broken", "long"]),
        ("service=KeyDB", []),
        ("is_baseline__exact=1", ["long"]),
        ("machine=elsewhere", ["broken"]),
        ("q=lon", ["long"]),
        ("q=fedcba", ["broken"]),
        ("q=nothing+of+it", []),
        ("started_at__year=2026&started_at__month=3&started_at__day=2", ["long"]),
    ],
)
def test_filters_and_search(viewer: Client, query: str, expected: list[str]) -> None:
    make_run(label="broken", status="failed", machine="elsewhere", commit="fedcba")
    make_run(label="empty", results=[], services=[], started_at=FIRST_DAY - timedelta(days=99))
    make_run(
        label="long", preset="standard", is_baseline=True, started_at=FIRST_DAY + timedelta(days=1)
    )
    assert sorted(labels(viewer, query)) == expected


def test_one_run_becomes_the_baseline(client_with: Callable[..., Client]) -> None:
    client = client_with("view_benchmarkrun", "change_benchmarkrun")
    old, new = make_run(label="old", is_baseline=True), make_run(label="new")
    client.post(LIST, {"action": "set_baseline", "_selected_action": [new.pk]})
    assert list(BenchmarkRun.objects.filter(is_baseline=True)) == [new]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(new.pk), "Made the baseline.")

    client.post(LIST, {"action": "set_baseline", "_selected_action": [old.pk, new.pk]})
    assert list(BenchmarkRun.objects.filter(is_baseline=True)) == [new]


def test_deletion_names_the_run_and_counts_its_results(client_with: Callable[..., Client]) -> None:
    client = client_with("view_benchmarkrun", "delete_benchmarkrun")
    run = make_run()
    count = run.results.count()
    page = Page(client.get(f"{LIST}{run.pk}/delete/").content)
    assert f"Benchmark results: {count}" in page.text
    assert "Test CPU" not in page.text

    client.post(f"{LIST}{run.pk}/delete/", {"post": "yes"})
    assert not BenchmarkRun.objects.exists()
    assert not BenchmarkResult.objects.exists()
    assert LogEntry.objects.get().is_deletion()


def test_many_runs_are_deleted_in_few_queries(client_with: Callable[..., Client]) -> None:
    client = client_with("view_benchmarkrun", "delete_benchmarkrun")
    make_runs(50, results_each=20)
    chosen = list(BenchmarkRun.objects.values_list("pk", flat=True))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.post(LIST, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert not BenchmarkResult.objects.exists()
    assert len(queries) <= 20


def test_viewer_can_only_look(viewer: Client) -> None:
    run = make_run()
    html = viewer.get(LIST).content.decode()
    assert f"{LIST}add/" not in Page(html).links
    assert set(re.findall(r'<option value="([a-z_]+)"', html)) == {
        "compare",
        "export_csv",
        "export_json",
        "export_markdown",
    }
    assert viewer.get(f"{LIST}add/").status_code == 403
    assert viewer.get(f"{LIST}{run.pk}/delete/").status_code == 403
    assert viewer.post(f"{LIST}{run.pk}/delete/", {"post": "yes"}).status_code == 403
    assert viewer.post(f"{LIST}{run.pk}/change/", {"label": "mine"}).status_code == 403
    for action in ("set_baseline", "delete_selected"):
        viewer.post(LIST, {"action": action, "_selected_action": [run.pk], "post": "yes"})
    run.refresh_from_db()
    assert (run.label, run.is_baseline) == ("before", False)


def test_nobody_edits_a_run(admin_client: Client) -> None:
    run = make_run()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{run.pk}/change/", {"label": "mine"}).status_code == 403


def test_outsider_sees_nothing(outsider: Client) -> None:
    run = make_run()
    assert outsider.get(LIST).status_code == 403
    for page in ("change", "history", "delete"):
        assert outsider.get(f"{LIST}{run.pk}/{page}/").status_code == 403
    assert "Redis dict" not in Page(outsider.get("/admin/").content).text


def test_visitor_is_asked_to_log_in(client: Client) -> None:
    for path in (LIST, f"{LIST}{make_run().pk}/change/"):
        assert client.get(path).headers["Location"] == f"{reverse('admin:login')}?next={path}"


@pytest.mark.parametrize(
    ("runs", "results_each"), [(500, 4), pytest.param(500, 200, marks=pytest.mark.deep)]
)
def test_many_runs_cost_a_page_of_runs(
    client_with: Callable[..., Client],
    request: pytest.FixtureRequest,
    runs: int,
    results_each: int,
) -> None:
    """However many there are: a page reads the runs that it shows, and no result."""
    client = client_with("view_benchmarkrun", "change_benchmarkrun", "delete_benchmarkrun")
    make_runs(runs, results_each=results_each)
    read: list[type[Model]] = []

    def note(sender: type[Model], **_: Any) -> None:
        read.append(sender)

    for model in (BenchmarkRun, BenchmarkResult):
        post_init.connect(note, sender=model)
        request.addfinalizer(partial(post_init.disconnect, note, sender=model))
    for query in ("", "p=9", "service=Valkey", "q=run+4", "started_at__year=2026"):
        with CaptureQueriesContext(connection) as queries:
            response = client.get(f"{LIST}?{query}")
        assert response.status_code == 200
        assert len(queries) <= 10, (query, [entry["sql"] for entry in queries])
        assert 0 < len(read) <= 100, (query, len(read))
        assert set(read) == {BenchmarkRun}
        read.clear()


def test_markup_in_stored_texts_is_text(admin_client: Client, admin_user: User) -> None:
    hostile = "<script>alert(1)</script>"
    make_run(
        label=hostile,
        machine=hostile,
        commit=hostile,
        preset=hostile,
        services=[{"title": hostile, "source": "", "reason": ""}],
    )
    html = admin_client.get(LIST).content.decode()
    assert hostile not in html
    assert Page(html).text.count(hostile) >= 5
    assert Page(html).inline_code == []
