"""Close cached tables while migrations run.

The changes of each migration are seen and announced like any others (`interception`). In addition
nothing is stored between the first migration and the last, because columns may differ from what the
code expects. A barrier on each table closes it; statements of the migrating connection renew it
when half of its time is over. So it stays as long as migrations run, and expires when they have
failed or were killed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.invalidation.invalidate import close, remove, reopen
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.registrations import cached_models
from redisdict.modelcache.slots.store import new_token

UID = "redisdict.modelcache"


def connect_migrations() -> None:
    sender = apps.get_app_config("redisdict")
    pre_migrate.connect(_before_migrations, sender=sender, dispatch_uid=UID)
    post_migrate.connect(_after_migrations, sender=sender, dispatch_uid=UID)


class _Closing:
    """The tables of one database, closed for as long as statements renew it."""

    def __init__(self, using: str) -> None:
        self._tables = _tables(using)
        self._token = new_token()
        self._barrier_s = min(table.cached.barrier_ms for table in self._tables) / 1000
        self._renew()

    def execute(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        """Renew the barriers when it is time: one of the connection's `execute_wrappers`."""
        if time.monotonic() - self._renewed_at > self._barrier_s / 2:
            self._renew()
        return execute(*arguments)

    def end(self) -> None:
        reopen(self._tables, self._token)

    def _renew(self) -> None:
        self._renewed_at = time.monotonic()
        close(self._tables, self._token)


#: By the alias of the database.
_closings: dict[str, _Closing] = {}


def _before_migrations(using: str, plan: Sequence[Any] | None = None, **_: Any) -> None:
    _end(using)  # of migrations that have failed
    if plan and _tables(using):
        closing = _closings[using] = _Closing(using)
        connections[using].execute_wrappers.insert(0, closing.execute)


def _after_migrations(using: str, plan: Sequence[Any] | None = None, **_: Any) -> None:
    """Migrations are over; `flush`, which has no plan and removes rows, says so as well."""
    _end(using)
    if plan is None or plan:
        with contextlib.suppress(*UNREACHED):  # it is logged
            remove([table.all_rows for table in _tables(using)])


def _end(using: str) -> None:
    closing = _closings.pop(using, None)
    if closing is not None:
        wrappers = connections[using].execute_wrappers
        if closing.execute in wrappers:
            wrappers.remove(closing.execute)
        closing.end()


def _tables(using: str) -> list[CachedTable]:
    return [cached.table_of(connections[using]) for cached in cached_models()]
