"""Limit the size of one command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

#: Arguments of one command, its name among them. ElastiCache serverless refuses more (its source is
#: in docs/managed.md), and Dragonfly closes the connection at 65,536.
MOST_ARGUMENTS: Final = 3_999

#: Items in one command of a bulk operation. Each may have a key and a value there, and beside them
#: the command has no more than a few arguments.
ITEMS_A_COMMAND: Final = 1_600


def slices(items: Sequence[T], size: int = ITEMS_A_COMMAND) -> Iterator[Sequence[T]]:
    """Cut the items up, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
