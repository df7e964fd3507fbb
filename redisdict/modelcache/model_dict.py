"""`ModelDict`, the mapping of primary keys to model instances that is never stale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from django.db import models

from redisdict.conf import DEFAULT_ALIAS
from redisdict.connections.backend import Backend
from redisdict.modelcache.async_methods import AsyncMethods
from redisdict.modelcache.scopes import Scope

__all__ = ["ModelDict"]

M = TypeVar("M", bound=models.Model)


class ModelDict(AsyncMethods[M], Generic[M]):
    """The rows of a model, by primary key, from the server; and from the database when missing.

    A row that others can see changed is never read from the server as it was before: see
    docs/modeldict.md for what that rests on, and where it ends.

    - reading: `d[pk]`, `get`, `get_many`, `get_or_404`, `pk in d`
    - what is on the server: iteration, `keys`, `values`, `items`, `len(d)`
    - by hand: `warm`, `invalidate`, `clear`
    - `stats`

    Each has an async twin with an `a` before its name; `async for` iterates. In a coroutine the
    others raise `SynchronousOnlyOperation`. `bool(d)` is always true. Copies and pickles are other
    handles of the same cache.

    Make it where the model is, in models.py, or in dicts.py of an installed app: both are imported
    in every process, and a process that has not made the dict tells nobody of what it changes.

    Args:
        model: a model with a table.
        key: the name of the field to look up by, "pk" or another unique one.
        using: an alias of the setting REDISDICT.
        exclude: names of fields whose values never reach the server, such as encrypted or very
            large ones. Instances have them deferred, on a hit and on a miss: the database is asked
            for one when it is looked at.
        database: an alias of DATABASES; None means the one that the routers choose for writing,
            since a replica that lags behind would give old rows.
        timeout: seconds that a row is kept; None means the alias's TIMEOUT.
        absent_timeout: seconds that a missing row is remembered as missing; None for not at all.
        lease_timeout: seconds that readers of a missing row wait for the one that asks the
            database.
        barrier_timeout: seconds that a row isn't kept after a process died at its commit. It has
            to be longer than any COMMIT takes, and any save() outside a transaction.
        serve_when_down: whether reads go to the database when the server can't be reached, or
            raise `BackendUnavailable`.
        strict: whether a change of the model fails when the server can't be told of it. If not,
            other processes that can reach the server may read the old row until this one can
            again.
        scope: a function of the model and the alias of DATABASES that names, as text, what the
            current reader may see, where the database shows different readers different rows
            (row-level security). It is called at each read, in the reader's thread or task. A row
            that was stored for another scope is a miss. None means the alias's SCOPE.

    Raises:
        ConfigurationError: the model can't be cached, the field isn't unique or can't be excluded,
            or "redisdict" is not in INSTALLED_APPS.

    Nothing is connected before the first use.
    """

    def __init__(
        self,
        model: type[M],
        key: str = "pk",
        using: str | Backend = DEFAULT_ALIAS,
        *,
        exclude: Iterable[str] = (),
        database: str | None = None,
        timeout: float | None = None,
        absent_timeout: float | None = None,
        lease_timeout: float = 3.0,
        barrier_timeout: float = 60.0,
        serve_when_down: bool = True,
        strict: bool = False,
        scope: Scope | None = None,
    ) -> None:
        super().__init__(
            model,
            key,
            using,
            exclude=exclude,
            database=database,
            timeout=timeout,
            absent_timeout=absent_timeout,
            lease_timeout=lease_timeout,
            barrier_timeout=barrier_timeout,
            serve_when_down=serve_when_down,
            strict=strict,
            scope=scope,
        )

    def __repr__(self) -> str:
        by = "" if self._field is None else f" by {self._field.name}"
        return f"<ModelDict of {self.model._meta.label}{by} on {self._cached.alias!r}>"
