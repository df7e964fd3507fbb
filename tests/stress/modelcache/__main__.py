"""The command: starts the servers, has the processes fight, prints what came of it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from redisdict.servers.topologies import ClusterTopology
from tests.modelcache.mariadb import MariadbServer
from tests.modelcache.postgres import PostgresCluster
from tests.stress.modelcache.resharding import slots_moving

#: The caches under test; they can't be imported before Django is set up.
NAMES = (
    "modeldict",
    "strict",
    "strict_no_wait",
    "results",
    "results_without_versions",
    "results_without_barriers",
    "lists",
    "lists_no_values",
    "lists_no_barriers",
    "declared",
    "declared_no_values",
    "declared_no_barriers",
    "everything",
    "everything_no_barriers",
    "no_barriers",
    "no_net",
    "no_compilers",
    "post_save",
    "memoize",
    "cacheops",
    "cacheops_results",
    "cachalot",
    "cachalot_results",
)

#: No statement takes longer than barriers stand.
PATIENCE = "-c lock_timeout=1s -c statement_timeout=2s"

#: The same of MariaDB, which also takes the standard's `||` and quotes then, as the others do.
PATIENCE_OF_MARIADB = (
    "SET innodb_lock_wait_timeout = 1, max_statement_time = 2,"
    " sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT,ANSI_QUOTES')"
)

#: Those that have to be among the installed apps.
APPS = ("cacheops", "cachalot")


def main() -> int:
    arguments = parse()
    with ExitStack() as stack:
        moved: list[Any] | None = None
        if arguments.behind == "cluster":
            topology = stack.enter_context(ClusterTopology(find_program("redis")))
            server = topology.location
            moved = stack.enter_context(slots_moving(topology))
        else:
            server = stack.enter_context(ServerProcess(find_program("redis"), listen="tcp")).url
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.database == "postgres":
            database = stack.enter_context(PostgresCluster()).settings(options=PATIENCE)
        elif arguments.database == "mariadb":
            database = stack.enter_context(MariadbServer()).settings(
                "stress",
                init_command=PATIENCE_OF_MARIADB,
                isolation_level=arguments.isolation,
            )
        else:
            database = sqlite_settings(folder)
        set_up_django(arguments, server, database)
        from tests.stress.modelcache.fight import Fight

        result = Fight(arguments, folder / "complaints", moved).run()
    print(json.dumps({**vars(arguments), **result}, indent=2))
    is_wrong = any(result[name] for name in ("stale_reads", "own_changes_not_seen", "alarms"))
    return 1 if is_wrong else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.modelcache", description=__doc__)
    parser.add_argument("--cache", choices=NAMES, default="modeldict")
    parser.add_argument("--database", choices=["postgres", "mariadb", "sqlite"], default="postgres")
    parser.add_argument(
        "--isolation",
        choices=["read committed", "repeatable read"],
        default="read committed",
        help="of PostgreSQL's or MariaDB's transactions",
    )
    parser.add_argument("--behind", choices=["nothing", "cluster"], default="nothing")
    parser.add_argument("--tracking", choices=["auto", "plain"], default="auto")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--checks", type=int, default=0, help="end after so many; 0 for never")
    parser.add_argument(
        "--enough",
        type=count,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="end as soon as each of these figures of the result is greater than its number",
    )
    parser.add_argument("--until-stale", action="store_true", help="end with the first old row")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--kill-every", type=float, default=0.5, help="seconds, on average")
    parser.add_argument(
        "--stops", type=float, default=0.05, help="share of 20 ms in which a process is stopped"
    )
    parser.add_argument("--writes", type=float, default=0.03, help="share of all that is done")
    parser.add_argument("--auditors", type=int, default=0, help="processes that audit meanwhile")
    return parser.parse_args()


def count(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    return name, float(number)


def sqlite_settings(folder: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "stress.sqlite3"),
        "OPTIONS": {
            "timeout": 1,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
        },
    }


def set_up_django(arguments: argparse.Namespace, server: str, database: dict[str, Any]) -> None:
    given = {
        "server": server,
        "database": database,
        "tracking": getattr(arguments, "tracking", "auto"),
        "isolation": arguments.isolation if arguments.database == "postgres" else "",
        "apps": [app for app in APPS if arguments.cache.startswith(app)],
    }
    os.environ["REDISDICT_STRESS"] = json.dumps(given)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.stress.modelcache.settings"
    import django

    django.setup()


if __name__ == "__main__":
    sys.exit(main())
