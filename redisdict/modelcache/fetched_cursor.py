"""Run statements of SQLite to their end before their rows are asked for.

A statement that returns rows (`RETURNING`) is over for SQLite when the last one is fetched, or the
cursor is closed; only then is its change visible to others. The barriers have to stand until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

__all__ = ["FetchedCursor", "run_to_its_end"]


def run_to_its_end(run: Callable[[], Any], cursor: Any) -> Any:
    """Run a statement that changes something, and fetch what it returns.

    Args:
        cursor: Django's, whose driver's cursor `run` uses.
    """
    result = run()
    raw = cursor.cursor
    if raw.description is None:
        return result
    cursor.cursor = FetchedCursor(raw)
    return cursor.cursor if result is raw else result


class FetchedCursor:
    """A cursor of the driver whose rows have been fetched; else it does what that one does."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._rows: Iterator[Any] = iter(raw.fetchall())

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return list(islice(self._rows, self._raw.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def execute(self, *arguments: Any) -> Any:
        self._rows = iter(self._raw)
        return self._raw.execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        self._rows = iter(self._raw)
        return self._raw.executemany(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
