"""Ask the database which rows have which values of a field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import BooleanField, Case, Field, Model, QuerySet, Value, When

from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.loading import CHUNK, whole_rows
from redisdict.modelcache.results.computation import see_all_committed
from redisdict.modelcache.slots.lease import Loaded


class Unlisted:
    """Stands for a list that can't be kept: only the database can tell which rows are in it."""


UNLISTED = Unlisted()


def load_lists(table: CachedTable, asked: Mapping[bytes, Any]) -> Loaded[Any]:
    """The lists of values, by their cells; `UNLISTED` for those that aren't exact. One query.

    In a transaction of PostgreSQL, one more.

    Args:
        asked: the values.
    """
    members, form = table.cached.members, table.key_form
    assert members is not None
    exact = {key: value for key, value in asked.items() if form.is_exact(value)}
    found: dict[bytes, Any] = {key: [] for key in exact}
    found.update((key, UNLISTED) for key in asked if key not in exact)
    if exact:
        values = [form.to_python(value) for value in exact.values()]
        rows: QuerySet[Any] = QuerySet(table.model, using=table.database)
        rows = rows.filter(**{f"{members.by}__in": values}).order_by(*members.order, "pk")
        for value, given in rows.values_list(members.by, members.gives):
            cell = table.key(value)
            if given is not None and cell in found:
                found[cell].append(given)
    unsure = [key for key in asked if key not in exact]
    return Loaded(found, see_all_committed([table]), unsure)


def load_listed_rows(
    table: CachedTable, field: Field[Any, Any], form: KeyForm, keys: Sequence[Any]
) -> dict[Any, list[Model]]:
    """Load the rows with each of these values, in the order of their primary keys. One query.

    And one more for every 100 values that only the database can compare with the rows' values.

    Args:
        table: the table of the rows.
        form: the field's form.
    """
    values = {key: form.to_python(key) for key in keys}
    exact = {form.encode(key): key for key in keys if form.is_exact(key)}
    found: dict[Any, list[Model]] = {key: [] for key in keys}
    rows = whole_rows(table).order_by("pk")
    if exact:
        wanted = {f"{field.attname}__in": [values[key] for key in exact.values()]}
        for row in rows.filter(**wanted):
            key = exact.get(form.encode(getattr(row, field.attname)))
            if key is not None:
                found[key].append(row)
    for some in slices([key for key in keys if form.encode(key) not in exact], CHUNK):
        for row, meant in _rows_by_meaning(rows, field.attname, [values[key] for key in some]):
            for key, is_meant in zip(some, meant, strict=True):
                if is_meant:
                    found[key].append(row)
    return found


def _rows_by_meaning(
    rows: QuerySet[Any], attname: str, values: Sequence[Any]
) -> Iterator[tuple[Model, list[bool]]]:
    """Rows with one of these values, and for each of the values whether the database means it."""
    is_meant = {
        f"_redisdict_{number}": Case(
            When(**{attname: value}, then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        )
        for number, value in enumerate(values)
    }
    for row in rows.filter(**{f"{attname}__in": list(values)}).annotate(**is_meant):
        yield row, [bool(row.__dict__.pop(name)) for name in is_meant]
