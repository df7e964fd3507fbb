"""Match rows that were found with the values by which they were asked for, as the database does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import BooleanField, Case, Model, QuerySet, Value, When

from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.keys import KeyForm

__all__ = ["Matched", "match"]

#: Values that one query compares: each is a column of its result, and PostgreSQL has 1,664.
CHUNK = 100


@dataclass(frozen=True, slots=True)
class Matched:
    """Rows by the key of the value by which they were asked for.

    Attributes:
        own: those whose own spelling it is.
        other: those that the database takes for having the value, but spells otherwise.
        unsure: the keys of `other`, and of values of which it can't be told, by the value, whether
            a row has them. Nothing may be kept under these.
    """

    own: Mapping[bytes, Model]
    other: Mapping[bytes, Model] = field(default_factory=dict)
    unsure: Sequence[bytes] = ()

    def rows(self) -> dict[bytes, Any]:
        """All that were found."""
        return {**self.own, **self.other}


def match(
    asked: Mapping[bytes, Any],
    found: Mapping[bytes, Model],
    form: KeyForm,
    rows: QuerySet[Any],
    attname: str,
) -> Matched:
    """Tell which of the rows found has which of the values asked for.

    Nearly always each row has the spelling by which it was asked for. Only where the database may
    take two spellings for equal, it is asked which of the others it means: a query for 100 of them.

    Args:
        asked: the values, by their keys.
        found: the rows that the database gave for them, by the keys of their own spellings.
        rows: a queryset of all rows of the table.
        attname: of the field; "pk" for the primary key.
    """
    own = {key: row for key, row in found.items() if key in asked}
    unsure = [key for key, value in asked.items() if key not in own and not form.is_exact(value)]
    other: dict[bytes, Model] = {}
    if found and unsure:
        by_pk = {row.pk: row for row in found.values()}
        for keys in slices(unsure, CHUNK):
            is_meant = {
                f"_redisdict_{number}": Case(
                    When(**{attname: asked[key]}, then=Value(True)),
                    default=Value(False),
                    output_field=BooleanField(),
                )
                for number, key in enumerate(keys)
            }
            meant_by_any = {f"{attname}__in": [asked[key] for key in keys]}
            chosen = rows.filter(**meant_by_any).annotate(**is_meant)
            for row in chosen.values_list("pk", *is_meant):
                if row[0] in by_pk:
                    meant = zip(keys, row[1:], strict=True)
                    other.update({key: by_pk[row[0]] for key, is_so in meant if is_so})
    return Matched(own, other, unsure)
