"""The filters beside the list of runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from redisdict.bench.spec import PRESETS
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = ["PresetFilter", "ServiceFilter"]


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
            run=OuterRef("pk"),
            service=self.value(),
            status=BenchmarkResult.Status.MEASURED,
        )
        return queryset.filter(Exists(measured))
