"""Name what the records of a run choose from: its tables, how it ended, how each cell did.

The models have these as choices of their fields; nothing here knows of the models, of a server or
of a client.
"""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

__all__ = ["CELL_FIELDS", "CellKey", "CellStatus", "RunStatus", "Table"]

#: What tells one cell of a run from all others.
CELL_FIELDS = (
    "table", "service", "mode", "pool", "variant", "operation", "concurrency", "connections",
)  # fmt: skip

#: The values of `CELL_FIELDS`.
CellKey = tuple[str, str, str, str, str, str, int, int]


class Table(TextChoices):
    """The tables of a report."""

    POOLS = "pools", _("pools")
    DICT = "dict", _("dict")
    CONCURRENCY = "concurrency", _("pools under concurrency")
    WORKLOADS = "workloads", _("further workloads")


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
