"""Warn of what makes a run's figures doubtful, and say what to do about it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from redisdict.bench import noise
from redisdict.bench.choices import Table
from redisdict.bench.measure.environment import HIGH_FOREIGN_SHARE
from redisdict.bench.measure.placement import UNCONTROLLED
from redisdict.bench.measure.server_pool import differing_settings
from redisdict.bench.operations import ITERATIONS
from redisdict.bench.records import speed_of
from redisdict.models import BenchmarkResult, BenchmarkRun
from redisdict.wire.server_info import AT_SHUTDOWN, UNKNOWN

WIDE_INTERVAL = 0.05
HIGH_SPREAD = 0.3
HIGH_DRIFT = 0.1
HIGH_NOISE_FLOOR = 0.05
FEW_CPUS = 4

#: Warnings that change what may be concluded.
DECISIVE = frozenset(
    {
        "noise-floor", "placement-uncontrolled", "persistence-on", "settings-differ",
        "hiredis-missing", "few-cpus",
    }
)  # fmt: skip

#: Warnings that mean that a difference could hide in the noise.
NOISY = frozenset({"noise-floor", "wide-interval"})

Warnings = Iterator[tuple[str, str, str]]


def find_warnings(run: BenchmarkRun) -> list[dict[str, Any]]:
    """Find all warnings of a run: each has a name, a finding, and advice."""
    found = (*_of_figures(run), *_of_conditions(run), *_of_choice(run))
    return [{"name": name, "text": text, "advice": advice} for name, text, advice in found]


def decisive_warnings(run: BenchmarkRun) -> list[dict[str, Any]]:
    """Pick the saved warnings that change what may be concluded; the others are remarks."""
    return [one for one in run.warnings if one["name"] in DECISIVE]


def warning_lines(run: BenchmarkRun, names: Collection[str] | None = None) -> list[str]:
    """Write the warnings that were saved with a run, as lines for stderr; all without names."""
    return [
        f"warning {one['name']}: {one['text']} {one['advice']}"
        for one in run.warnings
        if names is None or one["name"] in names
    ]


def _of_figures(run: BenchmarkRun) -> Warnings:
    """Look at how far the figures scatter."""
    if floors := _high_noise_floors(run):
        yield (
            "noise-floor",
            f"Two copies of the reference may differ by up to {floors}.",
            "Smaller differences are treated as noise there. Measure longer (--preset rigorous),"
            " on a quieter machine.",
        )
    if wide := [
        one
        for one in run.measured
        if (speed := speed_of(one)) is not None and speed.half_width > WIDE_INTERVAL
    ]:
        yield (
            "wide-interval",
            f"The interval is wider than ±{WIDE_INTERVAL:.0%}: {_names(wide)}.",
            "Measure longer (--preset standard or rigorous) or fewer cells at a time (--service,"
            " --operation).",
        )
    if spread := [one for one in run.measured if one.details.get("spread", 0) > HIGH_SPREAD]:
        yield (
            "high-spread",
            f"The blocks of a cell differ widely: {_names(spread)}.",
            "Trust their ratios, which compare within a round, not their ops/s.",
        )
    if drifting := [one for one in run.measured if abs(one.details.get("drift", 0)) > HIGH_DRIFT]:
        yield (
            "drift",
            f"Speed changed over the rounds by more than {HIGH_DRIFT:.0%}: {_names(drifting)}.",
            "The machine changed meanwhile (heat, clock rate, neighbours); ratios hold, ops/s of"
            " two runs can't be compared.",
        )


def _high_noise_floors(run: BenchmarkRun) -> str:
    """List high noise floors that the verdicts used: the greatest of each operation."""
    floors: dict[str, float] = {}
    for one in noise.twins(run):
        # Iterations vary so much from process to process that this needs no warning.
        if one["operation"] not in ITERATIONS:
            farthest = noise.ratio_of(one).farthest
            floors[one["operation"]] = max(farthest, floors.get(one["operation"], 0.0))
    return ", ".join(
        f"{math.expm1(floor):.1%} ({operation})"
        for operation, floor in floors.items()
        if floor > HIGH_NOISE_FLOOR
    )


def _of_conditions(run: BenchmarkRun) -> Warnings:
    """Check the machine and the servers of the run."""
    facts = run.environment
    servers = facts.get("servers", {})
    share = facts.get("foreign_cpu_share")
    if share is not None and share > HIGH_FOREIGN_SHARE:
        yield (
            "foreign-cpu",
            f"Other processes took {share:.0%} of the CPU time.",
            "Stop other programs. Ratios are affected little, latencies and ops/s more.",
        )
    uncontrolled = [one.service for one in run.measured if one.placement == UNCONTROLLED]
    if uncontrolled:
        yield (
            "placement-uncontrolled",
            f"It is unknown on which CPU the server ran: {', '.join(dict.fromkeys(uncontrolled))}.",
            "That can change the figures by a factor of three. Compare these services only with"
            " one another, or let redisbench start the server.",
        )
    writing = [
        f"{title} ({one['persistence']})"
        for title, one in servers.items()
        if one["persistence"] not in ("off", AT_SHUTDOWN, UNKNOWN)
    ]
    if writing:
        yield (
            "persistence-on",
            f"Writes also went to disk: {', '.join(writing)}.",
            "That is fair only if all compared servers do so in the same way.",
        )
    for name, values in differing_settings(servers).items():
        described = ", ".join(f"{title}: {value or 'none'}" for title, value in values.items())
        yield (
            "settings-differ",
            f"The servers' {name} differs ({described}).",
            "Give all of them the same, or say so when you show the figures.",
        )
    packages = facts.get("packages", {})
    if packages and packages.get("hiredis") is None:
        yield (
            "hiredis-missing",
            "Without hiredis redis-py parses replies in Python, which takes a quarter longer.",
            "pip install hiredis",
        )


def _of_choice(run: BenchmarkRun) -> Warnings:
    """Check for choices that limit what the figures can show."""
    bound = [
        one
        for one in run.measured
        if one.concurrency == 1
        and one.server_cpu_us
        and one.ops_per_second
        and one.server_cpu_us < 0.5 * 1e6 / one.ops_per_second
    ]
    if bound:
        yield (
            "client-bound",
            f"In {len(bound)} cells the server was idle more than half of the time.",
            "These figures say what a Python client can do, not what the server can.",
        )
    cpus = run.environment.get("cpu_count") or FEW_CPUS
    many = [
        title
        for title, facts in run.environment.get("servers", {}).items()
        if facts["name"].startswith(("KeyDB", "Dragonfly"))
    ]
    if many and cpus < FEW_CPUS:
        yield (
            "few-cpus",
            f"{' and '.join(many)} can use many CPUs, and this machine has {cpus}.",
            "Measure on a machine with more CPUs.",
        )
    pools = {one.pool for one in run.of_table(Table.POOLS) if one.is_measured}
    if len(pools) > 1 and not run.of_table(Table.CONCURRENCY):
        yield (
            "concurrency-one",
            "Pools were compared with one caller only, where none of them ever waits.",
            "Compare them under load: --preset standard or --table concurrency.",
        )


def _names(results: list[BenchmarkResult], shown: int = 3) -> str:
    names = list(map(str, results))
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
