"""Show the counts of audits of cached models, and how many nines they prove over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from django.contrib import admin
from django.forms import Media
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from redisdict.admin.pages import PagesAdmin
from redisdict.admin.runs import charts
from redisdict.admin.runs.charts import Chart, Point, Series
from redisdict.modelcache.audit.nines import at_least
from redisdict.models import AuditCount
from redisdict.templatetags.redisdict_figures import NOTHING, ratio, whole

#: Days that the chart shows.
DAYS = 90

#: Lines of the chart; of more models the ones with the most disagreements and cells are shown.
MOST_LINES = 6

CHART_MEDIA = Media(
    js=[
        Script(f"redisdict/{name}", defer=True)  # type: ignore[misc]  # unknown to the stubs
        for name in ("vendor/chartjs/chart.umd.min.js", "charts.js")
    ]
)


@admin.register(AuditCount)
class AuditCountAdmin(PagesAdmin):
    """The list of hours, under a chart of the days."""

    list_display = (
        "hour", "model", "judged_cells", "disagreed_cells", "nines", "ages", "repaired", "passes",
        "database", "alias",
    )  # fmt: skip
    list_display_links = None
    list_filter = ("alias", "database")
    search_fields = ("model",)
    date_hierarchy = "hour"
    list_per_page = 24
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("judged"), ordering="judged")
    def judged_cells(self, count: AuditCount) -> str:
        return whole(count.judged)

    @admin.display(description=_("disagreed"), ordering="disagreed")
    def disagreed_cells(self, count: AuditCount) -> str:
        return whole(count.disagreed)

    @admin.display(description=_("nines, at least"))
    def nines(self, count: AuditCount) -> str:
        return ratio(at_least(count.judged, count.disagreed), 1)

    @admin.display(description=_("disagreed, by age"))
    def ages(self, count: AuditCount) -> str:
        ages = (f"{age.replace('_', ' ')}: {number}" for age, number in count.by_age.items())
        return ", ".join(ages) or NOTHING

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        chart = nines_chart() if self.has_view_permission(request) else None
        context = {"chart": chart, "media": self.media + CHART_MEDIA, **(extra_context or {})}
        return super().changelist_view(request, context)


def nines_chart() -> Chart | None:
    """Draw the nines that each day's counts prove, for each model. One query."""
    since = timezone.now() - timedelta(days=DAYS)
    judged: dict[str, Counter[date]] = {}
    disagreed: dict[str, Counter[date]] = {}
    for one in AuditCount.objects.filter(hour__gte=since):
        day = _day_of(one)
        judged.setdefault(one.model, Counter())[day] += one.judged
        disagreed.setdefault(one.model, Counter())[day] += one.disagreed
    if not judged:
        return None
    days = sorted({day for counts in judged.values() for day in counts})
    shown = sorted(
        judged, key=lambda model: (-disagreed[model].total(), -judged[model].total(), model)
    )[:MOST_LINES]
    return Chart(
        id="nines",
        title=_("Nines that each day's audits prove"),
        kind="lines",
        label_title=pgettext_lazy("audit", "day"),
        labels=[date_format(day, "SHORT_DATE_FORMAT") for day in days],
        series=[
            Series(label=model, points=_points(days, judged[model], disagreed[model]))
            for model in sorted(shown)
        ],
        axis=charts.Axis(label=_("nines: 3 means that at most 1 of 1,000 cells disagrees")),
    )


def _day_of(count: AuditCount) -> date:
    hour = count.hour
    return (timezone.localtime(hour) if timezone.is_aware(hour) else hour).date()


def _points(
    days: Sequence[date], judged: Mapping[date, int], disagreed: Mapping[date, int]
) -> list[Point]:
    return [Point(at_least(judged[day], disagreed[day])) for day in days]
