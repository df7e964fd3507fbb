"""Audit cached models, and have PostgreSQL announce other changes: `manage.py modeldict`."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from redisdict.exceptions import ConfigurationError
from redisdict.management.auditing import Auditing, add_audit_arguments
from redisdict.modelcache.triggers import Listener, creating_sql, dropping_sql, watched_models


class Command(BaseCommand):
    help = (
        "Compare what ModelDict has cached with the database (audit), or let PostgreSQL announce"
        " the rows that raw SQL or another program changes (sql, create, drop, listen)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            choices=["audit", "sql", "create", "drop", "listen"],
            help="audit: compare cells with the database. sql: print the statements of create, for"
            " a migration. create, drop: make or remove the triggers. listen: remove changed"
            " rows from the cache, until interrupted.",
        )
        parser.add_argument(
            "--database",
            help='an alias of DATABASES; "default" if none, and for an audit the one that each'
            " model is written to",
        )
        add_audit_arguments(parser)

    def handle(self, *args: Any, action: str, database: str | None, **options: Any) -> None:
        if database is not None and database not in connections:
            raise CommandError(f"--database is {database!r}; an alias of DATABASES is expected.")
        if action == "audit":
            try:
                status = Auditing(self.stdout, self.stderr, {**options, "database": database}).run()
            except ConfigurationError as error:
                raise CommandError(str(error)) from error
            if status:
                sys.exit(status)
            return
        self._tell_of_changes(action, database or DEFAULT_DB_ALIAS)

    def _tell_of_changes(self, action: str, database: str) -> None:
        try:
            listener = Listener(database)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        models = watched_models(database)
        if not models:
            raise CommandError("No model has a ModelDict, so there is nothing to announce.")
        if action == "listen":
            self.listen(listener, database)
        elif action == "sql":
            self.stdout.write("\n".join(f"{sql};" for sql in creating_sql(models, database)))
        else:
            statements = creating_sql if action == "create" else dropping_sql
            with transaction.atomic(using=database), connections[database].cursor() as cursor:
                for sql in statements(models, database):
                    cursor.execute(sql)
            names = ", ".join(model._meta.db_table for model in models)
            self.stdout.write(f"Triggers of {names}: {action} done.")

    def listen(self, listener: Listener, database: str) -> None:
        self.stdout.write(f"Listening to changes of {database}; Ctrl-C ends it.")
        try:
            listener.run()
        except KeyboardInterrupt:
            self.stdout.write("Ended.")
