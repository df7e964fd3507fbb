"""Measures kept results beside the plain ORM, cacheops and cachalot, in one interleaved run.

Starts a Redis and a PostgreSQL. Each contender is a process with a database of its own on both,
for other caches change the ORM. The ORM, and what is measured here, run twice: what their two
copies differ by (A/A) is the noise.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec

from benchmarks.results.child import CATEGORIES, PRODUCTS
from benchmarks.results.comparison import Comparison

ORM, OURS, NEAR, UNWATCHED = "ORM", "cached()", "cached(near=60)", "unwatched"
ROWS, BOTH = "ModelDict", "ModelDict and cached()"
KINDS = (
    ORM,
    f"{ORM}, A/A",
    OURS,
    f"{OURS}, A/A",
    NEAR,
    UNWATCHED,
    ROWS,
    f"{ROWS}, A/A",
    BOTH,
    "cacheops",
    "cachalot",
)

WORDS = """thing sold described hundred characters paper light machine river island harbour letter
winter garden coast night stone field bird guide history small blue heavy"""

#: Packages that need not be there.
PEERS = ("cacheops", "cachalot")

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
    kinds = [kind for kind in KINDS if kind not in PEERS or find_spec(kind)]
    Comparison("benchmarks.results", kinds, make_rows, PACKAGES).run(
        options.rounds, options.call, REFERENCES
    )
    return 0


def make_rows(environ: Mapping[str, str]) -> None:
    """Make the database that each contender gets a copy of."""
    os.environ.update(environ)
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
    chance = random.Random(7)  # noqa: S311  # texts, prices and ratings
    Product.objects.bulk_create(
        Product(
            name=f"Product {number}",
            slug=f"product-{number}",
            description=" ".join(chance.choices(WORDS.split(), k=22)),
            price=Decimal(chance.randrange(100, 100_000)) / 100,
            stock=number,
            is_active=True,
            created_at=now - timedelta(minutes=chance.randrange(1_000_000)),
            updated_at=now - timedelta(seconds=chance.randrange(1_000_000)),
            sku=uuid.uuid4(),
            rating=chance.randrange(50) / 10,
            category=categories[number % CATEGORIES],
        )
        for number in range(PRODUCTS)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    connections.close_all()


if __name__ == "__main__":
    sys.exit(main())
