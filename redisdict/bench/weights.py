"""How the time of a run is shared out: every group gets what a round of it takes beside others."""

from __future__ import annotations

from redisdict.bench.plan import Group
from redisdict.bench.spec import ASYNC, SYNC, BenchmarkSpec

__all__ = ["weight"]

#: What a block of a cell with many workers takes, for each of them, in the unit of `weight()`.
CROWD_WEIGHT = {ASYNC: 0.6, SYNC: 1.0}


def weight(group: Group, spec: BenchmarkSpec) -> float:
    """How long a round of the group takes, roughly, in blocks of ten plain operations."""
    total = 0.0
    for cell in group.cells:
        if cell.concurrency > 1:
            total += cell.concurrency * CROWD_WEIGHT[cell.mode]
            continue
        blocks = 1.0
        if cell.operation.startswith("PIPE"):
            blocks = 1 + spec.batch_size / 60
        elif cell.operation == "Iter":
            blocks = spec.iteration_items / 300
        elif cell.operation == "Items":
            blocks = spec.iteration_items / 150
        elif cell.operation == "CONNECT":
            blocks = 30.0
        total += blocks * (2 if cell.mode == ASYNC else 1)
    return total
