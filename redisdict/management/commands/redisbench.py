"""`manage.py redisbench`: benchmarks of servers, pools and dicts, and what was saved of them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from redisdict.bench.cli import machine, saved_runs
from redisdict.bench.cli.arguments import add_arguments
from redisdict.bench.cli.output import Options
from redisdict.bench.cli.run import measure
from redisdict.bench.errors import ExitStatus, SameServer, describe
from redisdict.bench.measure.interruption import Interrupted, Interruption
from redisdict.exceptions import RedisDictError

ACTIONS: Mapping[str | None, Callable[[Options, OutputWrapper, OutputWrapper], int]] = {
    None: measure,
    "services": machine.show_services,
    "list": saved_runs.list_runs,
    "show": saved_runs.show_run,
    "compare": saved_runs.compare_runs,
    "export": saved_runs.export_run,
    "import": saved_runs.import_run,
    "prune": saved_runs.prune_runs,
    "doctor": machine.doctor,
    "selftest": machine.run_selftest,
}


class Command(BaseCommand):
    help = "Measure Redis-compatible servers, connection pools and PersistentDict."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)

    def handle(self, *args: str, **options: Any) -> None:
        act = ACTIONS[options["action"]]
        try:
            # A session listens by itself, to end a block first; all else ends at once.
            with Interruption().listening():
                status = act(options, self.stdout, self.stderr)
        except SameServer as error:
            raise CommandError(describe(error), returncode=ExitStatus.WRONG_REPLY) from error
        except RedisDictError as error:
            raise CommandError(describe(error)) from error
        except Interrupted as error:
            if not error.is_told:
                self.stderr.write(f"{error}\n")
            sys.exit(error.exit_status)
        if status:
            sys.exit(status)
