"""The results as CSV, one cell a line, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from dataclasses import fields

from redisdict.bench.results import CellResult, RunRecord

__all__ = ["to_csv"]

#: Everything but `details`, which is nested.
COLUMNS = [field.name for field in fields(CellResult) if field.name != "details"]


def to_csv(record: RunRecord) -> str:
    """With a heading; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["run", "label", "started_at", *COLUMNS])
    for result in record.results:
        values = [getattr(result, name) for name in COLUMNS]
        writer.writerow([record.identifier, record.label, record.started_at.isoformat(), *values])
    return stream.getvalue()
