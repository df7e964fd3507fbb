"""How fast this package means to be, and whether it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers.plan import BULK, CONCURRENT, SINGLE
from benchmarks.peers.results import Measured
from benchmarks.peers.roster import BY_HAND, DICT, PROTOCOL, REFERENCE, UNIX, Kind
from redisdict.bench.measure.statistics import Ratio

__all__ = ["PROMISES", "Overtaken", "Promise", "measured_ratios", "overtaken", "verdict"]

OVER_CONNECTION_POOL = "redis-py over our ConnectionPool"


@dataclass(frozen=True)
class Promise:
    """`client` is at least `at_least` times as fast as `other`, in these columns."""

    tables: Sequence[str]
    columns: Sequence[str]
    client: str
    other: str
    at_least: float


_SYNC = ("hash", "keys")
_LOOPS = ("asyncio hash", "asyncio keys", "uvloop hash", "uvloop keys")
_BULK = ("bulk hash", "bulk keys")
_ONE_BY_ONE = [column.name for column in SINGLE]
_ONE_TASK = [column.name for column in CONCURRENT if column.tasks == 1]
_MANY_TASKS = [column.name for column in CONCURRENT if column.tasks > 1]
_MANY = [column.name for column in BULK[:2]]
_ITERATION = [BULK[2].name]

PROMISES = (
    Promise(_SYNC, _ONE_BY_ONE, DICT, REFERENCE, 1.45),
    Promise(_SYNC, _ONE_BY_ONE, DICT, BY_HAND, 0.9),
    Promise(_SYNC, _ONE_BY_ONE, f"{DICT}{UNIX}", REFERENCE, 1.9),
    Promise(_SYNC, _ONE_BY_ONE, OVER_CONNECTION_POOL, REFERENCE, 1.2),
    Promise(
        _SYNC,
        _ONE_BY_ONE,
        "redis-py over our BlockingConnectionPool",
        OVER_CONNECTION_POOL,
        0.95,
    ),
    Promise(_BULK, _MANY, DICT, REFERENCE, 0.6),
    Promise(_BULK, _MANY, f"{DICT}, raw", REFERENCE, 0.85),
    Promise(_BULK, _ITERATION, DICT, REFERENCE, 0.65),
    Promise(_BULK, _ITERATION, f"{DICT}, raw", REFERENCE, 0.9),
    Promise(_LOOPS, _ONE_TASK, DICT, REFERENCE, 1.2),
    Promise(_LOOPS, _MANY_TASKS, DICT, REFERENCE, 8),
    Promise(_LOOPS, _MANY_TASKS, DICT, PROTOCOL, 0.5),
)


def measured_ratios(promise: Promise, measured: Measured) -> dict[str, Ratio]:
    """Column -> the ratio that was measured; empty for a table it isn't about."""
    if measured.table.name not in promise.tables:
        return {}
    found = {
        column: measured.ratio(column, promise.client, promise.other)
        for column in promise.columns
        if column in measured.series
    }
    return {column: ratio for column, ratio in found.items() if ratio is not None}


def verdict(promise: Promise, ratios: Mapping[str, Ratio]) -> str:
    """Whether it is kept in all columns, not kept in one, or the intervals leave it open."""
    if all(ratio.low >= promise.at_least for ratio in ratios.values()):
        return "kept"
    if any(ratio.high < promise.at_least for ratio in ratios.values()):
        return "**not kept**"
    return "open"


@dataclass(frozen=True)
class Overtaken:
    """A peer that is faster than the dict: `ratio` times as fast.

    `raw_ratio` is that against the dict without a serializer, for a peer that has none either.
    """

    column: str
    peer: str
    ratio: Ratio
    raw_ratio: Ratio | None

    def __str__(self) -> str:
        text = f"{self.column}: {self.peer} is {self.ratio} times as fast"
        if self.raw_ratio is None:
            return text
        return (
            f"{text}; it has no serializer, and is {self.raw_ratio} times as fast as the raw dict"
        )


def overtaken(measured: Measured) -> Iterator[Overtaken]:
    """Every peer whose interval lies above the dict's speed, over the same kind of connection."""
    for column in measured.series:
        for client in measured.table.clients:
            transport = UNIX if client.name.endswith(UNIX) else ""
            ratio = measured.ratio(column, client.name, f"{DICT}{transport}")
            if client.kind is not Kind.PEER or ratio is None or ratio.low <= 1:
                continue
            is_bare = client.name in measured.without_serializer
            raw_ratio = measured.ratio(column, client.name, f"{DICT}, raw{transport}")
            yield Overtaken(column, client.name, ratio, raw_ratio if is_bare else None)
