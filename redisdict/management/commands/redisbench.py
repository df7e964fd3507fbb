"""`manage.py redisbench`: benchmarks of servers, pools and dicts, and what was saved of them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from redisdict.bench.cli import inspect
from redisdict.bench.cli.ab import compare_sides
from redisdict.bench.cli.arguments import add_arguments
from redisdict.bench.cli.output import Options
from redisdict.bench.cli.run import measure
from redisdict.bench.errors import ExitStatus, SameServer, describe
from redisdict.bench.measure.cleanup import Interrupted, Interruption
from redisdict.exceptions import RedisDictError

ACTIONS: Mapping[str | None, Callable[[Options, OutputWrapper, OutputWrapper], int]] = {
    None: measure,
    "services": inspect.show_services,
    "list": inspect.list_runs,
    "show": inspect.show_run,
    "compare": inspect.compare_runs,
    "ab": compare_sides,
    "export": inspect.export_run,
    "import": inspect.import_run,
    "baseline": inspect.make_baseline,
    "prune": inspect.prune_runs,
    "doctor": inspect.doctor,
    "selftest": inspect.run_selftest,
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
