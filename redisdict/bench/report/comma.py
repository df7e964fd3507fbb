"""The results as CSV, one cell a line, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from dataclasses import fields

from redisdict.bench.results import CellResult, RunRecord

__all__ = ["to_csv"]

#: What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

#: Everything but `details`, which is nested.
COLUMNS = [field.name for field in fields(CellResult) if field.name != "details"]


def to_csv(record: RunRecord) -> str:
    """With a heading; what was not measured is empty, and a text is never a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)  # RFC 4180, line breaks included
    writer.writerow(["run", "label", "started_at", *COLUMNS])
    for result in record.results:
        values = [getattr(result, name) for name in COLUMNS]
        row = [record.identifier, record.label, record.started_at.isoformat(), *values]
        writer.writerow([_harmless(value) for value in row])
    return stream.getvalue()


def _harmless(value: object) -> object:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
