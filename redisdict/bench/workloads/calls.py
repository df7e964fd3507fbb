"""Define the calls that a driver times, the contract of workloads, and the data they work on.

Keys and values are made before anything is timed; the same seed gives the same data.
"""

from __future__ import annotations

import itertools
import random
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one method, each with its arguments. What it returns is a reply, or awaitable to it.

    In this form `itertools.starmap` makes them, which is the cheapest way to make prepared calls; a
    list of `functools.partial` objects, for one, would make each GET 1 to 3 % slower.
    """

    method: Callable[..., Any]
    arguments: Sequence[tuple[Any, ...]]

    def split(self, lead_in: int) -> tuple[Calls, Calls]:
        """Split off the first calls."""
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
        """The facts about what the figure counts."""

    def count(self, replies: Sequence[Any]) -> int:
        """Count the operations that the user gets out of the timed calls."""
        return len(replies)


#: Blocks between two checks of the stored values.
READ_BACK_EVERY = 20


class BlockWorkload(Workload):
    """A workload whose blocks are made beforehand and take turns.

    Args:
        block: operations in one block, of which the first `lead_in` aren't timed.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        key_count: int,
        value_bytes: Sequence[int],
        block: int,
        lead_in: int = 0,
    ) -> None:
        self.lead_in = lead_in
        self.rng = rng
        self.block = block
        self.value_bytes = value_bytes
        # Whole blocks, so that no block has one key twice.
        self.key_count = -(-key_count // block) * block
        self._blocks: Iterator[tuple[Calls, Any]] = iter(())
        self._checks = itertools.count()

    def take_turns(self, blocks: Iterable[tuple[Calls, Any]]) -> None:
        """Make these the blocks: the calls of each, and what its check has to know."""
        self._blocks = itertools.cycle(list(blocks))

    def prepare(self) -> Calls:
        calls, self.current = next(self._blocks)
        return calls

    def should_read_back(self) -> bool:
        return next(self._checks) % READ_BACK_EVERY == 0


def written_twice(items: Mapping[str, V]) -> list[tuple[str, V]]:
    """Pair every key with two values in turn, so that a lost write doesn't go unnoticed."""
    values = list(items.values())
    return [*items.items(), *zip(items, values[1:] + values[:1], strict=True)]


def blocks_of(items: Sequence[T], size: int) -> list[list[T]]:
    """Cut items in blocks of exactly `size`; the last is filled up from the beginning."""
    count = -(-len(items) // size)
    return [
        [items[place % len(items)] for place in range(number * size, (number + 1) * size)]
        for number in range(count)
    ]


#: The character of each byte: each of 64 stands for four.
_CHARACTERS = 4 * (string.ascii_letters + string.digits + "-_").encode()


def key_names(prefix: str, count: int) -> list[str]:
    """Make keys of equal length, so that no cell sends more bytes than another."""
    width = len(str(count - 1))
    return [f"{prefix}:{number:0{width}d}" for number in range(count)]


def texts(rng: random.Random, count: int, lengths: int | Sequence[int]) -> list[str]:
    """Make ASCII texts that hardly compress, of one length or of any of several."""
    choices = [lengths] if isinstance(lengths, int) else lengths
    # One by one, the characters of 100 kB would take 20 ms.
    return [
        rng.randbytes(rng.choice(choices)).translate(_CHARACTERS).decode() for _ in range(count)
    ]


def zipf_choices(rng: random.Random, items: Sequence[T], count: int, skew: float = 1.0) -> list[T]:
    """Choose so that the n-th item comes up in proportion to 1 / n**skew, as in caches."""
    weights = [1 / rank**skew for rank in range(1, len(items) + 1)]
    return rng.choices(items, weights, k=count)
