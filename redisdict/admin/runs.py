"""The list of benchmark runs: what can be seen, chosen, marked and deleted, and never edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.forms import Media
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from redisdict.admin.filters import PresetFilter, ServiceFilter
from redisdict.admin.run_page import run_context
from redisdict.models import BenchmarkResult, BenchmarkRun
from redisdict.templatetags.redisdict_figures import percent

__all__ = ["BenchmarkRunAdmin"]

CHART_MEDIA = Media(
    js=[
        Script("redisdict/vendor/chartjs/chart.umd.min.js", defer=True),
        Script("redisdict/charts.js", defer=True),
    ]
)


@admin.register(BenchmarkRun)
class BenchmarkRunAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    list_display = (
        "started_at",
        "label",
        "preset",
        "status",
        "warning_count",
        "noise",
        "is_baseline",
        "service_names",
        "commit",
        "machine",
    )
    list_display_links = ("started_at", "label")
    list_filter = ("status", PresetFilter, ServiceFilter, "is_baseline", "machine")
    search_fields = ("label", "commit", "machine")
    date_hierarchy = "started_at"
    list_per_page = 50
    show_full_result_count = False
    actions = ("set_baseline",)

    class Media:
        css = {"all": ("redisdict/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: BenchmarkRun | None = None) -> bool:
        return False

    def has_set_baseline_permission(self, request: HttpRequest) -> bool:
        """The mark is the one thing about a run that people decide."""
        return request.user.has_perm("redisdict.change_benchmarkrun")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BenchmarkRun]:
        queryset = super().get_queryset(request)
        is_list = request.resolver_match and request.resolver_match.kwargs.get("object_id") is None
        if is_list:
            return queryset.defer("spec", "environment", "comparisons", "error")
        return queryset

    @admin.display(description=_("services"))
    def service_names(self, run: BenchmarkRun) -> str:
        return ", ".join(service["title"] for service in run.services)

    @admin.display(description=_("noise floor"), ordering="noise_floor")
    def noise(self, run: BenchmarkRun) -> str:
        return percent(run.noise_floor)

    @admin.display(description=_("warnings"))
    def warning_count(self, run: BenchmarkRun) -> int:
        return len(run.warnings)

    @admin.action(description=_("Make the selected run the baseline"), permissions=["set_baseline"])
    def set_baseline(self, request: HttpRequest, queryset: QuerySet[BenchmarkRun]) -> None:
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(
                request, gettext("Select one run to be the baseline."), messages.WARNING
            )
            return
        [run] = chosen
        BenchmarkRun.objects.filter(is_baseline=True).exclude(pk=run.pk).update(is_baseline=False)
        BenchmarkRun.objects.filter(pk=run.pk).update(is_baseline=True)
        self.log_change(request, run, gettext("Made the baseline."))
        self.message_user(
            request, gettext("%(run)s is the baseline now.") % {"run": run}, messages.SUCCESS
        )

    def get_deleted_objects(
        self, objs: QuerySet[BenchmarkRun] | Sequence[BenchmarkRun], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the runs and count their results, instead of listing hundreds of results a run."""
        runs = list(objs)
        results = BenchmarkResult.objects.filter(run__in=runs).count()
        counts = {
            str(BenchmarkRun._meta.verbose_name_plural): len(runs),
            str(BenchmarkResult._meta.verbose_name_plural): results,
        }
        return [str(run) for run in runs], counts, set(), []

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        run = self.get_object(request, unquote(object_id))
        context = dict(extra_context or {})
        if run is not None and self.has_view_permission(request, run):
            context |= run_context(run) | {"media": self.media + CHART_MEDIA}
        return super().change_view(request, object_id, form_url, context)
