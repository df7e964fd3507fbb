"""What runs inside the environment: all tables, the report, the plot."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from django.conf import settings

from benchmarks.peers.arguments import parse
from benchmarks.peers.environment import REPORT
from benchmarks.peers.plan import ROUNDS, ROUNDS_QUICK, Column, tables
from benchmarks.peers.plot import draw
from benchmarks.peers.results import TWIN, Measured
from benchmarks.peers.rotation import Scale, measure
from benchmarks.peers.table import report
from benchmarks.peers.target import Server, started_server
from benchmarks.tables import circumstances
from redisdict.bench.measure.environment import CpuTimes, cpu_shares
from redisdict.bench.measure.placement import SAME, choose_cpus, pinned_client

__all__ = ["main"]

#: Whose versions decide the figures.
PACKAGES = (
    "django-redisdict",
    "redis",
    "hiredis",
    "ormsgpack",
    "uvloop",
    "valkey",
    "libvalkey",
    "valkey-glide",
    "valkey-glide-sync",
    "coredis",
    "walrus",
    "redis-collections",
    "pottery",
    "redis-dict",
    "Django",
    "django-redis",
    "django-valkey",
)


def main() -> int:
    """Measure what the command line asks for.

    Returns:
        0, or 1 when there is a column in which nothing could be compared.
    """
    options = parse()
    settings.configure()  # caches read settings of Django, all of which have defaults
    warnings.simplefilter("ignore")  # pottery warns of its own iteration, each time
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    scale = Scale(rounds=rounds, seed=options.seed, is_quick=options.quick)
    cpus = choose_cpus(SAME)
    with pinned_client(cpus.client if cpus else None), started_server(cpus) as server:
        before = CpuTimes.now((os.getpid(), server.pid))
        results = [
            measure(table, server, scale, _say_progress) for table in tables(options.table or ())
        ]
        after = CpuTimes.now((os.getpid(), server.pid))
    others = cpu_shares(before, after).get("foreign_cpu_share")
    facts = [
        *_where(server, results, others),
        f"{rounds} rounds, each with every client once in random order, 10 calls at a time",
        *_peer_notes(options.environment),
    ]
    text = report(results, facts)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "peers.md").write_text(text)
    draw(results, options.output / "peers.svg")
    print(text)
    print(f"Also in {options.output}: peers.md, peers.svg", file=sys.stderr)
    has_reference = all(
        measured.ratio(column, TWIN) for measured in results for column in measured.series
    )
    return 0 if has_reference else 1


def _where(server: Server, results: list[Measured], others: float | None) -> Iterator[str]:
    placements = sorted(set().union(*(measured.placements() for measured in results)))
    yield f"{circumstances()}; {server.name}, without persistence"
    yield f"Client and server on CPUs: {', '.join(placements)}"
    if others is not None:
        yield f"Other programs took {others:.0%} of the machine's CPU time meanwhile"
    yield f"Values of 100 bytes; {', '.join(_versions())}"


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            yield f"{package} not installed"


def _peer_notes(environment: Path) -> Iterator[str]:
    for requirement, note in json.loads((environment / REPORT).read_text()).items():
        if note:
            yield f"{requirement}: {note}"


def _say_progress(measured: Measured, column: Column, seconds: float) -> None:
    twin = measured.ratio(column.name, TWIN)
    shown = f"A/A {twin}" if twin else "no A/A"
    print(f"{measured.table.title}, {column.name}: {seconds:.0f} s, {shown}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
