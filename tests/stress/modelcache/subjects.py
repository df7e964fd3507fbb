"""The tables that are read and checked, and the numbers that their rows have in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.stress.modelcache.models import Leaf, Node, Part, Place, Row

__all__ = ["LEAVES", "NODES", "PARTS", "PLACES", "ROWS", "SUBJECTS", "Subject", "at", "state_of"]

#: So many rows a subject can have.
MOST = 1000


@dataclass(frozen=True)
class Subject:
    """A table whose rows are checked.

    Attributes:
        number: its rows stand in the ledger from `number * MOST` on.
        state: SQL of a row's state, by its columns.
    """

    name: str
    number: int
    table: str
    state: str = "version * 2"

    def item(self, pk: int) -> int:
        """The number of a row in the ledger."""
        return self.number * MOST + pk


ROWS = Subject("row", 0, Row._meta.db_table)
PLACES = Subject("place", 1, Place._meta.db_table)
NODES = Subject("node", 2, Node._meta.db_table)
PARTS = Subject(
    "part",
    3,
    Part._meta.db_table,
    "version * 2 + CASE WHEN owner_id IS NULL THEN 1 ELSE 0 END",
)
LEAVES = Subject("leaf", 4, Leaf._meta.db_table)

#: By their numbers.
SUBJECTS = (ROWS, PLACES, NODES, PARTS, LEAVES)


def at(item: int) -> tuple[Subject, int]:
    """The subject and the primary key of a number in the ledger."""
    number, pk = divmod(item, MOST)
    return SUBJECTS[number], pk


def state_of(version: int, *, is_deleted: bool = False) -> int:
    """States of a row in their order: its end comes after the version that it has ended.

    The end of a part is the loss of its owner.
    """
    return version * 2 + is_deleted


def state_of_row(row: Any) -> int:
    """The state that an instance shows."""
    return state_of(row.version, is_deleted=isinstance(row, Part) and row.owner_id is None)
