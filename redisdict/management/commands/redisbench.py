"""Benchmark servers, pools and dicts, and show saved runs: `manage.py redisbench`.

The actions are imported on demand, because they need the extra `bench`: without it the command
still has its help, and says what to install.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from redisdict.bench.cli.arguments import add_arguments
from redisdict.bench.errors import ExitStatus, SameServer, describe
from redisdict.bench.measure.cleanup import Interrupted, Interruption
from redisdict.exceptions import RedisDictError
from redisdict.extras import install_command, is_installed


class Command(BaseCommand):
    help = "Measure Redis-compatible servers, connection pools and PersistentDict."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)

    def handle(self, *args: str, **options: Any) -> None:
        if not is_installed("bench"):
            raise CommandError(
                f"redisbench needs the package rich, which isn't installed: run"
                f" {install_command('bench')} in the environment of {sys.executable}."
            )
        from redisdict.bench.cli.actions import ACTIONS

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
