"""`manage.py modeldict`: what raw SQL and other programs change, told by PostgreSQL."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.triggers import Listener, creating_sql, dropping_sql, watched_models


class Command(BaseCommand):
    help = "Has PostgreSQL tell ModelDict of rows that raw SQL or another program changes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            choices=["sql", "create", "drop", "listen"],
            help="sql: print what create does, for a migration. create, drop: the triggers."
            " listen: remove what changes from the cache, until interrupted.",
        )
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, help='an alias of DATABASES; "default" if none'
        )

    def handle(self, *args: Any, action: str, database: str, **options: Any) -> None:
        if database not in connections:
            raise CommandError(f"--database is {database!r}; an alias of DATABASES is expected.")
        try:
            listener = Listener(database)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        models = watched_models(database)
        if not models:
            raise CommandError("No model has a ModelDict, so there is nothing to tell of.")
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
