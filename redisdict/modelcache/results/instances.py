"""Make instances from cached rows, with joined ones, as Django does from a query's rows.

Django calls each field's converters and `Model.__init__()`, which takes longer than reading the
rows. If the result is the same, instances are made directly here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from weakref import ref

from django.db import models
from django.db.models.base import ModelState
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.signals import post_init, pre_init

from redisdict.modelcache.results.columns import Columns
from redisdict.modelcache.rows import is_heard, is_made_plainly

#: How an instance fetches fields and relations that it lacks, unless it is told; since Django 6.1.
FETCH_ONE: Any = getattr(models, "FETCH_ONE", None)


class Maker:
    """Makes instances of the rows of one shape of queries.

    Args:
        select: the columns as a compiler describes them; see `SQLCompiler`.
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
        """Whether new instances have no receivers of signals."""
        return not ((pre_init.receivers or post_init.receivers) and self._part.is_heard)

    def make(self, rows: Columns, database: str, fetch_mode: Any = None) -> list[Any]:
        """Make an instance of each row, whose values have been converted.

        Args:
            fetch_mode: that of the queryset, since Django 6.1.
        """
        columns = rows.columns
        mode = None if fetch_mode is FETCH_ONE else fetch_mode
        made = self._part.make(columns, rows.count, database, mode)
        if mode is not None:
            _set_fetch_mode(made, mode)
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
        self._attnames = [one[0].target.attname for one in select[self._place]]
        self._joins = [_Join(one, select) for one in klass_info.get("related_klass_infos", ())]
        self._kept = [join for join in self._joins if join.cache_name is not None]
        cached = [join.cache_name for join in self._kept]
        self._fill = _function_for(tuple(self._attnames), tuple(cached))

    @property
    def is_heard(self) -> bool:
        """Whether new instances of one of the models have receivers of signals."""
        return is_heard(self._model) or any(join.is_heard for join in self._joins)

    def make(
        self, columns: Sequence[Sequence[Any]], count: int, database: str, mode: Any
    ) -> list[Any]:
        """Make an instance of each row, as `from_db()` makes it.

        Args:
            mode: the fetch mode of joined instances; None for their default.
        """
        model, place = self._model, self._place
        joined = {join: join.make_joined(columns, count, database, mode) for join in self._joins}
        kept = [joined[join] for join in self._kept]
        rows = zip(*columns[place], *kept, strict=True)
        made: list[Any] = self._fill(rows, database, model, model.__new__, ModelState)
        for join, others in joined.items():
            join.set(made, others)
        return made


class _Join(_Part):
    """Makes the instances that are joined to others, as Django's `RelatedPopulator` does."""

    def __init__(self, klass_info: Any, select: Sequence[Any]) -> None:
        super().__init__(klass_info, select)
        key = self._model._meta.pk_fields[0].attname
        self._key = self._place.start + self._attnames.index(key)
        self._set_local = klass_info["local_setter"]
        #: The name under which an instance keeps the joined one; None where a function does it.
        self.cache_name = _cache_name(self._set_local)
        setter = klass_info["remote_setter"]
        # Django's own function for a relation that has no other end to set.
        is_one_way = getattr(setter, "__name__", "") == "<lambda>"
        self._set_remote = None if is_one_way else setter

    def make_joined(
        self, columns: Sequence[Sequence[Any]], count: int, database: str, mode: Any
    ) -> list[Any]:
        """Make the joined instance of each row; None if there is none."""
        joined = self.make(columns, count, database, mode)
        keys = columns[self._key]
        if None in keys:
            joined = [None if key is None else one for one, key in zip(joined, keys, strict=True)]
        if mode is not None:
            _set_fetch_mode([one for one in joined if one is not None], mode)
        return joined

    def set(self, instances: Sequence[Any], joined: Sequence[Any]) -> None:
        """Finish each instance and its joined ones."""
        if self.cache_name is None:
            for instance, one in zip(instances, joined, strict=True):
                self._set_local(instance, one)
        if self._set_remote is not None:
            for instance, one in zip(instances, joined, strict=True):
                if one is not None:
                    self._set_remote(one, instance)


def _set_fetch_mode(instances: Sequence[Any], mode: Any) -> None:
    """Set how instances fetch missing fields, and the peers that are fetched with them."""
    peers = [ref(one) for one in instances] if mode.track_peers else None
    for one in instances:
        one._state.fetch_mode = mode
        if peers is not None:
            one._state.peers = peers


@lru_cache(maxsize=4096)
def _function_for(attnames: Sequence[str], cached: Sequence[str]) -> Callable[..., list[Any]]:
    """Write the function that makes instances from rows, with fields and joined instances.

    A display of a dict with its names takes half the time of any function that puts names and
    values together.
    """
    values = [f"value_{number}" for number in range(len(attnames) + len(cached))]
    pairs = [f"{name!r}: {value}" for name, value in zip((*attnames, *cached), values, strict=True)]
    fields, relations = pairs[: len(attnames)], pairs[len(attnames) :]
    text = f"""
def make(rows, database, model, new, ModelState):
    made = []
    for {", ".join(values)}, in rows:
        state = ModelState()
        state.adding = False
        state.db = database
        {f"state.fields_cache = {{{', '.join(relations)}}}" if relations else ""}
        instance = new(model)
        instance.__dict__ = {{"_state": state, {", ".join(fields)}}}
        made.append(instance)
    return made
"""
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102  # of names that Django has made attributes of, as literals
    made: Callable[..., list[Any]] = names["make"]
    return made


def _cache_name(setter: Any) -> str | None:
    """The name under which a field's own way to set an instance does so; None for any other way."""
    field = getattr(setter, "__self__", None)
    function = getattr(setter, "__func__", None)
    if isinstance(field, FieldCacheMixin) and function is FieldCacheMixin.set_cached_value:
        return field.cache_name
    return None


def maker_of(select: Sequence[Any], klass_info: Any, annotations: dict[str, int]) -> Maker | None:
    """Return the maker of instances of these columns; None if a model or field needs its own."""
    return Maker(select, klass_info, annotations) if _is_plain(klass_info) else None


def _is_plain(klass_info: Any) -> bool:
    if klass_info.get("from_parent") or not is_made_plainly(klass_info["model"]):
        return False
    return all(map(_is_plain, klass_info.get("related_klass_infos", ())))
