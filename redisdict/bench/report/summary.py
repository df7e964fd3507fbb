"""Sum up a run in a few lines: decided differences, the best and the worst, how many are open."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

from redisdict.bench.choices import Comparison, Table
from redisdict.bench.measure.statistics import Verdict
from redisdict.bench.report.tables import with_latencies
from redisdict.models import BenchmarkRun

Pair = Mapping[str, Any]

#: So many lines at most, on a terminal that is at least 80 columns wide.
MOST_LINES = 8

#: In the order in which they are counted, as they are called.
WORDS = {
    Verdict.FASTER: "faster",
    Verdict.SLOWER: "slower",
    Verdict.SAME: "same",
    Verdict.UNSURE: "undecided",
    Verdict.NOT_COMPARABLE: "not comparable",
}


def summary(run: BenchmarkRun, width: int) -> list[str]:
    """Write at most `MOST_LINES` lines, of the given width at most."""
    pairs = [one for one in run.comparisons if one["kind"] != Comparison.TWIN]
    if not pairs:
        return []
    last = wrap(counts_text(Counter(Verdict(one["verdict"]) for one in pairs)) + _more(run), width)
    within = [one for one in pairs if one["kind"] != Comparison.SERVICE]
    extremes = [
        line
        for name, decided, choose in (
            ("best", Verdict.FASTER, max),
            ("worst", Verdict.SLOWER, min),
        )
        for one in _extreme(within, decided, choose)
        for line in wrap(_named(name, one, width), width, subsequent_indent="  ")
    ]
    services = [
        line
        for one in _services([one for one in pairs if one["kind"] == Comparison.SERVICE])
        for line in wrap(one, width, subsequent_indent="  ")
    ]
    room = MOST_LINES - len(extremes) - len(last)
    if len(services) > room:
        services = [*services[: room - 1], "… and more between services (--verbose)"]
    return [*services, *extremes, *last]


def counts_text(counts: Mapping[Verdict, int], more: str = "--verbose") -> str:
    """Count verdicts, and say how to see those that aren't shown."""
    told = ", ".join(f"{counts[one]} {word}" for one, word in WORDS.items() if counts.get(one))
    return f"{told} ({more})" if more else told


def _services(pairs: Iterable[Pair]) -> list[str]:
    """Describe for each two services what is faster, slower and the same."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in pairs:
        if one["verdict"] != Verdict.UNSURE:
            verdicts = found.setdefault((one["left"], one["right"]), {})
            named = f"{one['operation']} \N{MULTIPLICATION SIGN}{one['ratio']:.2f}"
            verdicts.setdefault(one["verdict"], []).append(named)
    lines = []
    for (left, right), verdicts in found.items():
        told = "; ".join(
            f"{verdict} {', '.join(verdicts[verdict])}" for verdict in WORDS if verdict in verdicts
        )
        lines.append(f"{left} against {right}: {told}")
    return lines


def _extreme(pairs: Sequence[Pair], decided: Verdict, choose: Any) -> list[Pair]:
    own = [one for one in pairs if one["verdict"] == decided]
    return [choose(own, key=lambda one: math.log(one["ratio"]))] if own else []


def _named(name: str, one: Pair, width: int) -> str:
    """Name both sides of a comparison; with its interval, where the line has room for it."""
    load = f", {one['concurrency']} workers" if one["concurrency"] > 1 else ""
    line = (
        f"{name}: {one['service']}{load}, {one['left']} against {one['right']}:"
        f" {one['operation']} \N{MULTIPLICATION SIGN}{one['ratio']:.2f}"
    )
    interval = f" [{one['low']:.2f}, {one['high']:.2f}]"
    return line + interval if len(line + interval) <= width else line


def hidden_tables(run: BenchmarkRun) -> list[Table]:
    """List the tables that a short report omits: all but services and dicts, if it has those."""
    if not (run.of_table(Table.POOLS) or run.of_table(Table.DICT)):
        return []
    return [one for one in (Table.CONCURRENCY, Table.WORKLOADS) if run.of_table(one)]


def _more(run: BenchmarkRun) -> str:
    hidden = [str(table.label) for table in hidden_tables(run)]
    hidden += ["latencies"] if with_latencies(run) else []
    return f"; also there: {', '.join(hidden)}" if hidden else ""
