"""What `--format` accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from redisdict.bench.report.comma import to_csv
from redisdict.bench.report.exchange import to_json
from redisdict.bench.report.markdown import markdown
from redisdict.bench.report.terminal import terminal
from redisdict.bench.results import RunRecord

__all__ = ["FORMATS", "render"]

FORMATS: Mapping[str, Callable[[RunRecord], str]] = {
    "table": terminal,
    "markdown": markdown,
    "json": to_json,
    "csv": to_csv,
}


def render(record: RunRecord, name: str) -> str:
    """The run in one of `FORMATS`."""
    return FORMATS[name](record)
