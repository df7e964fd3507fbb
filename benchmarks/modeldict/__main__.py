"""Starts a Redis and a PostgreSQL, measures, and prints the tables as Markdown."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

from redisdict.bench.measure.placement import SAME, UNCONTROLLED
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from tests.modelcache.postgres import PostgresCluster

ROWS = 1000
BLOCK = 10
PACKAGES = ("Django", "psycopg", "redis", "hiredis", "django-redis", "ormsgpack")
PEERS = ("django-cacheops", "django-cachalot", "django-cache-memoize")


def main() -> int:
    arguments = parse()
    if arguments.cpu is not None:
        # The servers inherit it: everything takes turns on one CPU.
        os.sched_setaffinity(0, {arguments.cpu})
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(find_program("redis"), listen="tcp"))
        cluster = stack.enter_context(PostgresCluster(listen="tcp"))
        set_up_django(server.url, cluster.settings(), others(arguments))
        make_rows()
        for line in report(arguments):
            print(line)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modeldict", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--cpu", type=int, help="keep client and servers on this CPU")
    parser.add_argument(
        "--cachalot",
        action="store_true",
        help="with django-cachalot in the project instead of cacheops",
    )
    parser.add_argument(
        "--changes",
        action="store_true",
        help="what a change of a row costs, with no other cache in the project, and not reads",
    )
    return parser.parse_args()


def others(arguments: argparse.Namespace) -> list[str]:
    """The other caches that become apps of the project; each changes the ORM."""
    if arguments.changes:
        return []
    if arguments.cachalot:
        return ["cachalot"]
    return ["cacheops"] if find_spec("cacheops") else []


def set_up_django(server: str, database: dict[str, Any], apps: list[str]) -> None:
    given = {"server": server, "database": database, "apps": apps}
    os.environ["REDISDICT_BENCHMARK"] = json.dumps(given)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.modeldict.settings"
    import django

    django.setup()


def make_rows() -> None:
    from django.db import connection

    from benchmarks.modeldict.models import OtherProduct, PlainProduct, Product

    now = datetime.now(UTC)
    models: list[Any] = [Product, PlainProduct, OtherProduct]
    for model in models:
        with connection.schema_editor() as editor:
            editor.create_model(model)
        model._default_manager.bulk_create(
            model(
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
            )
            for number in range(ROWS)
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def report(arguments: argparse.Namespace) -> Any:
    from benchmarks.modeldict import contenders
    from benchmarks.modeldict.rounds import Turn
    from benchmarks.tables import circumstances, measure, table

    placement = UNCONTROLLED if arguments.cpu is None else SAME
    pks = list(contenders.plain.objects.values_list("pk", flat=True))
    random.Random(1).shuffle(pks)  # noqa: S311  # an order

    def turns(title: str, calls: Any, keys: Any, block: int, is_right: Any) -> list[Turn]:
        for _, call in calls:
            for key in keys:
                call(key)  # so that all of them are hits
        return [Turn(title, name, call, keys, block, is_right, placement) for name, call in calls]

    def is_row(pk: int, row: Any) -> bool:
        return bool(row.pk == pk and row.sku)

    def are_rows(wanted: list[int], rows: Any) -> bool:
        return len(rows) == len(wanted)

    yield circumstances((*PACKAGES, *PEERS))
    yield f"Client and servers on CPUs: {placement}."
    yield ""
    if arguments.changes:
        calls = list(contenders.saves())
        measured = measure(turns("save", calls, [None], BLOCK, lambda *_: True), arguments.rounds)
        yield from table("What a change costs", measured, "save()")
        return
    calls = list(contenders.one_row())
    measured = measure(turns("one", calls, pks, BLOCK, is_row), arguments.rounds)
    yield from table("One row of 11 fields, a hit", measured, contenders.OURS)
    calls = list(contenders.many_rows())
    measured = measure(turns("many", calls, [pks], 1, are_rows), arguments.rounds // 5)
    yield from table(f"{ROWS} rows, all hits", measured, contenders.OURS)


if __name__ == "__main__":
    sys.exit(main())
