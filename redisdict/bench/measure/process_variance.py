"""How much two processes of one server program differ, though nothing differs between them.

For as long as they live, one is a little faster by the layout of its memory and by the seed of its
hash function. The rounds of one start can't tell that from a real difference, so it is averaged
over several starts, and what may be left of it is never called a difference.
"""

from __future__ import annotations

import math

from redisdict.bench.spec import ITERATIONS

__all__ = ["least_difference", "process_variance"]

#: Twice the standard deviation of the ratio of two processes, over 40 pairs of Valkey processes.
CALLS = 0.01

#: The same for iterations over 1000 items, which read the items in the order of memory's and the
#: hash function's accidents, over 26 pairs of Redis and Valkey processes.
WALKS = 0.15


def process_variance(operation: str) -> float:
    """By how much one process may be faster than another at this operation: 0.01 is 1 %."""
    return WALKS if operation in ITERATIONS else CALLS


def least_difference(operation: str, floor: float, server_starts: int) -> float:
    """The least difference that a run may call one, on the log scale.

    Args:
        floor: what two truly equal things differed by in the run, at this operation.
        server_starts: over how many processes of each server the rounds were shared out.
    """
    return max(floor, process_variance(operation) / math.sqrt(server_starts))
