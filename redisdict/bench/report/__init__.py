"""Report a run: as tables for the terminal, as Markdown, JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from redisdict.bench.report.files import to_csv, to_json
from redisdict.bench.report.markdown import markdown
from redisdict.bench.report.terminal import terminal
from redisdict.models import BenchmarkRun

__all__ = ["FORMATS", "render"]

#: What `--format` accepts.
FORMATS: Mapping[str, Callable[[BenchmarkRun], str]] = {
    "table": terminal,
    "markdown": markdown,
    "json": to_json,
    "csv": to_csv,
}


def render(run: BenchmarkRun, name: str) -> str:
    """Write the run in one of `FORMATS`."""
    return FORMATS[name](run)
