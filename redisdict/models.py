"""Define benchmark runs and their results, dicts found on a server, and the counts of audits.

A run is a `BenchmarkRun` from its start: unsaved while it is measured, and the same object when it
is saved, loaded, exported or compared.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from redisdict.bench.choices import CELL_FIELDS, CellStatus, NamedCell, RunStatus, Table


class BenchmarkRun(models.Model):
    """One call of `redisbench`: what was asked for, where it ran, and how it ended."""

    Status = RunStatus

    identifier = models.UUIDField(
        _("identifier"),
        default=uuid.uuid4,
        unique=True,
        editable=False,
        help_text=_("The same in every project the run is imported into."),
    )
    label = models.CharField(_("label"), max_length=200, blank=True)
    preset = models.CharField(_("preset"), max_length=40)
    status = models.CharField(
        _("status"), max_length=20, choices=Status.choices, default=Status.RUNNING
    )
    error = models.TextField(_("error"), blank=True)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    is_baseline = models.BooleanField(_("baseline"), default=False)
    commit = models.CharField(_("commit"), max_length=64, blank=True)
    machine = models.CharField(_("machine"), max_length=200, blank=True)
    services = models.JSONField(
        _("services"),
        default=list,
        help_text=_("Every service of the report: where it came from, or why it wasn't there."),
    )
    noise_floor = models.FloatField(
        _("noise floor"),
        null=True,
        blank=True,
        help_text=_("Largest distance from 1 of the ratio between two copies of the reference."),
    )
    spec = models.JSONField(_("specification"), default=dict)
    environment = models.JSONField(_("environment"), default=dict)
    warnings = models.JSONField(_("warnings"), default=list)
    comparisons = models.JSONField(
        _("comparisons"),
        default=list,
        help_text=_("Pairs of cells compared over the same rounds, from which conclusions follow."),
    )

    class Meta:
        verbose_name = _("benchmark run")
        verbose_name_plural = _("benchmark runs")
        ordering = ["-started_at", "-pk"]
        indexes = [models.Index(fields=["-started_at"], name="redisdict_run_started")]

    def __str__(self) -> str:
        moment = f"{self.started_at:%Y-%m-%d %H:%M}"
        return f"{self.label} ({moment})" if self.label else f"Run {self.pk} ({moment})"

    @cached_property
    def cells(self) -> list[BenchmarkResult]:
        """The results in the report's order: those saved, or those measured so far."""
        return [] if self._state.adding else list(self.results.all())

    @property
    def measured(self) -> list[BenchmarkResult]:
        """The cells that have figures."""
        return [cell for cell in self.cells if cell.is_measured]

    @property
    def noise(self) -> float | None:
        """Return by how much one reference may be faster than its twin: 0.4 for 1.4 times.

        `noise_floor` is the logarithm of the ratio, which verdicts are judged by.
        """
        return None if self.noise_floor is None else math.expm1(self.noise_floor)

    def of_table(self, table: str) -> list[BenchmarkResult]:
        return [cell for cell in self.cells if cell.table == table]

    def put(self, cells: Iterable[BenchmarkResult]) -> None:
        """Add results; one for a cell that is there already takes its place."""
        by_key = {cell.key: cell for cell in self.cells}
        self.cells = list((by_key | {cell.key: cell for cell in cells}).values())

    def put_comparisons(self, comparisons: Iterable[dict[str, Any]]) -> None:
        """Add comparisons; one of the same pair that is there already is replaced."""
        names = ("kind", "group", "operation", "left", "right", "concurrency", "connections")
        by_pair = {
            tuple(one[name] for name in names): one for one in (*self.comparisons, *comparisons)
        }
        self.comparisons = list(by_pair.values())


class BenchmarkResult(NamedCell, models.Model):  # noqa: DJ008 - named by NamedCell
    """One cell of a run: what the users of one service saw of one operation.

    What could not be measured is None, never 0. `ops_per_second` is that of the median block;
    `details["total_ops_per_second"]` is all operations over all the time, stalls included. `ratio`
    is the speed against the cell named in `details["reference"]`, over the rounds that both were
    in.
    """

    Status = CellStatus

    run = models.ForeignKey(
        BenchmarkRun,
        on_delete=models.CASCADE,
        related_name="results",
        verbose_name=pgettext_lazy("benchmark", "run"),
    )
    position = models.PositiveIntegerField(_("position"), default=0)
    table = models.CharField(_("table"), max_length=20, choices=Table.choices)
    status = models.CharField(_("status"), max_length=20, choices=Status.choices)
    service = models.CharField(_("service"), max_length=100)
    reason = models.TextField(_("reason"), blank=True)
    mode = models.CharField(_("mode"), max_length=10, blank=True)
    pool = models.CharField(_("pool"), max_length=100, blank=True)
    variant = models.CharField(_("variant"), max_length=40, blank=True)
    operation = models.CharField(_("operation"), max_length=40, blank=True)
    concurrency = models.PositiveIntegerField(
        _("concurrency"), default=1, help_text=_("Threads or tasks that call at the same time.")
    )
    connections = models.PositiveIntegerField(
        _("connections"), default=0, help_text=_("Size of the pool; 0 is the pool's own default.")
    )
    placement = models.CharField(
        _("placement"),
        max_length=20,
        blank=True,
        help_text=_("Client and server on the same CPU, on two (split), or uncontrolled."),
    )
    rounds = models.PositiveIntegerField(_("rounds"), default=0)
    operations = models.PositiveBigIntegerField(_("operations"), default=0)
    ops_per_second = models.FloatField(_("ops/s"), null=True, blank=True)
    ratio = models.FloatField(
        _("ratio"),
        null=True,
        blank=True,
        help_text=_("Speed relative to the reference cell in the same rounds; above 1 is faster."),
    )
    ratio_low = models.FloatField(_("ratio, low"), null=True, blank=True)
    ratio_high = models.FloatField(_("ratio, high"), null=True, blank=True)
    p50_us = models.FloatField(_("p50 (µs)"), null=True, blank=True)
    p90_us = models.FloatField(_("p90 (µs)"), null=True, blank=True)
    p99_us = models.FloatField(_("p99 (µs)"), null=True, blank=True)
    p999_us = models.FloatField(_("p99.9 (µs)"), null=True, blank=True)
    max_us = models.FloatField(_("max (µs)"), null=True, blank=True)
    client_cpu_us = models.FloatField(_("client CPU per operation (µs)"), null=True, blank=True)
    server_cpu_us = models.FloatField(_("server CPU per operation (µs)"), null=True, blank=True)
    details = models.JSONField(_("details"), default=dict)

    class Meta:
        verbose_name = _("benchmark result")
        verbose_name_plural = _("benchmark results")
        ordering = ["run", "position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", *CELL_FIELDS], name="redisdict_result_cell")
        ]

    @property
    def is_measured(self) -> bool:
        return self.status == CellStatus.MEASURED


class BenchmarkProgress(models.Model):
    """The progress of a run that was started from the admin, and whether it should end."""

    run = models.OneToOneField(
        BenchmarkRun,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="progress",
        verbose_name=pgettext_lazy("benchmark", "run"),
    )
    fraction = models.FloatField(_("fraction done"), default=0.0)
    activity = models.CharField(_("activity"), max_length=200, blank=True)
    updated_at = models.DateTimeField(_("updated"))
    is_cancel_requested = models.BooleanField(_("cancel requested"), default=False)

    class Meta:
        verbose_name = _("progress of a benchmark run")
        verbose_name_plural = _("progress of benchmark runs")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.fraction:.0%} {self.activity}"


#: The layouts of a dict, as the identity of a stored one names them.
HASH, KEYS = "hash", "keys"
LAYOUT = re.compile(rf"({HASH}|{KEYS})( [1-9][0-9]{{0,3}})?")


class StoredDict(models.Model):
    """A `PersistentDict` that was found on a server.

    There is no such table: the model gives dicts their permissions, their pages in the admin and
    their entries in its log. `identity` is a JSON list of alias, layout and path of names; the
    layout of a dict in shards has their number behind it, as "hash 16".
    """

    identity = models.CharField(_("identity"), primary_key=True, max_length=255)

    class Meta:
        managed = False
        default_permissions = ("view", "change", "delete")
        verbose_name = _("persistent dict")
        verbose_name_plural = _("persistent dicts")

    def __str__(self) -> str:
        # repr() keeps unprintable characters, such as NUL, out of the log and of headings.
        return f"{'/'.join(self.path)!r} ({self.alias})"

    @classmethod
    def of(
        cls, alias: str, path: Sequence[str], *, is_hash: bool, shards: int | None = None
    ) -> StoredDict:
        layout = HASH if is_hash else KEYS
        if shards is not None:
            layout += f" {shards}"
        return cls(identity=json.dumps([alias, layout, *path]))

    @property
    def alias(self) -> str:
        return self._parts[0]

    @property
    def is_hash(self) -> bool:
        return self._parts[1].startswith(HASH)

    @property
    def shards(self) -> int | None:
        _, _, count = self._parts[1].partition(" ")
        return int(count) if count else None

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self._parts[2:])

    def clean(self) -> None:
        """Refuse an identity that `of()` wouldn't make, as an address may hold."""
        try:
            parts = json.loads(self.identity)
        except ValueError:
            parts = None
        is_list = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
        if (
            not is_list
            or len(parts) < 3
            or not LAYOUT.fullmatch(parts[1])
            or self.identity != json.dumps(parts)
        ):
            raise ValidationError({"identity": _("This isn't the identity of a dict.")})

    @property
    def _parts(self) -> list[str]:
        parts: list[str] = json.loads(self.identity)
        return parts


class AuditCount(models.Model):
    """The counts of `manage.py modeldict audit` for one ModelDict within an hour.

    `judged` cells were compared with the database; `disagreed` of them had another content.
    `by_age` counts these by the time since they were first seen to disagree, and `unjudged` counts
    the cells that weren't compared, by the reason.
    """

    hour = models.DateTimeField(_("hour"))
    model = models.CharField(_("model"), max_length=255)
    database = models.CharField(_("database"), max_length=100)
    alias = models.CharField(_("alias"), max_length=100)
    passes = models.PositiveIntegerField(_("passes"), default=0)
    judged = models.PositiveBigIntegerField(_("judged"), default=0)
    disagreed = models.PositiveBigIntegerField(_("disagreed"), default=0)
    repaired = models.PositiveBigIntegerField(_("repaired"), default=0)
    by_age = models.JSONField(_("disagreed, by age"), default=dict)
    unjudged = models.JSONField(_("not judged"), default=dict)

    class Meta:
        verbose_name = _("audit of a cached model")
        verbose_name_plural = _("audits of cached models")
        default_permissions = ("view", "delete")
        ordering = ["-hour", "model", "database", "alias"]
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "model", "database", "alias"], name="redisdict_audit_hour"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model}, {self.hour:%Y-%m-%d %H:%M}"
