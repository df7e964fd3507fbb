"""Calls, and the contract between a workload and the driver that times it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Call", "Calls", "Workload", "blocks_of"]

#: A bound method and its arguments. What it returns is the reply, or awaitable to it.
Call = tuple[Callable[..., Any], tuple[Any, ...]]
Calls = Sequence[Call]


class Workload(ABC):
    """One operation of one client, block after block.

    The first `lead_in` calls of each block only warm up: not timed, but checked like the others.
    """

    lead_in: int

    @abstractmethod
    def open(self) -> None:
        """Store what the operation needs to find."""

    @abstractmethod
    def prepare(self) -> Calls:
        """The next block's calls, after putting back what the last block used up."""

    @abstractmethod
    def check(self, replies: Sequence[Any]) -> None:
        """Compare the block's replies with the truth.

        Raises:
            WrongReply: the server answered something else.
        """

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the figure counts, so that nobody has to guess."""

    def count(self, replies: Sequence[Any]) -> int:
        """How many operations the user gets out of the timed calls."""
        return len(replies)


def blocks_of(calls: Calls, size: int) -> list[Calls]:
    """All calls in blocks of exactly `size`; the last block is filled up from the beginning."""
    count = -(-len(calls) // size)
    return [
        [calls[place % len(calls)] for place in range(number * size, (number + 1) * size)]
        for number in range(count)
    ]
