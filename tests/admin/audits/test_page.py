"""The page of audits: the hours, the nines of each day, and who may see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from redisdict.models import AuditCount
from tests.admin.pages import Page

pytestmark = pytest.mark.django_db

LIST = "/admin/redisdict/auditcount/"

NOON = timezone.now().astimezone(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def make(day: int, model: str = "shop.Product", hour: int = 0, **counts: Any) -> AuditCount:
    moment = NOON - timedelta(days=day, hours=hour)
    values = {"passes": 1, "judged": 1000, **counts}
    return AuditCount.objects.create(
        hour=moment, model=model, database="default", alias="default", **values
    )


@pytest.fixture
def auditor(client_with: Callable[..., Client]) -> Client:
    return client_with("view_auditcount")


def page(client: Client) -> Page:
    response = client.get(LIST)
    assert response.status_code == 200
    return Page(response.content)


def test_hours_and_nines(auditor: Client) -> None:
    make(0, judged=3_000_000)
    make(1, judged=10_000, disagreed=100, repaired=100, by_age={"under_1s": 90, "over_1h": 10})
    shown = page(auditor)
    rows = shown.rows("Judged", "Nines, at least")
    assert [row["Judged"] for row in rows] == ["3,000,000", "10,000"]
    assert [row["Nines, at least"] for row in rows] == ["6.0", "1.9"]
    assert rows[1]["Disagreed, by age"] == "under 1s: 90, over 1h: 10"
    [chart] = shown.data
    assert [series["label"] for series in chart["series"]] == ["shop.Product"]
    assert [round(value, 1) for value in chart["series"][0]["values"]] == [1.9, 6.0]
    assert shown.inline_code == []


def test_a_day_adds_up_its_hours(auditor: Client) -> None:
    make(0, judged=1_500_000)
    make(0, hour=1, judged=1_500_000)
    make(0, model="shop.Category", judged=30)
    [chart] = page(auditor).data
    values = {series["label"]: round(series["values"][0], 1) for series in chart["series"]}
    assert values == {"shop.Category": 1.0, "shop.Product": 6.0}


def test_without_audits_there_is_no_chart(auditor: Client) -> None:
    make(200)
    assert page(auditor).data == []


def test_many_hours_cost_no_more_queries(auditor: Client) -> None:
    make(0)
    with CaptureQueriesContext(connection) as few:
        page(auditor)
    for day in range(30):
        make(day, model="shop.Category")
    with CaptureQueriesContext(connection) as many:
        page(auditor)
    assert len(many) <= len(few)


def test_who_may_see_it(outsider: Client, client_with: Callable[..., Client]) -> None:
    one = make(0)
    assert outsider.get(LIST).status_code == 403
    assert client_with("view_benchmarkrun").get(LIST).status_code == 403
    cleaner = client_with("view_auditcount", "delete_auditcount")
    assert cleaner.get(f"{LIST}add/").status_code == 403
    data = {"action": "delete_selected", "_selected_action": [one.pk], "post": "yes"}
    assert cleaner.post(LIST, data).status_code == 302
    assert not AuditCount.objects.exists()


def test_its_name() -> None:
    one = AuditCount(model="shop.Product", hour=datetime(2026, 11, 29, 17, tzinfo=UTC))
    assert str(one) == "shop.Product, 2026-11-29 17:00"
