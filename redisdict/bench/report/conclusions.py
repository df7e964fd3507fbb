"""What a run proves, in sentences made from its intervals and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from redisdict.bench.results import RunRecord

__all__ = ["conclusions"]

Comparison = Mapping[str, Any]


def conclusions(record: RunRecord) -> list[str]:
    """One sentence for each pair of rows; "same" only where the interval lies within ±5 %."""
    return [
        *_services(_of_kind(record, "service")),
        *_layouts(_of_kind(record, "layout")),
        *_rows(_of_kind(record, "mode")),
        *_rows(_of_kind(record, "pool")),
    ]


def _of_kind(record: RunRecord, kind: str) -> list[Comparison]:
    return [comparison for comparison in record.comparisons if comparison["kind"] == kind]


def _services(found: Iterable[Comparison]) -> Iterator[str]:
    for (left, right), pairs in _grouped(found, "left", "right"):
        yield f"{left} against {right}: {_figures(pairs)}."


def _layouts(found: Iterable[Comparison]) -> Iterator[str]:
    for (left,), pairs in _grouped(found, "left"):
        mode = left.partition(" ")[0]
        for pair in pairs:
            name = f"{mode} HASH {pair['operation']}"
            yield f"{name} is {_interval(pair)} of direct keys: {pair['verdict']}."


def _rows(found: Iterable[Comparison]) -> Iterator[str]:
    keys = ("service", "concurrency", "connections", "left", "right")
    for (service, workers, connections, left, right), pairs in _grouped(found, *keys):
        load = f" with {workers} workers and {connections} connections" if workers > 1 else ""
        yield f"{service}{load}, {left} against {right}: {_figures(pairs)}."


def _figures(pairs: Iterable[Comparison]) -> str:
    return ", ".join(f"{pair['operation']} {_interval(pair)} {pair['verdict']}" for pair in pairs)


def _interval(pair: Comparison) -> str:
    return f"{pair['ratio']:.2f} [{pair['low']:.2f}, {pair['high']:.2f}]"


def _grouped(
    found: Iterable[Comparison], *keys: str
) -> Iterator[tuple[tuple[Any, ...], list[Comparison]]]:
    """Comparisons that share these values, in the order in which they first appear."""

    def values(comparison: Comparison) -> tuple[Any, ...]:
        return tuple(comparison[key] for key in keys)

    ordered = list(found)
    first_seen = {values(one): place for place, one in reversed(list(enumerate(ordered)))}
    ordered.sort(key=lambda one: first_seen[values(one)])
    for shared, group in groupby(ordered, values):
        yield shared, list(group)
