"""The list of benchmark runs: columns, filters, and what can be done with those selected."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
)
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from redisdict.admin.filters import PresetFilter, ServiceFilter
from redisdict.admin.run_views import RunViews
from redisdict.models import BenchmarkResult, BenchmarkRun
from redisdict.templatetags.redisdict_figures import percent

__all__ = ["BenchmarkRunAdmin"]


@admin.register(BenchmarkRun)
class BenchmarkRunAdmin(RunViews):
    list_display = (
        "started_at",
        "label",
        "preset",
        "status",
        "warning_count",
        "noise",
        "baseline",
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
    actions = ("compare", "set_baseline", "export_csv", "export_json", "export_markdown")

    def has_set_baseline_permission(self, request: HttpRequest) -> bool:
        """The mark is the one thing about a run that people decide."""
        return request.user.has_perm("redisdict.change_benchmarkrun")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BenchmarkRun]:
        queryset = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "redisdict_benchmarkrun_changelist":
            return queryset.defer("spec", "environment", "comparisons", "error")
        return queryset

    @admin.display(description=_("services"))
    def service_names(self, run: BenchmarkRun) -> str:
        return ", ".join(service["title"] for service in run.services if not service["reason"])

    @admin.display(description=_("noise floor"), ordering="noise_floor")
    def noise(self, run: BenchmarkRun) -> str:
        return percent(run.noise_floor)

    @admin.display(description=_("baseline"), ordering="is_baseline")
    def baseline(self, run: BenchmarkRun) -> str:
        return gettext("yes") if run.is_baseline else ""

    @admin.display(description=_("warnings"))
    def warning_count(self, run: BenchmarkRun) -> int:
        return len(run.warnings)

    @admin.action(description=_("Compare the selected runs"), permissions=["view"])
    def compare(self, request: HttpRequest, queryset: QuerySet[BenchmarkRun]) -> HttpResponse:
        return self._redirect("compare", queryset)

    @admin.action(description=_("Export the selected runs as CSV"), permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[BenchmarkRun]) -> HttpResponse:
        return self._redirect("export", queryset, format="csv")

    @admin.action(description=_("Export the selected runs as JSON"), permissions=["view"])
    def export_json(self, request: HttpRequest, queryset: QuerySet[BenchmarkRun]) -> HttpResponse:
        return self._redirect("export", queryset, format="json")

    @admin.action(description=_("Export the selected runs as Markdown"), permissions=["view"])
    def export_markdown(
        self, request: HttpRequest, queryset: QuerySet[BenchmarkRun]
    ) -> HttpResponse:
        return self._redirect("export", queryset, format="markdown")

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

    def _redirect(
        self, page: str, queryset: QuerySet[BenchmarkRun], **parameters: str
    ) -> HttpResponse:
        keys = queryset.order_by("started_at", "pk").values_list("pk", flat=True)
        query = urlencode([*(("run", key) for key in keys), *parameters.items()])
        return HttpResponseRedirect(f"{self._url(page)}?{query}")

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
