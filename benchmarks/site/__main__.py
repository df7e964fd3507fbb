"""Measures whole pages of a shop of django-oscar with redisdict, cacheops, cachalot and without.

Starts a Redis and a PostgreSQL. Each contender is a process with databases of its own on both. The
ORM, and what is measured here, run twice: what their two copies differ by (A/A) is the noise.
Before anything is measured each contender's pages are compared with the ORM's, and a product is
changed in many ways: whose next response shows the old is told.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.results.comparison import Comparison
from benchmarks.site.data import make_shop
from benchmarks.site.reports import report_of
from redisdict.bench.ab.contender import Contender

ORM = "ORM"
KINDS = (
    ORM,
    f"{ORM}, A/A",
    "redisdict, queries",
    "cacheops, queries",
    "cachalot, queries",
    "redisdict, fragments",
    "redisdict, fragments, A/A",
    "redisdict, fragments, near=60",
    "cacheops, fragments",
    "cachalot, fragments",
    "redisdict, page",
    "redisdict, page, A/A",
    "redisdict, page, near=60",
    "cacheops, page",
    "cachalot, page",
)
#: Packages that need not be there.
PEERS = ("cacheops", "cachalot")

PACKAGES = (
    "Django",
    "django-oscar",
    "psycopg",
    "redis",
    "hiredis",
    "django-cacheops",
    "django-cachalot",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.site", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument(
        "--call", action="append", help="measure this one only; may be repeated (all of them)"
    )
    parser.add_argument("--kind", action="append", help="beside the ORM; may be repeated (all)")
    options = parser.parse_args()
    if find_spec("oscar") is None:
        parser.error("django-oscar isn't installed: benchmarks/README.md says what is needed.")
    kinds = [
        kind
        for kind in KINDS
        if ((name := kind.partition(",")[0]) not in PEERS or find_spec(name))
        and (options.kind is None or kind == ORM or kind in options.kind)
    ]
    with tempfile.TemporaryDirectory(prefix="redisdict-site-") as name:
        place = Path(name)

        def announce(_: Sequence[Contender]) -> Iterator[str]:
            yield from checked(place, kinds)

        given = {"media": str(place / "media"), "reports": name}
        Comparison("benchmarks.site", kinds, make_shop, PACKAGES, given).run(
            options.rounds, options.call, {}, announce
        )
    return 0


def checked(place: Path, kinds: Sequence[str]) -> Iterator[str]:
    """What each contender's pages were, before anything was measured."""
    found = {kind: json.loads(report_of(place, kind).read_text()) for kind in kinds}
    right = found[ORM]["bodies"]
    for kind, report in found.items():
        others = [path for path in right if report["bodies"].get(path) != right[path]]
        yield (
            f"{kind}: {len(right) - len(others)} of {len(right)} pages are the ORM's;"
            + (f" not {', '.join(others)};" if others else "")
            + f" old after a change: {'; '.join(report['old']) or 'none'}"
        )
    yield ""


if __name__ == "__main__":
    sys.exit(main())
