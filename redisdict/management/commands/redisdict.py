"""Show, change, export and move items of dicts, and examine servers: `manage.py redisdict`."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, no_translations

from redisdict.cli import dicts, items, transfer
from redisdict.cli.arguments import add_arguments
from redisdict.cli.chosen import Options, one_line, status_of
from redisdict.cli.doctor import doctor
from redisdict.cli.output import ExitStatus, Output
from redisdict.exceptions import RedisDictError

ACTIONS: Mapping[str, Callable[[Options, Output], int | None]] = {
    "list": dicts.list_dicts,
    "show": dicts.show,
    "get": items.get,
    "set": items.set_item,
    "delete": items.delete,
    "clear": items.clear,
    "export": transfer.export,
    "import": transfer.import_items,
    "move": transfer.move,
    "doctor": doctor,
}


class Command(BaseCommand):
    help = (
        "List, read, change, export, import and move the items of dicts, and examine the servers."
    )

    #: The action itself reports errors of the settings, in one line; `doctor` lists all.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)

    @no_translations
    def handle(self, *args: str, **options: Any) -> None:
        if options["action"] is None:  # argparse's own error wouldn't list them
            raise CommandError(
                f"An action is missing: {', '.join(ACTIONS)}. --help explains them.", returncode=2
            )
        output = Output(self.stdout, self.stderr, is_json=bool(options.get("json")))
        try:
            status = ACTIONS[options["action"]](options, output)
        except BrokenPipeError:
            # Python writes the rest at its end, and would fail because nothing reads it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ExitStatus.INTERRUPTED)
        except (RedisDictError, redis.RedisError, ConnectionError) as error:
            raise CommandError(one_line(error), returncode=status_of(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=ExitStatus.INTERRUPTED) from None
        if status:
            sys.exit(status)
