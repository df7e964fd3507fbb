"""Write a run as JSON and CSV, and read the JSON. docs/benchmarks.md has the schema.

A run that is exported, imported and exported again is the same to the last byte.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import datetime
from typing import Any

from redisdict.bench.choices import CellStatus, RunStatus, Table
from redisdict.bench.errors import UsageError
from redisdict.models import BenchmarkResult, BenchmarkRun

SCHEMA = "redisdict-benchmark-run"

#: Raised when a reader of the old form would misread the new one; fields may be added without.
VERSION = 1

#: What is written of a run and of each of its results: all but what only one database knows.
RUN_FIELDS = [field.name for field in BenchmarkRun._meta.concrete_fields if field.name != "id"]
RESULT_FIELDS = [
    field.name
    for field in BenchmarkResult._meta.concrete_fields
    if field.name not in ("id", "run", "position")
]

#: What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

#: Everything but `details`, which is nested.
COLUMNS = [name for name in RESULT_FIELDS if name != "details"]


def to_json(run: BenchmarkRun) -> str:
    """Write the whole run, ending with a line break."""
    values = {name: getattr(run, name) for name in RUN_FIELDS}
    values["identifier"] = str(run.identifier)
    for name in ("started_at", "finished_at"):
        values[name] = values[name] and values[name].isoformat()
    values["results"] = [
        {name: getattr(cell, name) for name in RESULT_FIELDS} for cell in run.cells
    ]
    document = {"schema": SCHEMA, "version": VERSION, "run": values}
    # Sorted, because not every database keeps the order of a JSON field's keys.
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True)
    return text + "\n"


def from_json(text: str) -> BenchmarkRun:
    """Read the run that a file holds.

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
        return _run(document["run"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"The file is damaged: {type(error).__name__} {error}.") from error


def _run(values: dict[str, Any]) -> BenchmarkRun:
    finished_at = values["finished_at"]
    own = {name: value for name, value in values.items() if name != "results"}
    run = BenchmarkRun(
        **{
            **own,
            "identifier": uuid.UUID(values["identifier"]),
            "status": RunStatus(values["status"]),
            "started_at": datetime.fromisoformat(values["started_at"]),
            "finished_at": finished_at and datetime.fromisoformat(finished_at),
        }
    )
    run.cells = [
        BenchmarkResult(
            **{**cell, "table": Table(cell["table"]), "status": CellStatus(cell["status"])}
        )
        for cell in values["results"]
    ]
    return run


def to_csv(run: BenchmarkRun) -> str:
    """Write the results as CSV, with a heading; missing figures are empty, no text is a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)  # RFC 4180, line breaks included
    writer.writerow(["run", "label", "started_at", *COLUMNS])
    for result in run.cells:
        values = [getattr(result, name) for name in COLUMNS]
        row = [run.identifier, run.label, run.started_at.isoformat(), *values]
        writer.writerow([_harmless(value) for value in row])
    return stream.getvalue()


def _harmless(value: object) -> object:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
