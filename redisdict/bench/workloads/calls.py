"""Calls, and the contract between a workload and the driver that times it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Calls", "Workload", "blocks_of"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one method, each with its arguments. What it returns is a reply, or awaitable to it.

    In this form `itertools.starmap` makes them, which is the cheapest way to make prepared calls; a
    list of `functools.partial` objects, for one, would make each GET 1 to 3 % slower.
    """

    method: Callable[..., Any]
    arguments: Sequence[tuple[Any, ...]]

    def split(self, lead_in: int) -> tuple[Calls, Calls]:
        """The first calls, and the others."""
        return (
            Calls(self.method, self.arguments[:lead_in]),
            Calls(self.method, self.arguments[lead_in:]),
        )


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


def blocks_of(items: Sequence[T], size: int) -> list[list[T]]:
    """All items in blocks of exactly `size`; the last block is filled up from the beginning."""
    count = -(-len(items) // size)
    return [
        [items[place % len(items)] for place in range(number * size, (number + 1) * size)]
        for number in range(count)
    ]
