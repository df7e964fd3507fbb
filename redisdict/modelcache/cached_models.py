"""Define registered models, and their tables on the server; `registrations` has all of them.

A registered model has one `CachedTable` for each table of each database that it is read from or
written to.
"""

from __future__ import annotations

import copy
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict import forks
from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from redisdict.modelcache.heat import Heat
from redisdict.modelcache.identity import Place, known_place, place_in, place_of, place_through
from redisdict.modelcache.invalidation.statements import Statement, table_of
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.members import Members, read_members
from redisdict.modelcache.near import Kept, NearRows, kept_values
from redisdict.modelcache.options import scope_of_alias
from redisdict.modelcache.outages import Outages
from redisdict.modelcache.rows import NotKept, RowCodec
from redisdict.modelcache.search_paths import schemas_with
from redisdict.modelcache.sharded_near import make_near
from redisdict.modelcache.slots.lease import ABSENT, SHORTEST
from redisdict.modelcache.slots.sharded import ShardedStore
from redisdict.modelcache.slots.store import RowStore
from redisdict.modelcache.stats import Counters
from redisdict.near.state import MISSING

logger = logging.getLogger("redisdict")


class CachedTable:
    """One table of one database, kept on one server, as one alias of DATABASES leads to it.

    Args:
        cached: the model.
        database: the alias.
        place: the table that it leads to.
        others: tables of the same place, by other aliases, or none.
    """

    def __init__(
        self,
        cached: CachedModel,
        database: str,
        place: Place,
        others: Sequence[CachedTable] = (),
    ) -> None:
        self.cached = cached
        self.model = cached.model
        self.database = database
        self.place = place
        self.is_on_postgresql = connections[database].vendor == "postgresql"
        self.backend: Backend = cached.backend()
        #: Runs what announces changes, as safely as the alias's DURABLE says.
        self.announcer: Any = self.backend.drivers(self.backend.config.durable)[0]
        self.names = Names(self.backend.config.key_prefix, (str(cached), place.digest))
        self.codec = cached.codec(database)
        # What is known of the server, kept of it and counted, is so whatever alias leads there.
        self.near: NearRows = (
            others[0].near if others else make_near(self.backend, self.names, cached.shards)
        )
        self.store = self._make_store(self.codec.fingerprint)
        self.counters: Counters = others[0].counters if others else Counters(self.names.counts)
        #: How lookups of what is computed of it went.
        self.heat: Heat = others[0].heat if others else Heat()
        self.outages: Outages = (
            others[0].outages
            if others
            else Outages(str(self), self.backend, self.store, self.counters)
        )
        #: Connections of the alias whose transaction has changed this table and isn't over.
        self.changed_by: weakref.WeakSet[BaseDatabaseWrapper] = next(
            (one.changed_by for one in others if one.database == database), weakref.WeakSet()
        )
        #: Attributes for which rows weren't kept, and kinds of errors, each told of once.
        self._told: set[str | type] = set()
        #: How what a cell is named by is written: a primary key, or the value of a field.
        self.key_form = KeyForm(cached.listed_by or self.model._meta.pk, database)
        #: Names a reader's scope, by the alias's SCOPE.
        self.scope = scope_of_alias(self.backend.config)
        self.is_scoped = False
        self.scope_name = ""
        self._scopes: dict[str, CachedTable] = {}
        #: The instance of a body; None when it can't be read.
        self.decode: Callable[[bytes], Any] = (
            read_members if cached.members else self.codec.decoder(self._complain)
        )
        self._make: Callable[[dict[str, Any]], Any] = self.codec.maker(self._complain)

    def __repr__(self) -> str:
        return f"<CachedTable {self} on {self.cached.alias!r}>"

    def __str__(self) -> str:
        return f"{self.cached} of the database {self.database!r}"

    @property
    def shows_all_alike(self) -> bool:
        """Whether rows that one reader got may be given to another."""
        if self.is_scoped or not self.place.hides_rows:
            return True
        self._warn_once(HIDES_ROWS, HIDES_ROWS)
        return False

    def in_scope(self, scope: str) -> CachedTable:
        """The table for readers of one scope: rows that were stored for others are misses.

        The scope is no part of the names, so a writer of any scope makes a row old for all.
        """
        scoped = self._scopes.get(scope)
        if scoped is None:
            scoped = copy.copy(self)
            own = self.codec.fingerprint
            fingerprint = blake2b(scope.encode(), digest_size=len(own), key=own).digest()
            scoped.store = self._make_store(fingerprint)
            scoped.is_scoped = True
            scoped.scope_name = scope
            if len(self._scopes) >= MOST_SCOPES:
                self._scopes.clear()
            self._scopes[scope] = scoped
        return scoped

    def _make_store(self, fingerprint: bytes) -> RowStore:
        if (count := self.cached.shards) is None:
            return RowStore(self.names, fingerprint, self.near, self._keep)
        return ShardedStore(self.names, fingerprint, self.near.shards, self._keep, count=count)

    @property
    def all_rows(self) -> Rows:
        return self, self.store.table_keys

    def key(self, pk: Any) -> bytes:
        """The key of a row whose primary key the database spells so.

        Raises:
            TypeError: no row could have this primary key.
        """
        return self.store.cell(self.key_form.encode(pk))

    def keys(self, pks: Iterable[Any]) -> list[bytes]:
        """The keys of the rows that a change of these primary keys makes old, however spelled.

        Where the database may spell one of them otherwise it is the table's own, which stands for
        all rows. That may cost a query, once; see `KeyForm.is_exact()`.
        """
        if self.cached.is_whole:
            return self.store.table_keys
        pks = list(pks)
        if not all(map(self.key_form.is_exact, pks)):
            return self.store.table_keys
        return [self.key(pk) for pk in pks]

    def encode(self, instance: Any) -> bytes | None:
        """The body of a row; None when it has none."""
        try:
            return self.codec.encode(instance)
        except NotKept as error:
            self._warn_once(error.place, NOT_KEPT, error)
            return None

    def _keep(self, body: bytes) -> Kept | None:
        """Make the entry in memory for a body from the server."""
        if len(body) < SHORTEST:
            return Kept(MISSING, 0) if body == ABSENT else None
        values = self.codec.keep(body) if self.cached.members is None else None
        if values is None:
            return Kept(body, len(body), self.decode)
        return kept_values(values, self._make)

    def _complain(self, error: Exception) -> None:
        self._warn_once(type(error), UNREADABLE, error)

    def _warn_once(self, reason: str | type, message: str, *arguments: object) -> None:
        if reason not in self._told:
            self._told.add(reason)
            logger.warning(message, self, *arguments)


_lock = forks.Lock()

#: Rows of a table, by key. The table's own key stands for all of them.
Rows = tuple[CachedTable, Sequence[bytes]]

#: Of a table, and of an error.
NOT_KEPT = (
    "A row of %s is not cached; others may not be cached for the same reason, which is logged only"
    " once: %s"
)
UNREADABLE = "A cached row of %s can't be read and is removed: %s"

#: Of a table.
HIDES_ROWS = (
    "%s has row-level security, and no `scope` says who may see what: readers to whom a policy"
    " applies always get its rows from the database."
)

#: So many scopes of a table are remembered.
MOST_SCOPES = 1000


@dataclass(eq=False)
class CachedModel:
    """A model whose rows are kept on the server of one alias.

    Attributes:
        exclude: names of fields whose values are never kept, sorted.
        shards: the number of slots of a Cluster over which it is spread; None for one.
        members: the rows and the field of the lists that are kept; None when rows are kept.
        is_version: whether a version is kept in place of each row or list; of the model's own table
            alone, and of all that its rows have.
        is_whole: whether any change counts as one of the whole table, of which results are kept and
            no rows; the table of each many-to-many relation that Django makes for it is a part.
        is_strict: whether a change fails when it can't be announced to the server.
        barrier_ms: how long a barrier stays after its writer has died.
        is_near_strict: whether a change waits until no process can serve what it makes old.
        believes_absence: whether a missing row is remembered as missing for a while.
        made_at: the file and line of a dict that was made after the project's start, so that other
            processes may not have made it.
    """

    model: type[models.Model]
    using: str | Backend
    exclude: tuple[str, ...] = ()
    is_whole: bool = False
    members: Members | None = None
    shards: int | None = None
    is_version: bool = False
    is_strict: bool = False
    barrier_ms: int = 0
    believes_absence: bool = False
    is_near_strict: bool = False
    made_at: str = ""
    _tables: dict[tuple[str, Place], CachedTable] = field(default_factory=dict)
    _codecs: dict[tuple[str, str], RowCodec[Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        """A description that names its keys, so that rows with other fields have other keys."""
        label = self.model._meta.label
        if self.is_whole:
            return f"{label} as a whole"
        if self.is_version:
            return f"{label} in versions{f' {self.members}' if self.members else ''}"
        if self.members is not None:
            return f"{label} {self.members}{self._in_shards}"
        without = f" without {', '.join(self.exclude)}" if self.exclude else ""
        return f"{label}{without}{self._in_shards}"

    @property
    def _in_shards(self) -> str:
        return f" in {self.shards} shards" if self.shards else ""

    def parts(self) -> list[type[models.Model]]:
        """The models whose tables hold parts of the rows; known when all models are loaded."""
        if self.is_version:
            return [concrete_of(self.model)]
        return [*self._lineage(), *self._find_relations()] if self.is_whole else self._lineage()

    @cached_property
    def listed_by(self) -> models.Field[Any, Any] | None:
        """The field by whose values lists are kept."""
        return None if self.members is None else self.members.field(self.model)

    @cached_property
    def listed_fields(self) -> list[models.Field[Any, Any]]:
        """The fields on which a list depends."""
        return [] if self.members is None else self.members.fields(self.model)

    @cached_property
    def relations(self) -> list[type[models.Model]]:
        """The parts that are relations."""
        return self._find_relations()

    def _lineage(self) -> list[type[models.Model]]:
        model = concrete_of(self.model)
        return [model, *map(concrete_of, model._meta.all_parents)]

    def _find_relations(self) -> list[type[models.Model]]:
        return [each for one in self._lineage() for each in own_relations(one)]

    @property
    def kind(self) -> str:
        """Its kind, for the beginning of a sentence for users."""
        is_computed = self.is_whole or self.is_version
        what = "What is computed of" if is_computed else "The ModelDict of"
        by = f" {self.members}" if self.members else ""
        return f"{what} {self.model._meta.label}{by}"

    @property
    def alias(self) -> str:
        return self.using if isinstance(self.using, str) else self.using.config.alias

    def backend(self) -> Backend:
        return registry.get_backend(self.using) if isinstance(self.using, str) else self.using

    def codec(self, database: str) -> RowCodec[Any]:
        """The codec for the rows of an alias, the same for the tables of all tenants."""
        key = (database, connections.settings[database]["ENGINE"])
        if key not in self._codecs:
            self._codecs[key] = RowCodec(self.model, database, self.exclude)
        return self._codecs[key]

    def table(self, database: str) -> CachedTable:
        """The table that this alias leads to now, by the calling thread's connection.

        Raises:
            ConfigurationError: the alias isn't in REDISDICT.
            django.db.Error: the database has to be asked who it is, and can't be reached.
        """
        place = known_place(database, self.model) or place_of(database, self.model)
        if self.is_whole and not place.hides_rows:
            for one in self.relations:
                if (known_place(database, one) or place_of(database, one)).hides_rows:
                    place = place._replace(hides_rows=True)
        return self._tables.get((database, place)) or self._add_table(database, place)

    def table_at(self, database: str, place: Place) -> CachedTable:
        """The same, if the place is known already from another registration's table."""
        return self._table(database, place)

    def known_table(self, database: str) -> CachedTable | None:
        """The same, if it is known without looking at the thread's connection."""
        place = known_place(database, self.model)
        if place is not None and self.is_whole and not place.hides_rows:
            others = [known_place(database, one) for one in self.relations]
            if None in others:
                return None
            place = place._replace(
                hides_rows=any(one is not None and one.hides_rows for one in others)
            )
        return None if place is None else self._table(database, place)

    def table_of(self, connection: BaseDatabaseWrapper) -> CachedTable:
        """The table that a connection sees, also one that isn't its alias's own in this thread."""
        return self._table(connection.alias, place_through(connection, self.model))

    def tables_written(
        self, connection: BaseDatabaseWrapper, statement: Statement
    ) -> list[CachedTable]:
        """The tables that a statement may change: the connection's own, and those of other schemas.

        One query of PostgreSQL more if the statement names a schema, or may change anything.
        """
        names = {table_of(one) for one in self.parts()}
        schemas = {schema for schema, name in statement.qualified if name in names}
        places = []
        if not schemas or len(statement.writes) > 1:
            places.append(place_through(connection, self.model))
        if schemas or statement.is_unknown:
            places += [
                place_in(connection, self.model, schema)
                for schema in schemas_with(connection, self.model._meta.db_table)
                if statement.is_unknown or schema.lower() in schemas
            ]
        # Of several for one place the first: place_in() doesn't know all of it.
        by_digest = {place.digest: place for place in reversed(places)}
        return [self._table(connection.alias, place) for place in by_digest.values()]

    def _table(self, database: str, place: Place) -> CachedTable:
        return self._tables.get((database, place)) or self._add_table(database, place)

    def _add_table(self, database: str, place: Place) -> CachedTable:
        with _lock:
            key = (database, place)
            if key not in self._tables:
                digest = place.digest
                others = [one for one in self._tables.values() if one.place.digest == digest]
                self._tables[key] = CachedTable(self, database, place, others)
            return self._tables[key]

    def tables(self) -> Iterator[CachedTable]:
        """The tables that this process has used so far."""
        return iter(list(self._tables.values()))

    def forget_tables(self) -> None:
        self._tables.clear()
        self._codecs.clear()


def concrete_of(model: type[models.Model]) -> type[models.Model]:
    """The model that has the table: of a proxy the one that it stands for."""
    concrete = model._meta.concrete_model
    assert concrete is not None  # only an abstract model has none
    return concrete


def own_relations(model: type[models.Model]) -> list[type[models.Model]]:
    """The models that Django has made for a model's many-to-many relations."""
    found: list[Any] = [field.remote_field.through for field in model._meta.local_many_to_many]
    return [one for one in found if not isinstance(one, str) and one._meta.auto_created]
