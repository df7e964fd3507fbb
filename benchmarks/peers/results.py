"""What was measured: per table, per column, per client."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from benchmarks.peers.plan import Table
from benchmarks.peers.roster import REFERENCE
from redisdict.bench.measure.rounds import Series, ratio_between
from redisdict.bench.measure.statistics import Ratio

__all__ = ["TWIN", "Measured"]

#: The second copy of the reference: its distance from 1 is the noise.
TWIN = f"{REFERENCE} (A/A)"


@dataclass
class Measured:
    """The rounds of one table, by column and client.

    Args:
        failures: client -> why it could not be opened.
        without_serializer: clients that store bytes as they are.
        item_by_item: clients that got a tenth of the items in bulk.
    """

    table: Table
    series: dict[str, dict[str, Series]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    without_serializer: set[str] = field(default_factory=set)
    item_by_item: set[str] = field(default_factory=set)

    def ratio(self, column: str, client: str, other: str = REFERENCE) -> Ratio | None:
        """How many times as fast as the other the client is; None when one has no figure."""
        own, against = self._series(column, client), self._series(column, other)
        if own is None or against is None:
            return None
        return ratio_between(own, against)

    def ops_per_second(self, column: str, client: str) -> float | None:
        """By the median round; None when there is no figure."""
        series = self._series(column, client)
        times = series.times_at(series.placement) if series is not None else []
        return 1e9 / statistics.median(times) if times else None

    def failure(self, column: str, client: str) -> str:
        """Why there is no figure; empty when there is one, or when there is no such operation."""
        series = self.series[column].get(client)
        if series is not None and series.failure is not None:
            return series.failure.reason
        return self.failures.get(client, "")

    def placements(self) -> set[str]:
        """Where client and server were in most rounds of each column."""
        return {
            series.placement
            for column in self.series.values()
            for series in column.values()
            if series.placement
        }

    def _series(self, column: str, client: str) -> Series | None:
        series = self.series[column].get(client)
        return None if series is None or series.failure is not None else series
