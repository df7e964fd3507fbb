"""Make instances of kept rows, with those that are joined to them, as Django does of a result's.

Django's way goes by each field's converters and `Model.__init__()`, which takes longer than to read
the rows. Where nobody could tell the difference, they are made here at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections, models
from django.db.models.base import ModelState
from django.db.models.expressions import ColPairs
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.signals import post_init, pre_init

from redisdict.modelcache.rows import is_heard, is_made_plainly

#: The attribute of a connection: by what makes instances, the converters of its columns.
CONVERTERS = "_redisdict_converters"

#: Sets instances that are joined to one, from the row; the last argument is the alias.
Join = Callable[[Any, Sequence[Any], str], None]


class Maker:
    """Makes instances of the rows of one shape of queries.

    Args:
        select: what a compiler has found out; see `SQLCompiler`.
    """

    def __init__(
        self,
        select: Sequence[Any],
        klass_info: Any,
        annotations: dict[str, int],
        col_count: int,
    ) -> None:
        self._columns = [one[0] for one in select[:col_count]]
        self._models: list[type[models.Model]] = []
        first, last = klass_info["select_fields"][0], klass_info["select_fields"][-1] + 1
        names = [one[0].target.attname for one in select[first:last]]
        self._make = self._maker(klass_info["model"], names, first, last)
        self._joins = self._joins_of(klass_info, select)
        self._annotations = list(annotations.items()) if annotations else []

    @property
    def can_make(self) -> bool:
        """Whether nobody listens to new instances."""
        return not (
            (pre_init.receivers or post_init.receivers) and any(map(is_heard, self._models))
        )

    def make(self, rows: list[list[Any]], database: str) -> list[Any]:
        """Make an instance of each row. The rows are changed."""
        converters = self._converters(database)
        if converters:
            connection = connections[database]
            for row in rows:
                for position, functions, column in converters:
                    value = row[position]
                    for convert in functions:
                        value = convert(value, column, connection)
                    row[position] = value
        make, joins, annotations = self._make, self._joins, self._annotations
        if not joins and not annotations:
            return [make(row, database) for row in rows]
        made = []
        for row in rows:
            instance = make(row, database)
            for join in joins:
                join(instance, row, database)
            for name, position in annotations:
                setattr(instance, name, row[position])
            made.append(instance)
        return made

    def _converters(self, database: str) -> list[Any]:
        """What makes values of the database's columns; of each connection its own."""
        connection = connections[database]
        held = connection.__dict__.get(CONVERTERS)
        if held is None:
            held = connection.__dict__[CONVERTERS] = WeakKeyDictionary()
        found: list[Any] | None = held.get(self)
        if found is None:
            found = held[self] = list[Any]()
            for position, column in enumerate(self._columns):
                of_backend = connection.ops.get_db_converters(column)
                functions = of_backend + column.get_db_converters(connection)
                if functions:
                    found.append((position, functions, column))
        return found

    def _maker(
        self, model: type[models.Model], names: Sequence[str], first: int, last: int
    ) -> Callable[[Sequence[Any], str], Any]:
        """Make the function from a row and an alias to an instance, as `from_db()` makes it."""
        self._models.append(model)
        new = model.__new__
        empty = dict.fromkeys(["_state", *names])

        def make(row: Sequence[Any], database: str) -> Any:
            state = ModelState()
            state.adding = False
            state.db = database
            held = empty.copy()
            held["_state"] = state
            held.update(zip(names, row[first:last], strict=True))
            instance = new(model)
            instance.__dict__ = held
            return instance

        return make

    def _joins_of(self, klass_info: Any, select: Sequence[Any]) -> list[Join]:
        return [self._join(one, select) for one in klass_info.get("related_klass_infos", ())]

    def _join(self, klass_info: Any, select: Sequence[Any]) -> Join:
        """Do what Django's `RelatedPopulator` does."""
        first, last = klass_info["select_fields"][0], klass_info["select_fields"][-1] + 1
        names = [one[0].target.attname for one in select[first:last]]
        model = klass_info["model"]
        key = first + names.index(model._meta.pk_fields[0].attname)
        make = self._maker(model, names, first, last)
        joins = self._joins_of(klass_info, select)
        local_setter, remote_setter = klass_info["local_setter"], klass_info["remote_setter"]
        cache_name = _cache_name(local_setter)
        # Django's own function for a relation that has no other end to set.
        is_one_way = getattr(remote_setter, "__name__", "") == "<lambda>"

        def join(instance: Any, row: Sequence[Any], database: str) -> None:
            joined = None
            if row[key] is not None:
                joined = make(row, database)
                for deeper in joins:
                    deeper(joined, row, database)
            if cache_name is None:
                local_setter(instance, joined)
            else:
                instance._state.fields_cache[cache_name] = joined
            if joined is not None and not is_one_way:
                remote_setter(joined, instance)

        return join


def _cache_name(setter: Any) -> str | None:
    """The name under which a field's own way to set an instance does so; None for any other way."""
    field = getattr(setter, "__self__", None)
    function = getattr(setter, "__func__", None)
    if isinstance(field, FieldCacheMixin) and function is FieldCacheMixin.set_cached_value:
        return field.cache_name
    return None


def maker_of(
    select: Sequence[Any], klass_info: Any, annotations: dict[str, int], col_count: int
) -> Maker | None:
    """What makes instances of these columns; None where a model or a field minds how."""
    if any(isinstance(one[0], ColPairs) for one in select) or not _is_plain(klass_info):
        return None
    return Maker(select, klass_info, annotations, col_count)


def _is_plain(klass_info: Any) -> bool:
    if klass_info.get("from_parent") or not is_made_plainly(klass_info["model"]):
        return False
    return all(map(_is_plain, klass_info.get("related_klass_infos", ())))
