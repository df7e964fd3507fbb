"""The tables of the database that are cached: which of them, where, and how.

A model is registered once for each alias of REDISDICT whose server keeps its rows, and for each
choice of fields that aren't kept; any number of `ModelDict`s share the registration. Writers find
it by the model they change. A registered model has one `CachedTable` for each database it is read
from or written to.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.mapping.names import Names
from redisdict.modelcache.cells import Cells
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.outages import Outages
from redisdict.modelcache.rows import NotKept, RowCodec
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
        self.names = Names(self.backend.config.key_prefix, (str(cached), database))
        self.codec = RowCodec(self.model, database, cached.exclude)
        self.cells = Cells(self.names, self.codec.fingerprint)
        self.tally = Tally(self.names.counts)
        self.outages = Outages(self)
        #: Connections whose transaction has changed this table and isn't over.
        self.changed_by: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()
        #: Attributes for which rows weren't kept, and kinds of errors, each told of once.
        self._told: set[str | type] = set()
        self._key_form = KeyForm(self.model._meta.pk)
        #: The instance of a body; None when it can't be read.
        self.decode: Callable[[bytes], Any] = self.codec.decoder(self._complain)

    def __repr__(self) -> str:
        return f"<CachedTable {self} on {self.cached.alias!r}>"

    def __str__(self) -> str:
        return f"{self.cached} of the database {self.database!r}"

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
        except NotKept as error:
            if error.place not in self._told:
                self._told.add(error.place)
                logger.warning(
                    "A row of %s is not cached, and others may not be for the same reason, which"
                    " isn't told again: %s",
                    self,
                    error,
                )
            return None

    def _complain(self, error: Exception) -> None:
        if type(error) not in self._told:
            self._told.add(type(error))
            logger.warning("A cached row of %s can't be read and is removed: %s", self, error)


@dataclass(eq=False)
class CachedModel:
    """A model whose rows are kept on the server of one alias.

    Attributes:
        exclude: names of fields whose values are never kept, sorted.
        is_strict: whether a change fails when the server can't be told of it.
        barrier_ms: how long a barrier stands whose writer has died.
    """

    model: type[models.Model]
    using: str | Backend
    exclude: tuple[str, ...] = ()
    is_strict: bool = False
    barrier_ms: int = 0
    _tables: dict[str, CachedTable] = field(default_factory=dict)

    def __str__(self) -> str:
        """What is kept; its keys are named by that, so that rows with other fields are others."""
        label = self.model._meta.label
        return f"{label} without {', '.join(self.exclude)}" if self.exclude else label

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


_registered: dict[tuple[type[models.Model], str | Backend, tuple[str, ...]], CachedModel] = {}
_lock = threading.Lock()
_listeners: list[Callable[[], None]] = []


def register(
    model: type[models.Model],
    using: str | Backend,
    *,
    is_strict: bool,
    barrier_ms: int,
    exclude: tuple[str, ...] = (),
) -> CachedModel:
    """Have changes of the model noticed from now on, for ever.

    Of several registrations with the same `exclude` the strictest and the longest barrier count.
    """
    with _lock:
        cached = _registered.setdefault((model, using, exclude), CachedModel(model, using, exclude))
        cached.is_strict |= is_strict
        cached.barrier_ms = max(cached.barrier_ms, barrier_ms)
    for listener in _listeners:
        listener()
    return cached


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
