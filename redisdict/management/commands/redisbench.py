"""`manage.py redisbench`: benchmarks of servers, pools and dicts, and what was saved of them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from redisdict.bench.cli import history, inspecting
from redisdict.bench.cli.arguments import add_arguments
from redisdict.bench.cli.measuring import ExitStatus, measure
from redisdict.bench.errors import SameServer, describe
from redisdict.bench.interruption import Interrupted, Interruption
from redisdict.exceptions import RedisDictError

ACTIONS: Mapping[str | None, Callable[[Mapping[str, Any], OutputWrapper, OutputWrapper], int]] = {
    None: measure,
    "services": inspecting.show_services,
    "list": history.list_runs,
    "show": history.show_run,
    "compare": history.compare_runs,
    "export": history.export_run,
    "import": history.import_run,
    "prune": history.prune_runs,
    "doctor": inspecting.doctor,
    "selftest": inspecting.run_selftest,
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
