"""Define the names of a run's cells, and the choices of its records: tables and statuses.

The models use these as choices of their fields; nothing here imports the models, a server or a
client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

#: What tells one cell of a run from all others.
CELL_FIELDS = (
    "table", "service", "mode", "pool", "variant", "operation", "concurrency", "connections",
)  # fmt: skip

#: The values of `CELL_FIELDS`.
CellKey = tuple[str, str, str, str, str, str, int, int]


#: The preset of a run of two sides that took turns, `redisbench ab`.
AB = "ab"


class Table(TextChoices):
    """The tables of a report."""

    POOLS = "pools", _("pools")
    DICT = "dict", _("dict")
    CONCURRENCY = "concurrency", _("pools under concurrency")
    WORKLOADS = "workloads", _("further workloads")


class Comparison(StrEnum):
    """Which two cells of a run are compared: those that differ in this alone."""

    TWIN = "A/A"
    SERVICE = "service"
    LAYOUT = "layout"
    MODE = "mode"
    POOL = "pool"


class CellStatus(TextChoices):
    """Whether a cell has figures."""

    MEASURED = "measured", _("measured")
    UNAVAILABLE = "unavailable", _("not available")
    FAILED = "failed", _("failed")


class RunStatus(TextChoices):
    """How far a run has come, or how it ended."""

    RUNNING = "running", _("running")
    FINISHED = "finished", _("finished")
    PARTIAL = "partial", _("finished with failures")
    INTERRUPTED = "interrupted", _("interrupted")
    FAILED = "failed", _("failed")


class NamedCell:
    """The name of a cell, before it is measured and afterwards."""

    service: Any
    mode: Any
    pool: Any
    variant: Any
    operation: Any
    concurrency: Any
    connections: Any

    @property
    def key(self) -> CellKey:
        return tuple(getattr(self, name) for name in CELL_FIELDS)

    def __str__(self) -> str:
        return " ".join(cell_parts(self))


def load_parts(cell: NamedCell) -> list[str]:
    """Describe the numbers of callers and connections, if they aren't the usual ones."""
    workers = [f"{cell.concurrency} workers"] if cell.concurrency > 1 else []
    return [*workers, f"{cell.connections} connections"] if cell.connections else workers


def cell_parts(
    cell: NamedCell, load: Callable[[NamedCell], Sequence[str]] = load_parts
) -> list[str]:
    """Name a cell, in parts to be joined: service, row, load, operation, those that it has.

    The row is the variant of a dict, or mode and pool. Joined by spaces the parts are the name of
    a reference in stored runs.
    """
    row = cell.variant or f"{cell.mode} {cell.pool}".strip()
    pool = cell.pool if cell.variant and cell.concurrency > 1 else ""
    return [part for part in (cell.service, row, pool, *load(cell), cell.operation) if part]
