"""Visit the cells of every ModelDict, and count those that disagree with the database.

A pass visits each cell once, or a random sample of all. It costs a SCAN over all keys of the
server's database for each table, and for 100 cells two EVALSHA and one query.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.db import connections, router

from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.audit.judge import Judge, Verdicts
from redisdict.modelcache.cached_models import CachedModel, CachedTable
from redisdict.modelcache.registrations import cached_models
from redisdict.modelcache.scan import Scan

#: Cells that are judged together.
CHUNK = 100

#: For how long a cell has been seen to disagree, in seconds: the name of each class and its end.
AGES = (("under_1s", 1.0), ("under_10s", 10.0), ("under_1m", 60.0), ("under_1h", 3600.0))
OLDEST = "over_1h"

#: Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


@dataclass(slots=True)
class TableCount:
    """The counts of one table in a pass.

    Attributes:
        model: its label and what is kept, such as "shop.Product" or "shop.Product by category_id".
        database: the alias of DATABASES that its rows were read from.
        alias: of REDISDICT, whose server keeps the cells.
        judged: cells that were compared with the database, including those that disagree.
        disagreed: cells whose content differs from the database's.
        by_age: the number of those, by the time since they were first seen to disagree.
        unjudged: cells that weren't compared, by the reason.
        repaired: cells that were removed.
        examples: the first of those that disagree: the end of the cell's name, and the fields.
    """

    model: str
    database: str
    alias: str
    judged: int = 0
    disagreed: int = 0
    by_age: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    examples: list[tuple[str, Sequence[str]]] = field(default_factory=list)


#: What this process has judged since its start, for metrics: by model and database.
totals: dict[tuple[str, str], tuple[int, int]] = {}

#: Examples of one table in a report.
MOST_EXAMPLES = 5


class Audit:
    """Audits tables again and again.

    Args:
        using: an alias of REDISDICT; None for those of all.
        database: an alias of DATABASES; None for the ones that each model's rows are written to.
        repairs: whether cells that disagree are removed, so that the next reader fills them again.
    """

    def __init__(
        self, using: str | None = None, database: str | None = None, *, repairs: bool = False
    ) -> None:
        self._using = using
        self._database = database
        self._repairs = repairs
        #: When a cell was first seen to disagree, by the monotonic clock.
        self._first_seen: dict[bytes, float] = {}

    def run(self, sample: int | None = None, ends_at: float | None = None) -> list[TableCount]:
        """Make one pass: all cells, or a sample of so many; less when the time is over.

        Args:
            ends_at: by the monotonic clock; no further cells are judged then.

        Raises:
            BackendUnavailable, redis.exceptions.RedisError: a server can't be asked.
            django.db.Error: a database can't be asked.
            ConfigurationError: an alias isn't configured.
        """
        tables = self.tables()
        counts = {table: _count_of(table) for table in tables}
        for table, cells in _sampled(tables, sample) if sample else _paged(tables):
            if ends_at is not None and time.monotonic() >= ends_at:
                break
            self._judge(table, cells, counts[table])
        return list(counts.values())

    def tables(self) -> list[CachedTable]:
        """The tables whose cells are audited, each once, whichever aliases lead to it."""
        found: dict[tuple[str, object], CachedTable] = {}
        for cached in cached_models():
            if cached.is_whole or self._using not in (None, cached.alias):
                continue
            for table in self._tables_of(cached):
                if table.shows_all_alike and table.scope is None:
                    found.setdefault((cached.alias, table.names), table)
        return list(found.values())

    def _tables_of(self, cached: CachedModel) -> list[CachedTable]:
        if self._database is not None:
            return [cached.table(self._database)]
        written = cached.table(router.db_for_write(cached.model))
        return [written, *(one for one in cached.tables() if one.database in connections)]

    def _judge(self, table: CachedTable, cells: Sequence[bytes], count: TableCount) -> None:
        verdicts = Judge(table, repairs=self._repairs).judge(cells)
        count.judged += verdicts.judged
        count.disagreed += len(verdicts.disagreements)
        count.unjudged += verdicts.unjudged
        count.repaired += verdicts.repaired
        before = totals.get((count.model, count.database), (0, 0))
        totals[count.model, count.database] = (
            before[0] + verdicts.judged,
            before[1] + len(verdicts.disagreements),
        )
        self._note_ages(cells, verdicts, count)

    def _note_ages(self, cells: Sequence[bytes], verdicts: Verdicts, count: TableCount) -> None:
        now = time.monotonic()
        for one in verdicts.disagreements:
            age_s = now - self._first_seen.setdefault(one.cell, now)
            count.by_age[age_class(age_s)] += 1
            if len(count.examples) < MOST_EXAMPLES:
                name = one.cell.partition(b"}:")[2].decode(errors="backslashreplace")
                count.examples.append((name, one.fields))
        standing = {one.cell for one in verdicts.disagreements}
        for cell in cells:
            if cell not in standing or self._repairs:
                self._first_seen.pop(cell, None)


def age_class(seconds: float) -> str:
    """Name the class of an age."""
    return next((name for name, end in AGES if seconds < end), OLDEST)


def _count_of(table: CachedTable) -> TableCount:
    return TableCount(str(table.cached), table.database, table.cached.alias)


def _paged(tables: Sequence[CachedTable]) -> Iterator[tuple[CachedTable, Sequence[bytes]]]:
    """Iterate over all cells, by tables, as they are found."""
    for table in tables:
        for cells in _pages(table):
            for some in slices(cells, CHUNK):
                yield table, some


def _sampled(
    tables: Sequence[CachedTable], size: int
) -> Iterator[tuple[CachedTable, Sequence[bytes]]]:
    """So many of all cells, each as likely as any other; they are found before the first is given.

    Of n cells seen so far each is in the sample with the chance size / n.
    """
    kept: list[tuple[CachedTable, bytes]] = []
    seen = 0
    for table in tables:
        for cells in _pages(table):
            for cell in cells:
                seen += 1
                if len(kept) < size:
                    kept.append((table, cell))
                elif (at := _random.randrange(seen)) < size:
                    kept[at] = table, cell
    for table in tables:
        for some in slices([cell for one, cell in kept if one is table], CHUNK):
            yield table, some


def _pages(table: CachedTable) -> Iterator[Sequence[bytes]]:
    scan = Scan(table)
    while not scan.is_over:
        yield table.backend.driver.run(scan.next_keys())
