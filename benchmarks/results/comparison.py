"""Measure contenders of one kind, each a process with databases of its own, in one run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.peers.target import started_server
from benchmarks.tables import circumstances, measure, table
from redisdict.bench.ab.contender import Contender, Turn
from redisdict.bench.choices import Table
from redisdict.bench.measure.placement import SAME, choose_cpus, pinned_client
from redisdict.bench.spec import SYNC, Cell
from tests.modelcache.postgres import PostgresCluster

ROOT = Path(__file__).resolve().parents[2]


class Comparison:
    """Starts a Redis, a PostgreSQL and the contenders, and measures their calls in turn.

    Args:
        package: of the benchmark, which has `child.py` and `settings.py`.
        kinds: names of the contenders, which the settings tell apart.
        make_database: makes the database that each contender gets a copy of; it is given what
            their settings are to be given.
        packages: whose versions are printed.
        given: what else the settings are to be given.
    """

    def __init__(
        self,
        package: str,
        kinds: Sequence[str],
        make_database: Callable[[Mapping[str, str]], None],
        packages: Sequence[str],
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self._package = package
        self._kinds = kinds
        self._make_database = make_database
        self._packages = packages
        self._given = dict(given or {})

    def run(
        self,
        rounds: int,
        only: Sequence[str] | None,
        references: Mapping[str, str],
        announce: Callable[[Sequence[Contender]], Iterator[str]] = lambda _: iter(()),
    ) -> None:
        """Print a table for each call.

        Args:
            only: the calls; None means all that the contenders have.
            references: by whose speed the others are told, for each call; otherwise by the first.
            announce: lines to print before.
        """
        cpus = choose_cpus(SAME)
        with ExitStack() as stack:
            stack.enter_context(pinned_client(cpus.client if cpus else None))
            server = stack.enter_context(started_server(cpus))
            cluster = stack.enter_context(PostgresCluster(listen="tcp"))
            database = cluster.settings()
            template_url = server.new_target().url
            self._make_database(self.environ(self._kinds[0], template_url, database))
            contenders = []
            for number, kind in enumerate(self._kinds):
                name = f"contender_{number}"
                cluster.copy_database("postgres", name)
                own = self.environ(kind, server.new_target().url, {**database, "NAME": name})
                child = str(ROOT / self._package.replace(".", "/") / "child.py")
                contender = Contender(kind, [sys.executable, child], own)
                contenders.append(stack.enter_context(contender))
            for contender in contenders:
                contender.wait()
            print(circumstances(self._packages))
            print(f"Load {os.getloadavg()[0]:.1f} at the start, {rounds} rounds.\n")
            for line in announce(contenders):
                print(line, flush=True)
            for call in only or contenders[0].calls:
                turns = [Turn(cell_of(each, call), each, (server.pid,)) for each in contenders]
                lines = table(
                    call,
                    measure(turns, rounds),
                    references.get(call, self._kinds[0]),
                    head="",
                    duration="{:.0f}".format,
                    ratio_digits=2,
                )
                for line in lines:
                    print(line, flush=True)
            print(f"load {os.getloadavg()[0]:.1f} at the end.")

    def environ(self, kind: str, server: str, database: Mapping[str, Any]) -> dict[str, str]:
        """The environment of a process with this contender's settings."""
        given = {**self._given, "kind": kind, "server": server, "database": database}
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "REDISDICT_BENCHMARK": json.dumps(given),
            "DJANGO_SETTINGS_MODULE": f"{self._package}.settings",
        }


def cell_of(contender: Contender, call: str) -> Cell:
    return Cell(table=Table.WORKLOADS, service=contender.title, mode=SYNC, operation=call)
