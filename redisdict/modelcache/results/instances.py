"""Make instances of kept rows, with those that are joined to them, as Django does of a result's.

Django's way goes by each field's converters and `Model.__init__()`, which takes longer than to read
the rows. Where nobody could tell the difference, they are made here at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models.base import ModelState
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.signals import post_init, pre_init

from redisdict.modelcache.results.columns import Columns
from redisdict.modelcache.rows import is_heard, is_made_plainly


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
    ) -> None:
        self._part = _Part(klass_info, select)
        self._annotations = list(annotations.items()) if annotations else []

    @property
    def can_make(self) -> bool:
        """Whether nobody listens to new instances."""
        return not ((pre_init.receivers or post_init.receivers) and self._part.is_heard)

    def make(self, rows: Columns, database: str) -> list[Any]:
        """Make an instance of each row, whose values have been converted."""
        columns = rows.columns
        made = self._part.make(columns, rows.count, database)
        for name, position in self._annotations:
            for instance, value in zip(made, columns[position], strict=True):
                setattr(instance, name, value)
        return made


class _Part:
    """Makes the instances of one model, with those that are joined to them."""

    def __init__(self, klass_info: Any, select: Sequence[Any]) -> None:
        self._model: type[models.Model] = klass_info["model"]
        places = klass_info["select_fields"]
        self._place = slice(places[0], places[-1] + 1)
        attnames = [one[0].target.attname for one in select[self._place]]
        self._names = ("_state", *attnames)
        self._joins = [_Join(one, select) for one in klass_info.get("related_klass_infos", ())]

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens to new instances of one of the models."""
        return is_heard(self._model) or any(join.is_heard for join in self._joins)

    def make(self, columns: Sequence[Sequence[Any]], count: int, database: str) -> list[Any]:
        """Make an instance of each row, as `from_db()` makes it."""
        model, names, joins = self._model, self._names, self._joins
        new = model.__new__
        states = [ModelState() for _ in range(count)]
        for state in states:
            state.adding = False
            state.db = database
            if joins:
                state.fields_cache = {}
        made = []
        for values in zip(states, *columns[self._place], strict=True):
            instance = new(model)
            instance.__dict__ = dict(zip(names, values, strict=True))
            made.append(instance)
        for join in joins:
            join.make_for(made, states, columns, database)
        return made


class _Join(_Part):
    """Makes the instances that are joined to others, as Django's `RelatedPopulator` does."""

    def __init__(self, klass_info: Any, select: Sequence[Any]) -> None:
        super().__init__(klass_info, select)
        key = self._model._meta.pk_fields[0].attname
        self._key = self._place.start + self._names.index(key) - 1
        self._set_local = klass_info["local_setter"]
        self._cache_name = _cache_name(self._set_local)
        setter = klass_info["remote_setter"]
        # Django's own function for a relation that has no other end to set.
        is_one_way = getattr(setter, "__name__", "") == "<lambda>"
        self._set_remote = None if is_one_way else setter

    def make_for(
        self,
        instances: Sequence[Any],
        states: Sequence[ModelState],
        columns: Sequence[Sequence[Any]],
        database: str,
    ) -> None:
        """Make what is joined to each of these, or set that there is nothing."""
        joined: list[Any] = self.make(columns, len(instances), database)
        keys = columns[self._key]
        if None in keys:
            pairs = zip(joined, keys, strict=True)
            joined = [None if key is None else one for one, key in pairs]
        name = self._cache_name
        if name is None:
            for instance, one in zip(instances, joined, strict=True):
                self._set_local(instance, one)
        else:
            for state, one in zip(states, joined, strict=True):
                state.fields_cache[name] = one
        if self._set_remote is not None:
            for instance, one in zip(instances, joined, strict=True):
                if one is not None:
                    self._set_remote(one, instance)


def _cache_name(setter: Any) -> str | None:
    """The name under which a field's own way to set an instance does so; None for any other way."""
    field = getattr(setter, "__self__", None)
    function = getattr(setter, "__func__", None)
    if isinstance(field, FieldCacheMixin) and function is FieldCacheMixin.set_cached_value:
        return field.cache_name
    return None


def maker_of(select: Sequence[Any], klass_info: Any, annotations: dict[str, int]) -> Maker | None:
    """What makes instances of these columns; None where a model or a field minds how."""
    return Maker(select, klass_info, annotations) if _is_plain(klass_info) else None


def _is_plain(klass_info: Any) -> bool:
    if klass_info.get("from_parent") or not is_made_plainly(klass_info["model"]):
        return False
    return all(map(_is_plain, klass_info.get("related_klass_infos", ())))
