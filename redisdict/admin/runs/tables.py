"""Arrange the results of a run, and stored facts, as rows for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import localize
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from redisdict.bench.choices import NamedCell, Table, cell_parts
from redisdict.bench.operations import DICT_OPERATIONS, POOL_OPERATIONS
from redisdict.bench.report.tables import REPORT, Layout, ResultTable, Row
from redisdict.bench.spec import MODES
from redisdict.models import BenchmarkResult, BenchmarkRun
from redisdict.templatetags.redisdict_figures import NOTHING

TITLES: dict[Table, Promise] = {
    Table.POOLS: gettext_lazy("Services and pools"),
    Table.DICT: gettext_lazy("PersistentDict"),
    Table.CONCURRENCY: gettext_lazy("Pools under concurrency"),
    Table.WORKLOADS: gettext_lazy("Further workloads"),
}

#: The tables of the page. Workloads have a row each, because their dozen operations would be too
#: wide a table; Get of a dict stands under GET of redis-py.
LAYOUTS = (
    REPORT[Table.POOLS],
    Layout(
        table=Table.DICT,
        keys=("service", "variant"),
        columns=DICT_OPERATIONS,
        optional=("service",),
    ),
    Layout(
        table=Table.CONCURRENCY,
        keys=("service", "mode", "pool", "variant", "concurrency", "connections"),
        columns=POOL_OPERATIONS,
        column_of=lambda one: one.operation.upper(),
        optional=("variant",),
    ),
    Layout(
        table=Table.WORKLOADS,
        keys=("service", "operation"),
        columns=MODES,
        column_of=lambda one: one.mode,
    ),
)

SEPARATOR = " · "

FIELD_TITLES = {column.name: column.verbose_name for column in BenchmarkResult._meta.fields}


def is_measured(row: Row) -> bool:
    return any(cell.ops_per_second is not None for cell in row.cells.values())


@dataclass(frozen=True)
class ShownTable(ResultTable):
    """One table of a run, as the templates want it."""

    @property
    def table(self) -> Table:
        return self.layout.table

    @property
    def title(self) -> Promise:
        return TITLES[self.table]

    @property
    def key_titles(self) -> list[str]:
        return [str(FIELD_TITLES[name]) for name in self.keys]

    def lines(
        self,
    ) -> Iterator[tuple[list[tuple[str, str]], str, list[tuple[str, BenchmarkResult | None]]]]:
        """Each row: its key in words, why it has no figure, its cells.

        Before each cell stands the heading of its column, for screens on which a row is a block,
        and before each part of the key that says nothing without one.
        """
        for row in self.rows:
            cells = [(column, row.cells.get(column)) for column in self.columns]
            titles = [
                title if isinstance(value, int) else ""
                for title, value in zip(self.key_titles, row.key, strict=True)
            ]
            yield list(zip(titles, self.key_texts(row), strict=True)), _reason(row), cells

    def label(self, row: Row, *, without: str = "") -> str:
        """The key of a row in one text, perhaps without one of its fields."""
        parts = zip(self.keys, self.key_texts(row), strict=True)
        return SEPARATOR.join(text for name, text in parts if name != without)

    def key_texts(self, row: Row) -> list[str]:
        return [_key_text(name, value) for name, value in zip(self.keys, row.key, strict=True)]


def result_tables(run: BenchmarkRun) -> list[ShownTable]:
    """Arrange the results of a run, which are in the order of the report, in its tables."""
    tables = [ShownTable.of(layout, run.cells) for layout in LAYOUTS]
    return [table for table in tables if table.rows]


def _reason(row: Row) -> str:
    """Return the reason why the row has no figures; nothing if it has one, or its cells differ."""
    if is_measured(row):
        return ""
    results = [row.whole] if row.whole else list(row.cells.values())
    reasons = {one.reason or one.get_status_display() for one in results}
    return reasons.pop() if len(reasons) == 1 else ""


def _key_text(name: str, value: str | int) -> str:
    if name == "connections" and value == 0:
        return pgettext("size of a pool", "default")
    if name == "variant" and not value:
        return "redis-py"
    return str(value) or NOTHING


def cell_label(result: BenchmarkResult) -> str:
    """Name one cell, its parts set apart so that a chart can break the line there."""
    return SEPARATOR.join(cell_parts(result, _load))


def _load(cell: NamedCell) -> list[str]:
    if cell.concurrency == 1:
        return []
    return [
        _("%(workers)d workers, %(connections)d connections")
        % {"workers": cell.concurrency, "connections": cell.connections}
    ]


#: What is another with every start of a server or run, so that a difference says nothing.
VOLATILE = (
    "connected clients", "foreign cpu share", "keys", "load average", "process id", "run id",
    "tcp port", "uptime in seconds", "used memory",
)  # fmt: skip


@dataclass(frozen=True)
class FactRow:
    """One fact of several things beside one another."""

    name: str
    texts: list[str]

    @property
    def is_volatile(self) -> bool:
        return self.name.rpartition(": ")[2] in VOLATILE

    @property
    def differs(self) -> bool:
        """Whether a reader should know that it isn't the same for all."""
        return not self.is_volatile and len(set(self.texts)) > 1


@dataclass(frozen=True)
class Facts:
    """Facts of several things: those that differ, those that say little, those that are equal."""

    rows: list[FactRow]

    @property
    def differing(self) -> list[FactRow]:
        return [row for row in self.rows if row.differs]

    @property
    def others(self) -> list[FactRow]:
        return [row for row in self.rows if not row.differs]


def flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """List every fact of nested mappings, its name made of the names on the way to it."""
    for name, value in facts.items():
        title = f"{prefix}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{title}: ")
        else:
            yield title, _text(value)


def side_by_side(things: Sequence[Mapping[str, Any]]) -> Facts:
    """Put the facts of all `things` into columns: differing facts first, minor facts last."""
    columns = [dict(flatten(thing)) for thing in things]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [FactRow(name, [column.get(name, NOTHING) for column in columns]) for name in names]
    return Facts(sorted(rows, key=lambda row: (not row.differs, row.is_volatile)))


def _text(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float):
        value = float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in flatten(value))
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value) or NOTHING
    return str(localize(value))
