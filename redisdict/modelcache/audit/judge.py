"""Judge cells of one table: find those that disagree with the database.

The row is read between two reads of its cell. A cell that has changed meanwhile, or that has a
writer's barrier, isn't judged: a writer that follows the protocol has its barrier in the cell from
before its commit until after it (`slots.barrier`), so only an unchanged cell has to agree with a
row that was read in between.

Two equal reads don't prove that a cell was unchanged: it may have had a barrier, and been filled
again with the same value. So a cell that seems to disagree is read once more, alone, while the
server watches it and the table's cell (WATCH): EXEC fails if any client has changed them. Then the
row is read twice, and a field with a different value in each read, such as a random one, is
ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import WatchError

from redisdict.modelcache.audit.truth import RowTruth, truth_of
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.slots.lease import ABSENT, SHORTEST
from redisdict.modelcache.slots.store import new_token

#: How often one cell is watched that somebody keeps touching.
ATTEMPTS = 3

#: Why a cell wasn't judged.
CHANGED = "changed"  #: somebody has changed or barred it between the two reads
EMPTY = "empty"  #: it held no value when it was read: a barrier, a lease, or one of other fields
SNAPSHOT = "snapshot"  #: the connection doesn't show what is committed: a standby, a transaction
UNKNOWN = "unknown"  #: which row it is can't be told by its name, or its values can't be compared


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A cell that holds something else than the database.

    Attributes:
        cell: its key on the server.
        fields: the names of the fields that differ, never their values.
    """

    cell: bytes
    fields: Sequence[str]


@dataclass(slots=True)
class Verdicts:
    """The verdicts on the cells that were compared.

    Attributes:
        judged: how many were compared with the database, among them those that disagree.
        disagreements: those that hold something else.
        unjudged: how many weren't compared, by the reason.
        repaired: how many of those that disagreed were removed.
    """

    judged: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    unjudged: Counter[str] = field(default_factory=Counter)
    repaired: int = 0

    def add(self, other: Verdicts) -> None:
        self.judged += other.judged
        self.disagreements += other.disagreements
        self.unjudged += other.unjudged
        self.repaired += other.repaired


class Judge:
    """Judges cells of one table.

    Args:
        repairs: whether cells that disagree are removed, so that the next reader fills them again.
    """

    def __init__(self, table: CachedTable, *, repairs: bool = False) -> None:
        self.table = table
        self._truth = truth_of(table)
        self._repairs = repairs

    def judge(self, cells: Sequence[bytes]) -> Verdicts:
        """Judge some cells. Two EVALSHA and one query; WATCH and EXEC for each that may disagree.

        Raises:
            BackendUnavailable, redis.exceptions.RedisError: the server can't be asked.
            django.db.Error: the database can't be asked.
        """
        verdicts = Verdicts()
        held = self._read(cells)
        verdicts.unjudged[EMPTY] += len(cells) - len(held)
        if not held:
            return verdicts
        asked = self._truth.ask(held)
        if not asked.is_committed:
            verdicts.unjudged[SNAPSHOT] += len(held)
            return verdicts
        again = self._read(list(held))
        for cell, body in held.items():
            if again.get(cell) != body:
                verdicts.unjudged[CHANGED] += 1
            elif cell not in asked.found:
                verdicts.unjudged[UNKNOWN] += 1
            elif self._truth.differences(body, asked.found[cell]) == []:
                verdicts.judged += 1
            else:
                self._look_again(cell, verdicts)
        return verdicts

    def _read(self, cells: Sequence[bytes]) -> dict[bytes, bytes]:
        """Read these cells as readers would now, without a lease and without a wait."""
        table = self.table
        operation = table.store.read(cells, new_token(), 0, keeps=False)
        answers = table.backend.driver.run(operation)
        return {
            cell: answer
            for cell, answer in zip(cells, answers, strict=True)
            if isinstance(answer, bytes) and self._is_value(answer)
        }

    def _is_value(self, body: bytes) -> bool:
        if body == ABSENT:
            # Elsewhere nobody believes it, and no writer bars it before a row appears.
            return self.table.cached.believes_absence
        return len(body) >= SHORTEST

    def _look_again(self, cell: bytes, verdicts: Verdicts) -> None:
        """Judge one cell while the server watches it."""
        for _ in range(ATTEMPTS):
            try:
                with _watching(self.table, cell):
                    verdict = self._compare_closely(cell)
            except WatchError:
                continue
            if verdict is None:
                break
            # A connection may lead to a server that is no primary any more: ask as readers do.
            if self._read([cell]).get(cell) != verdict[0]:
                continue
            self._note(cell, verdict[1], verdicts)
            return
        else:
            verdicts.unjudged[CHANGED] += 1
            return
        verdicts.unjudged[UNKNOWN] += 1

    def _compare_closely(self, cell: bytes) -> tuple[bytes, list[str]] | None:
        """Return the cell's body and the differences; None if these can't be determined."""
        held = self._read([cell])
        if not held:
            raise WatchError("it holds no value now")
        first, second = self._truth.ask(held), self._truth.ask(held)
        if not (first.is_committed and second.is_committed) or cell not in first.found:
            return None
        body, one, other = held[cell], first.found[cell], second.found.get(cell)
        differing = self._truth.differences(body, one)
        also = self._truth.differences(body, other)
        if differing is None or also is None:
            return None
        if isinstance(self._truth, RowTruth) and one is not None and other is not None:
            varying = self._truth.compare(one, other)
            if varying is None:
                return None
            return body, [name for name in differing if name in also and name not in varying]
        return body, differing if differing == also else []

    def _note(self, cell: bytes, differing: list[str], verdicts: Verdicts) -> None:
        verdicts.judged += 1
        if not differing:
            return
        verdicts.disagreements.append(Disagreement(cell, differing))
        if self._repairs:
            self.table.backend.driver.run(self.table.store.lift([cell], new_token()))
            self.table.near.drop([cell])
            verdicts.repaired += 1


@contextmanager
def _watching(table: CachedTable, cell: bytes) -> Iterator[None]:
    """Let the server watch a cell, and its table's, for changes in the block.

    WATCH, and EXEC with a GET, over a connection of its own.

    Raises:
        redis.exceptions.WatchError: at the end: it was.
    """
    client: Any = table.backend.client()
    with client.pipeline(transaction=True) as pipeline:
        pipeline.watch(cell, _table_key(table, cell))
        yield
        pipeline.multi()
        pipeline.get(cell)
        pipeline.execute()


def _table_key(table: CachedTable, cell: bytes) -> bytes:
    """The key of the table's cell in the slot of this one: they have one name, in braces."""
    name = cell.partition(b"}:")[0] + b"}"
    keys: Mapping[bytes, bytes] = {key: key for key in table.store.table_keys}
    return keys[name]
