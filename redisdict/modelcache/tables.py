"""The tables of the database that are cached: which of them, where, and how.

A model is registered once for each alias of REDISDICT whose server keeps its rows; any number of
`ModelDict`s share the registration. Writers find it by the model they change. A registered model
has one `CachedTable` for each database it is read from or written to.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from django.apps import apps
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict import forks
from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.exceptions import SerializationError
from redisdict.mapping.names import Names
from redisdict.modelcache.cells import Cells
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.outages import Outages
from redisdict.modelcache.rows import RowCodec
from redisdict.modelcache.tally import Tally

__all__ = ["CachedModel", "CachedTable", "cached_models", "on_registration", "register"]

logger = logging.getLogger("redisdict")


class CachedTable:
    """One table of one database, kept on one server."""

    def __init__(self, cached: CachedModel, database: str) -> None:
        self.cached = cached
        self.model = cached.model
        self.database = database
        self.is_on_postgresql = connections[database].vendor == "postgresql"
        self.backend: Backend = cached.backend()
        #: Runs what announces changes, as safely as the alias's DURABLE says.
        self.announcer: Any = self.backend.drivers(self.backend.config.durable)[0]
        self.names = Names(self.backend.config.key_prefix, (self.model._meta.label, database))
        self.codec = RowCodec(self.model)
        self.cells = Cells(self.names, self.codec.fingerprint)
        self.tally = Tally(self.names.counts)
        self.outages = Outages(self)
        #: Connections whose transaction has changed this table and isn't over.
        self.changed_by: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()
        self._key_form = KeyForm(self.model._meta.pk)
        #: The instance of a body; None when it can't be read.
        self.decode: Callable[[bytes], Any] = self.codec.decoder(database, self._complain)

    def __repr__(self) -> str:
        return f"<CachedTable {self} on {self.cached.alias!r}>"

    def __str__(self) -> str:
        return f"{self.model._meta.label} of the database {self.database!r}"

    def key(self, pk: Any) -> bytes:
        """The key of a row.

        Raises:
            TypeError: no row could have this primary key.
        """
        return self.cells.prefix + self._key_form.encode(pk)

    def keys(self, pks: Iterable[Any]) -> list[bytes]:
        return [self.key(pk) for pk in pks]

    def encode(self, instance: Any) -> bytes | None:
        """The body of a row; None when it has none."""
        try:
            return self.codec.encode(instance)
        except SerializationError as error:
            logger.warning("A row of %s is not cached: %s", self, error)
            return None

    def _complain(self, error: ValueError) -> None:
        logger.warning("A cached row of %s can't be read and is removed: %s", self, error)


@dataclass(eq=False)
class CachedModel:
    """A model whose rows are kept on the server of one alias.

    Attributes:
        is_strict: whether a change fails when the server can't be told of it.
        barrier_ms: how long a barrier stands whose writer has died.
        believes_absence: whether a row that wasn't there is taken for absent for a while.
        made_at: the file and line of a dict that was made after the project's start, so that other
            processes may not have made it.
    """

    model: type[models.Model]
    using: str | Backend
    is_strict: bool = False
    barrier_ms: int = 0
    believes_absence: bool = False
    made_at: str = ""
    _tables: dict[str, CachedTable] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        return self.using if isinstance(self.using, str) else self.using.config.alias

    def backend(self) -> Backend:
        return registry.get_backend(self.using) if isinstance(self.using, str) else self.using

    def table(self, database: str) -> CachedTable:
        """The table of this model in one database.

        Raises:
            ConfigurationError: the alias isn't in REDISDICT.
        """
        try:
            return self._tables[database]
        except KeyError:
            return self._tables.setdefault(database, CachedTable(self, database))

    def tables(self) -> Iterator[CachedTable]:
        """Those that this process has used so far."""
        return iter(list(self._tables.values()))

    def forget_tables(self) -> None:
        self._tables.clear()


_registered: dict[tuple[type[models.Model], str | Backend], CachedModel] = {}
_lock = forks.Lock()
_listeners: list[Callable[[], None]] = []


def register(
    model: type[models.Model],
    using: str | Backend,
    *,
    is_strict: bool,
    barrier_ms: int,
    believes_absence: bool,
) -> CachedModel:
    """Have changes of the model noticed from now on, for ever.

    Of several registrations the strictest and the longest barrier count.
    """
    with _lock:
        cached = _registered.get((model, using))
        if cached is None:
            cached = _registered[model, using] = CachedModel(model, using)
            if apps.ready:
                cached.made_at = _caller()
                logger.warning(LATE, model._meta.label, cached.made_at)
        cached.is_strict |= is_strict
        cached.barrier_ms = max(cached.barrier_ms, barrier_ms)
        cached.believes_absence |= believes_absence
    for listener in _listeners:
        listener()
    return cached


#: Of a model and a place.
LATE = (
    "The ModelDict of %s is made in %s, after the project's start. A process that doesn't run that"
    " line changes rows without telling the others: make the dict in models.py, or in dicts.py of"
    " an installed app."
)


def _caller() -> str:
    """The file and line outside of this package that asked for something."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(PACKAGE):
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


#: The modules whose frames aren't whom `_caller()` looks for.
PACKAGE = "redisdict."


def cached_models() -> list[CachedModel]:
    """All that are registered."""
    return list(_registered.values())


def on_registration(listener: Callable[[], None]) -> None:
    """Have `listener` called whenever a model has been registered."""
    _listeners.append(listener)


def _forget_all_tables() -> None:
    for cached in cached_models():
        cached.forget_tables()


registry.on_reset(_forget_all_tables)
