"""Show the list of benchmark runs, and every page of one or several of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import Media
from django.forms.widgets import Script
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from redisdict.admin.pages import PagesAdmin
from redisdict.admin.runs.comparison import MOST_RUNS, compare_context, trend_context
from redisdict.admin.runs.page import FORMATS, export, run_context
from redisdict.admin.runs.start import StartForm, cancel, progress_of, start
from redisdict.bench.measure.warnings import decisive_warnings
from redisdict.bench.records import mark_baseline
from redisdict.bench.settings import configured_services, may_run_benchmarks
from redisdict.bench.spec import PRESETS
from redisdict.exceptions import ConfigurationError
from redisdict.extras import install_command, is_installed
from redisdict.models import BenchmarkResult, BenchmarkRun
from redisdict.templatetags.redisdict_figures import percent


class PresetFilter(SimpleListFilter):
    """Runs of one preset. The choices are known, so no query has to find them."""

    title = _("preset")
    parameter_name = "preset"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Any]
    ) -> Iterable[tuple[str, str]]:
        return [(name, name) for name in PRESETS]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[BenchmarkRun]
    ) -> QuerySet[BenchmarkRun]:
        return queryset if self.value() is None else queryset.filter(preset=self.value())


class ServiceFilter(SimpleListFilter):
    """Runs that have figures of one service."""

    title = _("service")
    parameter_name = "service"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Any]
    ) -> Iterable[tuple[str, str]]:
        # The names are in a small JSON list of each run; asking the results for them would read
        # the figures of every run.
        lists = BenchmarkRun.objects.order_by().values_list("services", flat=True)
        names = {one["title"] for services in lists for one in services if not one["reason"]}
        return [(name, name) for name in sorted(names)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[BenchmarkRun]
    ) -> QuerySet[BenchmarkRun]:
        if self.value() is None:
            return queryset
        measured = BenchmarkResult.objects.filter(
            run=OuterRef("pk"), service=self.value(), status=BenchmarkResult.Status.MEASURED
        )
        return queryset.filter(Exists(measured))


def scripts(*names: str) -> Media:
    """Load scripts of our own, which run when the page is read."""
    return Media(
        js=[
            Script(f"redisdict/{name}", defer=True)  # type: ignore[misc]  # unknown to the stubs
            for name in names
        ]
    )


CHART_MEDIA = scripts("vendor/chartjs/chart.umd.min.js", "charts.js")
RUN_MEDIA = CHART_MEDIA + scripts("progress.js")


def may_start() -> bool:
    """Return whether the settings let runs be started; False while they can't be read."""
    try:
        return may_run_benchmarks()
    except ConfigurationError:
        return False  # the list of runs says so


def setting_problem() -> str:
    """Return the mistake in a setting that prevents starting runs; empty if there is none."""
    try:
        if may_run_benchmarks():
            configured_services()
    except ConfigurationError as error:
        return str(error)
    return ""


@admin.register(BenchmarkRun)
class BenchmarkRunAdmin(PagesAdmin):
    """The list of runs, and every page of them."""

    list_display = (
        "started_at", "label", "preset", "status", "warning_count", "noise", "baseline",
        "service_names", "commit", "machine",
    )  # fmt: skip
    list_display_links = ("started_at", "label")
    list_filter = ("status", PresetFilter, ServiceFilter, "is_baseline", "machine")
    search_fields = ("label", "commit", "machine")
    date_hierarchy = "started_at"
    list_per_page = 50
    show_full_result_count = False
    actions = ("compare", "set_baseline", "export_csv", "export_json", "export_markdown")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """To add a run is to start one; where a setting can't be read, none may be started."""
        return may_start() and super().has_add_permission(request)

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
        return percent(run.noise)

    @admin.display(description=_("baseline"), ordering="is_baseline")
    def baseline(self, run: BenchmarkRun) -> str:
        return gettext("yes") if run.is_baseline else ""

    @admin.display(description=_("warnings"))
    def warning_count(self, run: BenchmarkRun) -> int:
        """Count those that the run's page calls warnings; what changes no conclusion isn't one."""
        return len(decisive_warnings(run))

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
        mark_baseline(run)
        self.log_change(request, run, gettext("Made the baseline."))
        self.message_user(
            request, gettext("%(run)s is the baseline now.") % {"run": run}, messages.SUCCESS
        )

    def _redirect(
        self, page: str, queryset: QuerySet[BenchmarkRun], **parameters: str
    ) -> HttpResponse:
        keys = queryset.order_by("started_at", "pk").values_list("pk", flat=True)
        query = urlencode([*(("run", key) for key in keys), *parameters.items()])
        return HttpResponseRedirect(f"{self.url(page)}?{query}")

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Count the results as well, instead of listing hundreds of them a run."""
        names, counts, perms, protected = super().get_deleted_objects(objs, request)
        results = BenchmarkResult.objects.filter(run__in=objs).count()
        counts[str(BenchmarkResult._meta.verbose_name_plural)] = results
        return names, counts, perms, protected

    def get_urls(self) -> list[URLPattern]:
        pages = {"compare": self.compare_view, "trend": self.trend_view, "export": self.export_view}
        of_run = {"progress": self.progress_view, "cancel": self.cancel_view}
        return [
            *(self.own_path(name, view) for name, view in pages.items()),
            *(self.own_path(name, view, "<path:object_id>/") for name, view in of_run.items()),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and to those who start runs the mistake in a setting that prevents it."""
        problem = setting_problem()
        if problem and super().has_add_permission(request):
            self.message_user(request, problem, messages.ERROR)
        return super().changelist_view(request, extra_context)

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
            context |= run_context(run)
            context |= {
                "media": self.media + RUN_MEDIA,
                "formats": FORMATS.values(),
                "is_running": run.status == BenchmarkRun.Status.RUNNING,
                "progress": progress_of(run),
                "may_cancel": self.has_add_permission(request),
            }
        return super().change_view(request, object_id, form_url, context)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Start a run."""
        if not super().has_add_permission(request):
            raise PermissionDenied
        if setting_problem():
            return HttpResponseRedirect(self.url("changelist"))  # which shows the problem
        if not may_start():
            raise PermissionDenied
        if not is_installed("bench"):
            text = gettext("Benchmarks aren't installed here; this installs them: %(command)s")
            command = {"command": install_command("bench")}
            self.message_user(request, text % command, messages.ERROR)
            return HttpResponseRedirect(self.url("changelist"))
        form = StartForm(request.POST or None)
        if form.is_valid():
            run = start(**form.cleaned_data)
            self.log_addition(request, run, gettext("Started."))
            return self.to_page_of(run)
        fieldsets = [(None, {"fields": list(form.fields)})]
        adminform = AdminForm(form, fieldsets, {}, model_admin=self)  # type: ignore[arg-type]  # any form will do
        title = gettext("Start a benchmark run")
        return self._titled(request, "start", title, {"adminform": adminform})

    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the progress of a run to the script of its page."""
        run = self._run_or_404(request, object_id)
        progress = progress_of(run)
        return JsonResponse(
            {
                "is_over": run.status != BenchmarkRun.Status.RUNNING,
                "fraction": progress.fraction if progress else None,
                "activity": progress.activity if progress else "",
            }
        )

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self._run_or_404(request, object_id)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        cancel(run)
        self.log_change(request, run, gettext("Cancelled."))
        self.message_user(request, gettext("The run is asked to end."), messages.INFO)
        return self.to_page_of(run)

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        runs = self._chosen_runs(request)
        if not 2 <= len(runs) <= MOST_RUNS:
            self.message_user(
                request,
                gettext("Select two to %(most)d runs to compare.") % {"most": MOST_RUNS},
                messages.WARNING,
            )
            return HttpResponseRedirect(self.url("changelist"))
        title = gettext("Compare benchmark runs")
        return self._titled(request, "compare", title, compare_context(runs))

    def trend_view(self, request: HttpRequest) -> HttpResponse:
        self.check_view_permission(request)
        title = gettext("Trend of a benchmark")
        return self._titled(request, "trend", title, trend_context(request.GET))

    def export_view(self, request: HttpRequest) -> HttpResponse:
        runs = self._chosen_runs(request)
        format_name = request.GET.get("format", "")
        if not runs or format_name not in FORMATS:
            raise Http404(gettext("No run is selected, or the format is unknown."))
        return export(runs, format_name)

    def _chosen_runs(self, request: HttpRequest) -> list[BenchmarkRun]:
        self.check_view_permission(request)
        keys = [int(key) for key in request.GET.getlist("run") if key.isdecimal()]
        queryset = self.get_queryset(request).filter(pk__in=keys)
        return list(queryset.prefetch_related("results").order_by("started_at", "pk"))

    def _titled(
        self, request: HttpRequest, name: str, title: str, context: dict[str, Any]
    ) -> HttpResponse:
        # The breadcrumbs end with what is `original`.
        own = {"title": title, "original": title, "media": self.media + CHART_MEDIA}
        return self.page(request, name, own | context)

    def _run_or_404(self, request: HttpRequest, object_id: str) -> BenchmarkRun:
        self.check_view_permission(request)
        run: BenchmarkRun = self.found_or_404(request, object_id)
        return run
