"""Write a run as JSON and CSV, and read the JSON. docs/benchmarks.md has the schema.

What is exported, imported and exported again is the same to the last byte.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import uuid
from dataclasses import fields
from datetime import datetime
from typing import Any

from redisdict.bench.errors import UsageError
from redisdict.bench.records import CellResult, CellStatus, RunRecord, RunStatus
from redisdict.bench.spec import Table

__all__ = ["SCHEMA", "VERSION", "from_json", "to_csv", "to_json"]

SCHEMA = "redisdict-benchmark-run"

#: Raised when a reader of the old form would misread the new one; fields may be added without.
VERSION = 1


def to_json(record: RunRecord) -> str:
    """The whole run, ending with a line break."""
    run = dataclasses.asdict(record)
    run["identifier"] = str(record.identifier)
    for name in ("started_at", "finished_at"):
        run[name] = run[name] and run[name].isoformat()
    document = {"schema": SCHEMA, "version": VERSION, "run": run}
    # Sorted, because not every database keeps the order of a JSON field's keys.
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True)
    return text + "\n"


def from_json(text: str) -> RunRecord:
    """The run that a file holds.

    Raises:
        UsageError: it isn't such a file, or of a later version.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(f"The file isn't JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(
            'The file isn\'t a benchmark run: "schema" is missing or another than'
            f' "{SCHEMA}". Export one with `redisbench export RUN`.'
        )
    if document.get("version") != VERSION:
        raise UsageError(
            f"The file has version {document.get('version')} of the format, and this redisdict"
            f" reads version {VERSION}. Update redisdict."
        )
    try:
        return _record(document["run"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"The file is damaged: {type(error).__name__} {error}.") from error


def _record(run: dict[str, Any]) -> RunRecord:
    finished_at = run["finished_at"]
    return RunRecord(
        **{
            **run,
            "identifier": uuid.UUID(run["identifier"]),
            "status": RunStatus(run["status"]),
            "started_at": datetime.fromisoformat(run["started_at"]),
            "finished_at": finished_at and datetime.fromisoformat(finished_at),
            "results": [_result(result) for result in run["results"]],
        }
    )


def _result(result: dict[str, Any]) -> CellResult:
    return CellResult(
        **{**result, "table": Table(result["table"]), "status": CellStatus(result["status"])}
    )


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
