"""Remember what was learned about a shape of queries when the first one was compiled."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any

import django
import ormsgpack
from django.conf import settings
from django.db import connections
from django.db.models.expressions import Col, ColPairs
from django.utils import timezone

from redisdict.codec import messagepack
from redisdict.exceptions import SerializationError
from redisdict.modelcache.cached_models import CachedModel
from redisdict.modelcache.invalidation.relations import cached_by_table
from redisdict.modelcache.results.instances import Maker, maker_of
from redisdict.modelcache.results.structure import RELATIONS, Structure, text_of
from redisdict.modelcache.results.values import Converters
from redisdict.modelcache.results.versions import Narrowing

#: Types whose values MessagePack writes each in another way.
PLAIN = frozenset([str, int, bytes, bool, type(None)])

#: What a compiler has found out when it has compiled, for those who read its rows.
OF_COMPILER = ("select", "klass_info", "annotation_col_map", "col_count")


class QueryPlan:
    """One shape of queries: the names of its results, and their makers.

    Args:
        database: the alias that the queries are for.
        kind: the kind of result, such as the rows or their number.
        compiler: the compiler of one of the queries, after compiling.
        sql: the query's text.
        declared: the names of the tables that it reads.
        models: the registrations of these tables.
    """

    def __init__(
        self,
        database: str,
        kind: str,
        structure: Structure,
        compiler: Any,
        sql: str,
        declared: frozenset[str],
        models: Sequence[CachedModel],
    ) -> None:
        self.declared = declared
        self.models = models
        self._registered = cached_by_table()
        #: What they depend on in place of these, if that is less than whole tables.
        self.narrowing: Narrowing | None = None
        self.database = database
        self._of_compiler: dict[str, Any] = {
            name: getattr(compiler, name, None) for name in OF_COMPILER
        }
        shape = text_of(structure.shape)
        # A query has to have a time in it for the current time zone to be of account.
        self._minds_zone = "datetime" in shape.lower()
        text = "\n".join(
            (django.get_version(), compiler.connection.vendor, kind, LIMITS.sub("", sql), shape)
        )
        self._salt = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    @property
    def is_current(self) -> bool:
        """Whether no model has been registered since."""
        return self._registered is cached_by_table()

    def name_of(self, structure: Structure) -> str | None:
        """Return the name of a query of this shape on the server; None if its SQL is needed."""
        zone = ""
        if settings.USE_TZ:
            zone = timezone.get_current_timezone_name() if self._minds_zone else "any"
        values = [*structure.values, zone, connections[self.database].timezone_name]
        low, high = values[0]
        plain = [low, high, *values[1:]]
        packed = None
        if PLAIN.issuperset(map(type, plain)):  # the usual case, which asks no hook
            try:
                packed = ormsgpack.packb(plain)
            except ormsgpack.MsgpackEncodeError:
                packed = None  # a large number, or text with a lone surrogate
        if packed is None and (packed := _packed(values)) is None:
            return None
        return blake2b(packed, digest_size=16, key=self._salt).hexdigest()

    def prepare(self, compiler: Any) -> None:
        """Set the attributes of a compiler that compiling would have set."""
        compiler.__dict__.update(self._of_compiler)

    @cached_property
    def converters(self) -> Converters | None:
        """Return the converters of the rows' values; None if only Django can read them."""
        select, count = self._of_compiler["select"], self._of_compiler["col_count"]
        columns = [one[0] for one in select or ()]
        if not columns or any(isinstance(one, ColPairs) for one in columns):
            return None
        return Converters(columns[:count])

    @cached_property
    def maker(self) -> Maker | None:
        """Return the maker of instances from rows; None if only Django can make them."""
        of = self._of_compiler
        if not of["klass_info"] or self.converters is None:
            return None
        return maker_of(of["select"], of["klass_info"], of["annotation_col_map"])


def _packed(values: Sequence[Any]) -> bytes | None:
    """The values as bytes, each list of values as others; None where one can't be written."""
    try:
        return messagepack.dumps(values)
    except SerializationError:
        try:
            return messagepack.dumps([plain_of(one) for one in values])
        except SerializationError:
            return None


#: The limits of a query, which are among its values.
LIMITS = re.compile(r"(?: LIMIT -?\d+)?(?: OFFSET \d+)?$")


def can_be_planned(compiler: Any) -> bool:
    """Whether a compiled query's SQL depends on its structure alone.

    Joins and orderings that come from models appear only in the compiled query. A join along a
    custom relation may have conditions that depend on anything.
    """
    for table in compiler.query.alias_map.values():
        along = getattr(table, "join_field", None)
        if along is not None and type(along) not in RELATIONS:
            return False
        for model in (getattr(along, "model", None), getattr(along, "related_model", None)):
            if model is not None and not _is_ordered_plainly(model):
                return False
    if compiler.query.model is None or not _is_ordered_plainly(compiler.query.model):
        return False
    return not any(
        params and type(column) is Col for column, (_, params), _ in compiler.select or ()
    )


def _is_ordered_plainly(model: Any) -> bool:
    return all(isinstance(one, str) for one in model._meta.ordering or ())


def plain_of(value: Any) -> Any:
    """A parameter as the database gets it: an enum's member as its value, JSON as its text."""
    if type(value).__module__ == "psycopg.types.json":
        return [type(value).__name__, (value.dumps or json.dumps)(value.obj)]
    if isinstance(value, str) and type(value) is not str:
        return str.__str__(value)
    if isinstance(value, int) and type(value) not in (int, bool):
        return int(value)
    return value
