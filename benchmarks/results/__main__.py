"""Measures kept results beside the plain ORM, cacheops and cachalot, in one interleaved run.

Starts a Redis and a PostgreSQL. Each contender is a process with a database of its own on both,
for other caches change the ORM. The ORM, and what is measured here, run twice: what their two
copies differ by (A/A) is the noise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.peers.target import started_server
from benchmarks.results.child import CATEGORIES, PRODUCTS
from redisdict.bench.ab.contender import Contender, Turn
from redisdict.bench.choices import Table
from redisdict.bench.measure.placement import SAME, choose_cpus, pinned_client
from redisdict.bench.measure.rounds import Rounds, Series, ratio_between
from redisdict.bench.measure.statistics import percentile
from redisdict.bench.spec import SYNC, Cell, Precision
from tests.modelcache.postgres import PostgresCluster

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("child.py")

ORM, OURS, NEAR, UNWATCHED = "ORM", "cached()", "cached(near=60)", "unwatched"
KINDS = (ORM, f"{ORM}, A/A", OURS, f"{OURS}, A/A", NEAR, UNWATCHED, "cacheops", "cachalot")

#: By whose speed the others are told.
REFERENCES = {"a write": UNWATCHED, "a whole row": UNWATCHED}

PACKAGES = ("Django", "psycopg", "redis", "hiredis", "django-cacheops", "django-cachalot")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument(
        "--call", action="append", help="measure this one only; may be repeated (all of them)"
    )
    options = parser.parse_args()
    kinds = [
        kind for kind in KINDS if not kind.startswith("cache") or "(" in kind or find_spec(kind)
    ]
    cpus = choose_cpus(SAME)
    with ExitStack() as stack:
        stack.enter_context(pinned_client(cpus.client if cpus else None))
        server = stack.enter_context(started_server(cpus))
        cluster = stack.enter_context(PostgresCluster(listen="tcp"))
        make_rows(cluster.settings())
        contenders = []
        for number, kind in enumerate(kinds):
            name = f"results_{number}"
            cluster.copy_database("postgres", name)
            database = {**cluster.settings(), "NAME": name}
            given = {"kind": kind, "server": server.new_target().url, "database": database}
            contender = Contender(kind, [sys.executable, str(CHILD)], environ(given))
            contenders.append(stack.enter_context(contender))
        for contender in contenders:
            contender.wait()
        print(f"{platform.machine()}, Python {platform.python_version()}, {versions()};")
        print(f"load {os.getloadavg()[0]:.1f} at the start, {options.rounds} rounds.\n")
        for call in options.call or contenders[0].calls:
            turns = [Turn(cell_of(each, call), each, (server.pid,)) for each in contenders]
            measured = Rounds(
                turns,
                {},
                Precision(min_rounds=options.rounds, max_rounds=options.rounds, seconds=3600),
                rng=random.Random(1),  # noqa: S311  # an order
                clock=time.perf_counter_ns,
            ).run()
            series = {cell.service: each for cell, each in measured.items()}
            for line in table(call, series):
                print(line, flush=True)
        print(f"load {os.getloadavg()[0]:.1f} at the end.")
    return 0


def cell_of(contender: Contender, call: str) -> Cell:
    return Cell(table=Table.WORKLOADS, service=contender.title, mode=SYNC, operation=call)


def environ(given: dict[str, Any]) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "REDISDICT_BENCHMARK": json.dumps(given),
        "DJANGO_SETTINGS_MODULE": "benchmarks.results.settings",
    }


def make_rows(database: dict[str, Any]) -> None:
    """Make the database that each contender gets a copy of."""
    given = {"kind": ORM, "server": "", "database": database}
    os.environ.update(environ(given))
    import django
    from django.db import connection, connections

    django.setup()
    from benchmarks.results.models import Category, Product

    for model in (Category, Product):
        with connection.schema_editor() as editor:
            editor.create_model(model)
    categories = Category.objects.bulk_create(
        Category(name=f"Category {number}", slug=f"category-{number}")
        for number in range(CATEGORIES)
    )
    now = datetime.now(UTC)
    Product.objects.bulk_create(
        Product(
            name=f"Product {number}",
            slug=f"product-{number}",
            description="A thing that is sold, described in a hundred characters or so. " * 2,
            price=Decimal("12.50"),
            stock=number,
            is_active=True,
            created_at=now,
            updated_at=now,
            sku=uuid.uuid4(),
            rating=4.5,
            category=categories[number % CATEGORIES],
        )
        for number in range(PRODUCTS)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    connections.close_all()


def table(call: str, series: dict[str, Series]) -> Iterator[str]:
    reference = REFERENCES.get(call, ORM)
    yield f"### {call}"
    yield ""
    yield f"| | median µs | p99 µs | speed, {reference} = 1 |"
    yield "|---|---:|---:|---:|"
    for name, own in series.items():
        if own.failure is not None:
            yield f"| {name} | | | failed: {own.failure.reason} |"
            continue
        times = sorted(value / 1000 for value in own.times if value is not None)
        ratio = ratio_between(own, series[reference])
        shown = "" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        middle, slow = percentile(times, 50), percentile(times, 99)
        yield f"| {name} | {middle:.0f} | {slow:.0f} | {shown} |"
    yield ""


def versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


if __name__ == "__main__":
    sys.exit(main())
