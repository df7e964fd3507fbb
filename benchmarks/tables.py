"""Tables of calls that take turns in short blocks, in fresh random order; and of what took part."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from redisdict.bench.measure.environment import commit, machine
from redisdict.bench.measure.rounds import OpenCell, Rounds, Series, ratio_between
from redisdict.bench.measure.statistics import percentile
from redisdict.bench.spec import Precision

__all__ = ["circumstances", "measure", "table"]

ROOT = Path(__file__).resolve().parents[1]

SEED = 1


def measure(turns: Sequence[OpenCell], rounds: int) -> dict[str, Series]:
    """Measure so many rounds of all, and give the series of each by the name of its contender."""
    measured = Rounds(
        turns,
        {},
        Precision(min_rounds=rounds, max_rounds=rounds, seconds=3600),
        rng=random.Random(SEED),  # noqa: S311  # an order
        clock=time.perf_counter_ns,
    ).run()
    return {turn.cell.service: measured[turn.cell] for turn in turns}


def finely(time_us: float) -> str:
    """Write microseconds of calls that take few of them."""
    return f"{time_us:.2f}" if time_us < 10 else f"{time_us:.1f}"


def table(
    title: str,
    measured: Mapping[str, Series],
    reference: str,
    *,
    head: str = "call",
    duration: Callable[[float], str] = finely,
    ratio_digits: int = 3,
) -> Iterator[str]:
    """Write Markdown, with each speed in that of the reference.

    Args:
        head: what the first column has.
        duration: writes microseconds.
        ratio_digits: how many are told of a ratio, behind the point.
    """
    yield f"### {title}"
    yield ""
    yield f"| {head} | median µs | p99 µs | speed, {reference} = 1 |"
    yield "|---|---:|---:|---:|"
    for name, own in measured.items():
        if own.failure is not None:
            yield f"| {name} | | | failed: {own.failure.reason} |"
            continue
        times = sorted(value / 1000 for value in own.times if value is not None)
        ratio = ratio_between(own, measured[reference])
        shown = ""
        if ratio is not None:
            value, low, high = (
                f"{each:.{ratio_digits}f}" for each in (ratio.value, ratio.low, ratio.high)
            )
            shown = f"{value} ({low} to {high})"
        middle, slow = (duration(percentile(times, each)) for each in (50, 99))
        yield f"| {name} | {middle} | {slow} | {shown} |"
    yield ""


def circumstances(packages: Sequence[str] = ()) -> str:
    """Say in one line on what, and of which commit, figures are measured.

    Args:
        packages: whose versions decide them; those that aren't installed are left out.
    """
    facts = [machine(), f"Python {platform.python_version()}"]
    facts.append(f"commit {commit(ROOT) or 'unknown'} on {time.strftime('%Y-%m-%d')}")
    return "; ".join([*facts, *filter(None, [_versions(packages)])])


def _versions(packages: Sequence[str]) -> str:
    found = []
    for name in packages:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
