"""The results of a run as the rows and columns that a reader looks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.formats import localize
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from redisdict.bench.spec import DICT_OPERATIONS, MODES, POOL_OPERATIONS, Table
from redisdict.models import BenchmarkResult
from redisdict.templatetags.redisdict_figures import NOTHING

__all__ = [
    "TITLES",
    "FactRow",
    "ResultRow",
    "ResultTable",
    "cell_label",
    "flatten",
    "result_tables",
    "side_by_side",
]

#: What tells one row of a table from another, as fields of `BenchmarkResult`.
KEY_FIELDS: dict[Table, tuple[str, ...]] = {
    Table.POOLS: ("service", "mode", "pool"),
    Table.DICT: ("service", "variant"),
    Table.CONCURRENCY: ("service", "mode", "pool", "variant", "concurrency", "connections"),
    Table.WORKLOADS: ("service", "operation"),
}

TITLES: dict[Table, Promise] = {
    Table.POOLS: gettext_lazy("Services and pools"),
    Table.DICT: gettext_lazy("PersistentDict"),
    Table.CONCURRENCY: gettext_lazy("Pools under concurrency"),
    Table.WORKLOADS: gettext_lazy("Further workloads"),
}

#: The columns of the report, in its order; others come after them.
COLUMN_ORDER: dict[Table, tuple[str, ...]] = {
    Table.POOLS: POOL_OPERATIONS,
    Table.DICT: DICT_OPERATIONS,
    Table.CONCURRENCY: POOL_OPERATIONS,
    Table.WORKLOADS: MODES,
}

SEPARATOR = " · "

STATUS_TEXTS = dict(BenchmarkResult.Status.choices)

FIELD_TITLES = {column.name: column.verbose_name for column in BenchmarkResult._meta.fields}

#: Fields that a table needn't show when all of its rows agree on them.
SHOWN_IF_DIFFERENT = {(Table.DICT, "service"), (Table.CONCURRENCY, "variant")}


@dataclass
class ResultRow:
    """One row: its key and its cells by operation."""

    key: tuple[str | int, ...]
    cells: dict[str, BenchmarkResult] = field(default_factory=dict)
    whole: BenchmarkResult | None = None

    @property
    def is_measured(self) -> bool:
        return any(cell.ops_per_second is not None for cell in self.cells.values())

    @property
    def reason(self) -> str:
        """Why the row has no figure at all; empty when it has one, or when its cells differ."""
        results = [self.whole] if self.whole else list(self.cells.values())
        if self.is_measured:
            return ""
        reasons = {result.reason or str(STATUS_TEXTS[result.status]) for result in results}
        return reasons.pop() if len(reasons) == 1 else ""


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """One table of a run; `rows` in the order in which the run measured them."""

    table: Table
    title: Promise
    key_fields: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[ResultRow]

    @property
    def key_titles(self) -> list[str]:
        return [str(FIELD_TITLES[name]) for name in self.key_fields]

    def lines(self) -> Iterator[tuple[list[str], ResultRow, list[BenchmarkResult | None]]]:
        """Each row as a template wants it: its key in words, itself, its cells column by column."""
        for row in self.rows:
            yield self.key_texts(row), row, [row.cells.get(column) for column in self.columns]

    def label(self, row: ResultRow, *, without: str = "") -> str:
        """The key of a row in one text, perhaps without one of its fields."""
        parts = zip(self.key_fields, self.key_texts(row), strict=True)
        return SEPARATOR.join(text for name, text in parts if name != without)

    def key_texts(self, row: ResultRow) -> list[str]:
        return [
            _key_text(name, value) for name, value in zip(self.key_fields, row.key, strict=True)
        ]


def result_tables(results: Iterable[BenchmarkResult]) -> list[ResultTable]:
    """Sort the results of a run, which are in the order of the report, into its tables."""
    by_table: dict[str, list[BenchmarkResult]] = {table: [] for table in Table}
    for result in results:
        by_table[result.table].append(result)
    return [_table(Table(table), group) for table, group in by_table.items() if group]


def _table(table: Table, results: Sequence[BenchmarkResult]) -> ResultTable:
    key_fields = tuple(
        name
        for name in KEY_FIELDS[table]
        if (table, name) not in SHOWN_IF_DIFFERENT
        or len({getattr(result, name) for result in results}) > 1
    )
    rows: dict[tuple[str | int, ...], ResultRow] = {}
    for result in results:
        key = tuple(getattr(result, name) for name in key_fields)
        row = rows.setdefault(key, ResultRow(key))
        if result.operation:
            row.cells[_column(result)] = result
        else:
            row.whole = result
    return ResultTable(
        table=table,
        title=TITLES[table],
        key_fields=key_fields,
        columns=_columns(table, rows.values()),
        rows=list(rows.values()),
    )


def _column(result: BenchmarkResult) -> str:
    """The heading that a result stands under."""
    if result.table == Table.WORKLOADS:  # their dozen operations would be too wide a table
        return result.mode
    if result.table == Table.CONCURRENCY:  # where Get of a dict stands under GET of redis-py
        return result.operation.upper()
    return result.operation


def _columns(table: Table, rows: Iterable[ResultRow]) -> tuple[str, ...]:
    present = dict.fromkeys(column for row in rows for column in row.cells)
    ordered = [name for name in COLUMN_ORDER[table] if name in present]
    return (*ordered, *(name for name in present if name not in ordered))


def _key_text(name: str, value: str | int) -> str:
    if name == "connections" and value == 0:
        return pgettext("size of a pool", "default")
    if name == "variant" and not value:
        return "redis-py"
    return str(value) or NOTHING


def cell_label(result: BenchmarkResult) -> str:
    """One cell in words, its parts set apart so that a chart can break the line there."""
    parts = [result.service, result.variant or f"{result.mode} {result.pool}"]
    if result.concurrency > 1:
        if result.variant:
            parts.append(result.pool)
        parts.append(
            _("%(workers)d workers, %(connections)d connections")
            % {"workers": result.concurrency, "connections": result.connections}
        )
    return SEPARATOR.join([*parts, result.operation])


#: What is another with every start of a server or run, so that a difference says nothing.
VOLATILE = frozenset(
    {
        "connected clients",
        "foreign cpu share",
        "keys",
        "load average",
        "process id",
        "run id",
        "tcp port",
        "uptime in seconds",
        "used memory",
    }
)


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


def flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every fact of nested mappings, its name made of the names on the way to it."""
    for name, value in facts.items():
        title = f"{prefix}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{title}: ")
        else:
            yield title, _text(value)


def side_by_side(things: Sequence[Mapping[str, Any]]) -> list[FactRow]:
    """The facts of all `things`, one column each: what differs first, what says little last."""
    columns = [dict(flatten(thing)) for thing in things]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [FactRow(name, [column.get(name, NOTHING) for column in columns]) for name in names]
    return sorted(rows, key=lambda row: (not row.differs, row.is_volatile))


def _text(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in flatten(value))
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value) or NOTHING
    return str(localize(value))
