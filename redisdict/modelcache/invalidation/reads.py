"""Record which tables the statements of a computation read.

A developer may forget to declare a table that a computation reads, and would not notice: the result
is only old now and then. So the tables that are read are compared with the declared ones. The
statements come from `interception`; reads that bypass it aren't seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict.modelcache.invalidation.statements import (
    COMMENT,
    IDENTIFIER,
    names_in,
    read_statement,
    table_of,
    text_of,
)

#: Of the computation under way in this thread or task.
recording: ContextVar[Reads | None] = ContextVar("redisdict_reads", default=None)

#: Executes the queries of this thread or task, from which it may keep results: a function of the
#: compiler, of how it would execute, and of which kind of result is asked for.
executing: ContextVar[Callable[[Any, Callable[[], Any], Any], Any] | None] = ContextVar(
    "redisdict_executing", default=None
)

READ = re.compile(r"\b(?:FROM|JOIN|TABLE)\b", re.IGNORECASE)
TABLE = re.compile(
    rf"{COMMENT}*(?:ONLY\b)?{COMMENT}*(?:{IDENTIFIER}{COMMENT}*\.{COMMENT}*)*({IDENTIFIER})",
    re.IGNORECASE,
)
NEXT = re.compile(rf"(?:{COMMENT}*\bAS\b)?(?:{COMMENT}*{IDENTIFIER})?{COMMENT}*,", re.IGNORECASE)


class Reads:
    """The tables that statements have read.

    Attributes:
        tables: their names, as `table_of()` gives them, with other names that stand where a table's
            may stand.
        databases: the aliases of the connections that were used.
        has_written: whether a statement may have changed something.
    """

    def __init__(self) -> None:
        self.tables: set[str] = set()
        self.databases: set[str] = set()
        self.has_written = False

    def note(self, connection: BaseDatabaseWrapper, sql: Any) -> None:
        """Note a statement, before it is executed."""
        text = text_of(sql, connection.connection)
        statement = read_statement(text)
        tables = set(tables_in(text))
        if not statement.only_reads and not _is_about_transactions(statement.verb):
            self.has_written = True
        if tables:
            self.tables |= tables
            self.databases.add(connection.alias)

    def add(self, others: Reads) -> None:
        """Add the reads of another one."""
        self.tables |= others.tables
        self.databases |= others.databases
        self.has_written |= others.has_written

    def undeclared(self, declared: Iterable[str]) -> list[str]:
        """The models whose tables were read, beside those declared; their labels."""
        others = self.tables.difference(declared)
        if not others:
            return []
        return labels_of(others)


def labels_of(tables: Collection[str]) -> list[str]:
    """The models that have these tables."""
    models = apps.get_models(include_auto_created=True)
    having = (one for one in models if not one._meta.proxy and table_of(one) in tables)
    return sorted(one._meta.label for one in having)


def _is_about_transactions(verb: str) -> bool:
    return verb in ("savepoint", "release", "rollback", "begin", "start", "commit", "set")


def tables_in(text: str) -> Iterator[str]:
    """The names that stand behind FROM or JOIN, those of lists with commas too."""
    for word in READ.finditer(text):
        at = word.end()
        while (found := TABLE.match(text, at)) is not None:
            yield from names_in(found.group(1))
            more = NEXT.match(text, found.end())
            if more is None:
                break
            at = more.end()
