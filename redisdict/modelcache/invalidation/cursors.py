"""Make cursors of a watched connection, which intercept every method that executes statements.

Django's `execute_wrappers` see `execute()` and `executemany()`. Drivers' cursors have other
methods, which Django's cursors pass on: here they go through the connection's watch
(`interception`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from redisdict.modelcache.slots.barrier import is_refusal

#: The attribute of a connection that holds its watch.
WATCH = "_redisdict_watch"

#: Methods of drivers' cursors that execute a statement, their first argument; how they are watched.
BY_STATEMENT = {
    "executescript": "run_script",
    "copy": "run_copy",
    "copy_expert": "run_statement",
    "stream": "run_stream",
}

#: Those that change something else.
BY_PROCEDURE = frozenset({"copy_from", "callfunc"})


def watched_cursors(connection: BaseDatabaseWrapper, name: str) -> Callable[[Any], Any]:
    """Make cursors whose other ways to execute something are seen, too."""
    make = getattr(connection, name)
    if getattr(make, "__func__", None) is BaseDatabaseWrapper.make_cursor:
        # What Django's own does, at no more than its price.
        kind: Any = CursorWrapper
        return functools.partial(_watched_class(kind), db=connection)

    def make_watched(cursor: Any) -> Any:
        made = make(cursor)
        if isinstance(made, CursorWrapper):
            made.__class__ = _watched_class(type(made))  # type: ignore[arg-type]  # a class is hashable
        return made

    return make_watched


@functools.cache
def _watched_class(kind: type[CursorWrapper]) -> type[CursorWrapper]:
    """Make a class of Django's cursors whose further methods are seen, not only `execute*()`."""

    class Watched(kind):  # type: ignore[misc, valid-type]  # made at run time
        def callproc(self, *args: Any, **kwargs: Any) -> Any:
            call = super().callproc
            return self.db.__dict__[WATCH].run_procedure(lambda: call(*args, **kwargs), self)

    for name, way in BY_STATEMENT.items():
        setattr(Watched, name, property(_by_statement(kind, name, way)))
    for name in BY_PROCEDURE:
        setattr(Watched, name, property(_by_procedure(kind, name)))
    Watched.__name__, Watched.__qualname__ = kind.__name__, kind.__qualname__
    Watched.__module__ = kind.__module__
    return Watched


def _by_statement(kind: type[CursorWrapper], name: str, way: str) -> Callable[[Any], Any]:
    def method(cursor: Any) -> Any:
        run = _method_of(kind, name, cursor)
        watched = getattr(cursor.db.__dict__[WATCH], way)
        return lambda sql, *args, **kwargs: watched(sql, lambda: run(sql, *args, **kwargs))

    return method


def _by_procedure(kind: type[CursorWrapper], name: str) -> Callable[[Any], Any]:
    def method(cursor: Any) -> Any:
        run = _method_of(kind, name, cursor)
        watch = cursor.db.__dict__[WATCH]
        return lambda *args, **kwargs: watch.run_procedure(lambda: run(*args, **kwargs))

    return method


def _method_of(kind: type[CursorWrapper], name: str, cursor: Any) -> Any:
    """The method of Django's cursor, where it has one, or of the driver's.

    Raises:
        AttributeError: there is none.
    """
    own = getattr(kind, name, None)
    return own.__get__(cursor) if own is not None else getattr(cursor.cursor, name)


def run_to_its_end(run: Callable[[], Any], cursor: Any) -> Any:
    """Run a changing statement, and fetch all results: only then has it certainly ended.

    A procedure, and several statements in one text, may have several results on MySQL. Its drivers
    come back with the first one, while the server still executes what stands after it. What is
    refused then is raised by `nextset()`, as the driver would.

    Args:
        cursor: Django's, whose driver's cursor `run` uses.

    Raises:
        Exception: of the driver, when the connection is lost before the last result.
    """
    result = run()
    raw = cursor.cursor
    found: list[ResultSet | Exception] = [ResultSet(raw)]
    with cursor.db.wrap_database_errors:
        _fetch_later_sets(raw, found)
    if raw.description is None and len(found) == 1:
        return result
    cursor.cursor = FetchedCursor(raw, found)
    return cursor.cursor if result is raw else result


def _fetch_later_sets(raw: Any, found: list[ResultSet | Exception]) -> None:
    advance = getattr(raw, "nextset", None)
    while advance is not None:
        try:
            if not advance():
                return
        except Exception as error:
            if not is_refusal(error):
                raise
            found.append(error)
            return
        found.append(ResultSet(raw))


class ResultSet:
    """One result of a driver's cursor, with its rows fetched."""

    def __init__(self, raw: Any) -> None:
        self.description = raw.description
        self.lastrowid = getattr(raw, "lastrowid", None)
        fetched = () if raw.description is None else raw.fetchall()
        self.rowcount = raw.rowcount  # SQLite counts them as they are fetched
        #: Django knows the end of the rows by an empty one of these.
        self.kind: Callable[[Iterable[Any]], Sequence[Any]] = (
            tuple if isinstance(fetched, tuple) else list
        )
        self.rows: Iterator[Any] = iter(fetched)


class FetchedCursor:
    """A driver's cursor whose results have been fetched; otherwise like the original.

    Args:
        found: the results, and the error that was raised instead of a further one.
    """

    def __init__(self, raw: Any, found: Sequence[ResultSet | Exception]) -> None:
        self._raw = raw
        self._later: list[ResultSet | Exception] | None = list(found)
        self.nextset()

    def nextset(self) -> bool | None:
        """Go on to the next result; None if there is none."""
        if self._later is None:
            advance = getattr(self._raw, "nextset", None)  # SQLite's has none
            is_there: bool | None = None if advance is None else advance()
            self._rows = iter(self._raw)
            return is_there
        if not self._later:
            return None
        found = self._later.pop(0)
        if isinstance(found, Exception):
            raise found
        self._rows, self._kind = found.rows, found.kind
        self.description, self.rowcount = found.description, found.rowcount
        self.lastrowid = found.lastrowid
        return True

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        return self._kind(islice(self._rows, self._raw.arraysize if size is None else size))

    def fetchall(self) -> Sequence[Any]:
        return self._kind(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def execute(self, *arguments: Any) -> Any:
        self._show_as_it_is()
        return self._raw.execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        self._show_as_it_is()
        return self._raw.executemany(*arguments)

    def _show_as_it_is(self) -> None:
        """Behave like the driver's cursor from now on."""
        self._rows, self._later = iter(self._raw), None
        for name in ("description", "rowcount", "lastrowid"):
            self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
