"""The pages of benchmark runs: one run, its start, several beside one another, trend, export."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
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
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext

from redisdict.admin.compare import MOST_RUNS, compare_context
from redisdict.admin.exports import FORMATS, export
from redisdict.admin.run_page import run_context
from redisdict.admin.settings import may_run_benchmarks
from redisdict.admin.start import StartForm, cancel, progress_of, start
from redisdict.admin.trend import trend_context
from redisdict.models import BenchmarkRun

__all__ = ["RunViews"]


def scripts(*names: str) -> Media:
    """Our own scripts, run when the page is read."""
    return Media(
        js=[
            Script(f"redisdict/{name}", defer=True)  # type: ignore[misc]  # unknown to the stubs
            for name in names
        ]
    )


CHART_MEDIA = scripts("vendor/chartjs/chart.umd.min.js", "charts.js")
RUN_MEDIA = CHART_MEDIA + scripts("progress.js")


class RunViews(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Every page but the list. None of them edits a run."""

    class Media:
        css = {"all": ("redisdict/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """To add a run is to start one."""
        return may_run_benchmarks() and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: BenchmarkRun | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        pages = {"compare": self.compare_view, "trend": self.trend_view, "export": self.export_view}
        own = [
            path(
                f"{name}/", self.admin_site.admin_view(view), name=f"redisdict_benchmarkrun_{name}"
            )
            for name, view in pages.items()
        ]
        of_run = {"progress": self.progress_view, "cancel": self.cancel_view}
        own += [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"redisdict_benchmarkrun_{name}",
            )
            for name, view in of_run.items()
        ]
        return [*own, *super().get_urls()]

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
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = StartForm(request.POST or None)
        if form.is_valid():
            run = start(**form.cleaned_data)
            self.log_addition(request, run, gettext("Started."))
            return HttpResponseRedirect(self._url("change", quote(run.pk)))
        fieldsets = [(None, {"fields": list(form.fields)})]
        adminform = AdminForm(form, fieldsets, {}, model_admin=self)  # type: ignore[arg-type]  # any form will do
        title = gettext("Start a benchmark run")
        return self._page(request, "start", title, {"adminform": adminform})

    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """How far a run is, for the script of its page."""
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
        return HttpResponseRedirect(self._url("change", quote(run.pk)))

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        runs = self._chosen_runs(request)
        if not 2 <= len(runs) <= MOST_RUNS:
            self.message_user(
                request,
                gettext("Select two to %(most)d runs to compare.") % {"most": MOST_RUNS},
                messages.WARNING,
            )
            return HttpResponseRedirect(self._url("changelist"))
        title = gettext("Compare benchmark runs")
        return self._page(request, "compare", title, compare_context(runs))

    def trend_view(self, request: HttpRequest) -> HttpResponse:
        self._check_view_permission(request)
        title = gettext("Trend of a benchmark")
        return self._page(request, "trend", title, trend_context(request.GET))

    def export_view(self, request: HttpRequest) -> HttpResponse:
        runs = self._chosen_runs(request)
        format_name = request.GET.get("format", "")
        if not runs or format_name not in FORMATS:
            raise Http404(gettext("No run is selected, or the format is unknown."))
        return export(runs, format_name)

    def _chosen_runs(self, request: HttpRequest) -> list[BenchmarkRun]:
        self._check_view_permission(request)
        keys = [int(key) for key in request.GET.getlist("run") if key.isdecimal()]
        queryset = self.get_queryset(request).filter(pk__in=keys)
        return list(queryset.prefetch_related("results").order_by("started_at", "pk"))

    def _check_view_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(
        self, request: HttpRequest, name: str, title: str, context: dict[str, Any]
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            f"admin/redisdict/benchmarkrun/{name}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "original": title,  # what the breadcrumbs end with
                "opts": self.opts,
                "has_view_permission": True,
                "media": self.media + CHART_MEDIA,
                **context,
            },
        )

    def _url(self, name: str, *arguments: str) -> str:
        return reverse(f"{self.admin_site.name}:redisdict_benchmarkrun_{name}", args=arguments)

    def _run_or_404(self, request: HttpRequest, object_id: str) -> BenchmarkRun:
        self._check_view_permission(request)
        run: BenchmarkRun | None = self.get_object(request, unquote(object_id))
        if run is None:
            raise Http404
        return run
