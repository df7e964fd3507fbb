"""Report a run: as tables for the terminal, as Markdown, JSON and CSV.

Only the terminal's tables need the extra `bench`, and they are imported on demand: the admin
exports runs without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from redisdict.bench.report.files import to_csv, to_json
from redisdict.bench.report.markdown import markdown
from redisdict.models import BenchmarkRun

__all__ = ["FORMATS", "render"]


def _table(run: BenchmarkRun) -> str:
    """Write tables for a terminal of the usual width, without colours."""
    from redisdict.bench.report.terminal import terminal

    return terminal(run)


#: What `--format` accepts.
FORMATS: Mapping[str, Callable[[BenchmarkRun], str]] = {
    "table": _table,
    "markdown": markdown,
    "json": to_json,
    "csv": to_csv,
}


def render(run: BenchmarkRun, name: str) -> str:
    """Write the run in one of `FORMATS`."""
    return FORMATS[name](run)
