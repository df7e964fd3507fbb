"""What the page of one run shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from redisdict.admin.facts import flatten, side_by_side
from redisdict.admin.run_charts import latency_charts, spread_charts, throughput_charts
from redisdict.admin.tables import ResultTable, result_tables
from redisdict.bench.store import load_record
from redisdict.charts import Chart
from redisdict.models import BenchmarkRun
from redisdict.templatetags.redisdict_figures import NOTHING, percent

__all__ = ["Section", "run_context"]


@dataclass(frozen=True)
class Section:
    """One table of the run with the charts that belong to it."""

    table: ResultTable
    throughput: list[Chart]
    details: list[Chart]


def run_context(run: BenchmarkRun) -> dict[str, Any]:
    """The template's variables. One query, for the results."""
    record = load_record(run)
    environment = dict(record.environment)
    servers: dict[str, dict[str, Any]] = environment.pop("servers", {})
    return {
        "summary": list(_summary(run)),
        "sections": [
            Section(
                table,
                list(throughput_charts(table)),
                [*latency_charts(table), *spread_charts(table)],
            )
            for table in result_tables(record.results)
        ],
        "servers": list(servers),
        "server_facts": side_by_side(list(servers.values())),
        "environment": list(flatten(environment)),
        "spec": list(flatten(record.spec)),
    }


def _summary(run: BenchmarkRun) -> Iterator[tuple[str, str]]:
    yield _("status"), run.get_status_display()
    yield _("started"), date_format(localtime(run.started_at), "DATETIME_FORMAT")
    if run.finished_at is not None:
        seconds = round((run.finished_at - run.started_at).total_seconds())
        yield (
            _("took"),
            _("%(minutes)d min %(seconds)d s")
            % {
                "minutes": seconds // 60,
                "seconds": seconds % 60,
            },
        )
    yield _("preset"), run.preset
    yield _("machine"), run.machine or NOTHING
    yield _("commit"), run.commit or NOTHING
    yield _("noise floor"), percent(run.noise_floor)
    yield _("baseline"), _("yes") if run.is_baseline else _("no")
