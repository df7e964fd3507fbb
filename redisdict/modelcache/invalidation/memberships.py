"""Find the lists of rows that a query changes: those of the old and of the new value of a field.

A list gets a barrier for every change that could change the list: a row comes or goes, or a field
changes on which the list depends. The old value is read under the row's lock, before the change. If
a value can't be known, all lists of the field get a barrier: for a value that the database
computes, for rows that can't be locked, and in tables with triggers that may write another value
than they were given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateField, DateTimeField, Field, Model, QuerySet, TimeField

from redisdict.modelcache.cached_models import CachedModel, Rows, concrete_of
from redisdict.modelcache.invalidation.effects import catalog_of
from redisdict.modelcache.invalidation.relations import affected_by, is_known
from redisdict.modelcache.invalidation.statements import table_of

#: Those whose pre_save() gives what the attribute holds, unless they set it to the time.
TIMED = (DateField, DateTimeField, TimeField)


class Lists:
    """The lists of one registration, as writes of one model's own table change them.

    Attributes:
        field: by whose values they are kept, as the writing model has it; None when it hasn't.
        all: what bars all of them.
    """

    def __init__(
        self, cached: CachedModel, model: type[Model], connection: BaseDatabaseWrapper
    ) -> None:
        self.cached = cached
        self._table = cached.table_of(connection)
        name = table_of(model)
        here = {str(one.column) for one in cached.listed_fields if table_of(one.model) == name}
        self._columns = here
        by = cached.listed_by
        assert by is not None
        self._is_by_here = table_of(by.model) == name
        local = {str(one.column): one for one in model._meta.local_concrete_fields}
        self.field: Field[Any, Any] | None = local.get(str(by.column)) if self._is_by_here else None
        #: Whether a row may get other values than it is given.
        self._is_computed = catalog_of(connection).may_rewrite(name) or any(
            getattr(one, "generated", False) for one in local.values() if str(one.column) in here
        )
        gives = cached.members and cached.members.gives
        #: Whether readers read the rows, too, each of which says whether it is in the list.
        self._is_checked = gives == "pk" and not cached.is_version
        #: Whether it is the table of a parent, in which a row is there before the listed one is.
        self._is_parents = name != table_of(concrete_of(cached.model))

    @property
    def all(self) -> Rows:
        return self._table.all_rows

    def of(self, values: Iterable[Any]) -> Rows:
        """Make the barriers of the lists of these values; NULL has none."""
        known = {value: None for value in values if value is not None}
        return self._table, self._table.keys(known)

    def are_touched(self, fields: Iterable[Field[Any, Any]]) -> bool:
        """Whether an update of these fields may change a list."""
        if self.cached.is_version:
            return True
        return self._is_computed or any(str(one.column) in self._columns for one in fields)

    def of_inserted(self, query: Any) -> Rows:
        """Make the barriers of the lists that get rows, by the query that inserts these."""
        field = self.field
        is_upsert = query.on_conflict is not None and query.on_conflict.name == "UPDATE"
        if is_upsert and not self._is_checked:
            return self.all  # a row that it updates comes from nobody knows where
        if not self._is_by_here and self._is_parents:
            return self.of(())
        if field is None or self._is_computed or str(field.column) not in _columns(query.fields):
            return self.all
        if not query.raw and not _is_given_as_is(field):
            return self.all
        values = [getattr(instance, field.attname) for instance in query.objs]
        if not all(value is None or is_known(value) for value in values):
            return self.all
        return self.of(_hashable(values))

    def of_update(
        self, found: Sequence[Any], values: Iterable[tuple[Field[Any, Any], Any]]
    ) -> tuple[Rows, bool]:
        """Make the barriers of the lists that an update changes, as far as known before it.

        Args:
            found: the values that they have, read under a lock.
            values: fields, and what they are set to.

        Returns:
            And whether the rows have to be looked at again after the update.
        """
        field = self.field
        if field is None:
            return self.all, False
        if self._is_computed:
            return self.of(_hashable(found)), True
        set_to = [value for one, value in values if one.column == field.column]
        if not set_to:
            return self.of(_hashable(found)), False
        new = set_to[0]
        if isinstance(new, Model):
            new = new.prepare_database_save(field)
        if hasattr(new, "resolve_expression"):
            return self.of(_hashable(found)), True
        if len(self._columns) == 1 and not self.cached.is_version:
            found = [value for value in found if not self._are_same(value, new)]
            if not found:
                return self.of(()), False
        return self.of(_hashable([*found, new])), False

    def _are_same(self, value: Any, other: Any) -> bool:
        """Whether two values certainly name one list: changing one to the other moves no row."""
        if value is None or other is None:
            return value is None and other is None
        form = self._table.key_form
        return form.is_exact(other) and form.encode(value) == form.encode(other)


def lists_of(model: type[Model], connection: BaseDatabaseWrapper) -> list[Lists]:
    """The lists that a write of the model's own table may change."""
    return [
        Lists(cached, model, connection)
        for cached in affected_by(model)
        if cached.members is not None
    ]


def fields_of(lists: Iterable[Lists]) -> list[Field[Any, Any]]:
    """The fields whose values decide in which of these lists a row is."""
    return list({one.field.column: one.field for one in lists if one.field is not None}.values())


def rows_of_lists(
    lists: Iterable[Lists], fields: Sequence[Field[Any, Any]], found: Sequence[Sequence[Any]]
) -> Iterator[Rows]:
    """Make the barriers of the lists that rows are in.

    Args:
        found: the values that each row has of `fields`.
    """
    for one in lists:
        if one.field is None:
            yield one.all
        else:
            yield one.of(_hashable(column_of(one, fields, found)))


def column_of(
    lists: Lists, fields: Sequence[Field[Any, Any]], found: Sequence[Sequence[Any]]
) -> list[Any]:
    """The values that name these lists, from the rows' values of `fields`."""
    if lists.field is None:
        return []
    at = [field.column for field in fields].index(lists.field.column)
    return [values[at] for values in found]


def values_now(
    model: type[Model], using: str, pks: Sequence[Any], fields: Sequence[Field[Any, Any]]
) -> list[Sequence[Any]]:
    """The values of these fields that rows have for the transaction under way. One query."""
    rows: QuerySet[Any] = QuerySet(model, using=using).filter(pk__in=pks)
    return list(rows.values_list(*[field.attname for field in fields]))


def _columns(fields: Iterable[Any]) -> set[str]:
    return {str(getattr(field, "column", "")) for field in fields}


def _is_given_as_is(field: Any) -> bool:
    """Whether the column gets the attribute's value: `pre_save()` may give another one."""
    pre_save = getattr(field.pre_save, "__func__", None)
    if pre_save is Field.pre_save:
        return True
    is_timed = any(pre_save is kind.pre_save for kind in TIMED)
    return is_timed and not (field.auto_now or field.auto_now_add)


def _hashable(values: Sequence[Any]) -> list[Any]:
    """The values, without duplicates as far as these are known."""
    try:
        return list(dict.fromkeys(values))
    except TypeError:
        return list(values)
