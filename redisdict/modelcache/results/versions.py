"""Narrow what a query depends on to the rows with the values that its filter names.

A model's manager declares columns, `CachedManager(versions=("category",))`. For each of them every
value has a version, which is replaced by a barrier when a row with the value changes or a row gets
the value. A query for rows with one value depends on that version, and not on all of the table, if

- its WHERE is a conjunction, and one condition compares the column with the value: so no row with
  another value contributes anything, however its table is joined;
- the table occurs nowhere else in it, in no subquery and no second join;
- the database finds no other spelling equal to this value.

If any of that isn't certain, the query depends on the whole table, as without a declaration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Field, ForeignKey, Model
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.sql.where import AND, WhereNode

from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.cached_models import CachedModel, CachedTable, concrete_of
from redisdict.modelcache.invalidation.reads import tables_in
from redisdict.modelcache.invalidation.relations import cached_by_table
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.results.dependencies import known_models
from redisdict.modelcache.results.in_tasks import need_thread
from redisdict.modelcache.results.space import ResultSpace
from redisdict.modelcache.results.structure import Structure, places_of_values

#: A filter that names more values, by `in`, depends on the whole table.
MOST_VALUES = 16

#: So many choices of values are remembered for each set of tables.
MOST_CHOICES = 1000

#: Where a value stands among those of a structure; or -1, and the value.
Source = tuple[int, Any]

#: The values that a filter names of each column.
Choice = tuple[tuple[Any, ...], ...]


class DeclaresVersions:
    """A manager that declares columns.

    Attributes:
        versions: names of fields.
    """

    versions: tuple[str, ...] = ()

    def set_versions(self, names: Iterable[str]) -> None:
        """Take the names, as far as they can be checked without a model.

        Raises:
            ConfigurationError: these aren't names.
        """
        if isinstance(names, str):
            raise ConfigurationError(
                f"CachedManager(versions={names!r}): a tuple of field names is expected, as"
                f" ({names!r},)."
            )
        found = tuple(names)
        for name in found:
            if not isinstance(name, str):
                raise ConfigurationError(
                    f"CachedManager(versions={found!r}): {name!r:.80} is {type(name).__name__};"
                    " names of fields are expected."
                )
        self.versions = found


def declared_columns(model: type[Model]) -> list[Field[Any, Any]]:
    """The fields of the model's own table that its managers declare, each once, in their order.

    Raises:
        ConfigurationError: a name is no field that can be declared.
    """
    managers = [one for one in model._meta.managers if isinstance(one, DeclaresVersions)]
    names = dict.fromkeys(name for one in managers for name in one.versions)
    found = [_column(model, name) for name in names]
    # Those of a parent's table are declared there, by the manager that this one is inherited from.
    return [field for field in found if concrete_of(field.model) is concrete_of(model)]


def _column(model: type[Model], name: str) -> Field[Any, Any]:
    where = f"CachedManager(versions=…) of {model._meta.label} got {name!r}"
    by_name = {one.name: one for one in model._meta.concrete_fields}
    by_name |= {one.attname: one for one in by_name.values()}
    field = by_name.get(name)
    if field is None:
        possible = [one.name for one in model._meta.concrete_fields if not _refusal(one)]
        raise ConfigurationError(
            f"{where}, and there is no such field with a column. Possible are:"
            f" {', '.join(possible)}."
        )
    if reason := _refusal(field):
        raise ConfigurationError(f"{where}, {reason}.")
    return field


def _refusal(field: Any) -> str:
    """Why results can't depend on the values of this field; empty when they can."""
    if field in field.model._meta.pk_fields and not field.primary_key:
        return "which is a part of the primary key"
    kind = field
    while isinstance(kind, ForeignKey):
        kind = kind.target_field
    module = type(kind).__module__
    if module != "django.db.models.fields" or type(field).__module__.partition(".")[0] != "django":
        return (
            f"a {type(field).__qualname__} of {type(field).__module__}: which of its values the"
            " database takes for equal isn't known; a field of text, numbers, dates, UUIDs, or a"
            " foreign key to one of these is expected"
        )
    return ""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The dependencies of all queries of one shape, in place of whole tables.

    Attributes:
        models: the models whose tables they depend on as a whole, followed by those of the columns.
        sources: for each column, the position of its values among those of a structure; -1, and the
            value itself, for one that is a part of the shape.
    """

    models: Sequence[CachedModel]
    sources: Sequence[Sequence[Source]]

    def choice(self, structure: Structure) -> Choice:
        """The values that the filter of one of the queries names."""
        values = structure.values
        return tuple(
            [
                tuple([value if place < 0 else values[place] for place, value in some])
                for some in self.sources
            ]
        )


def narrow(
    query: Any, structure: Structure, sql: str, declared: Collection[str], using: str
) -> Narrowing | None:
    """Find what a compiled query depends on; None if on its whole tables.

    Args:
        query: a query whose structure is known, so all its parts are Django's own.
        structure: the structure of this query.
        sql: its text.
        declared: the tables that it reads.

    Raises:
        NotCacheable: changes of one of its tables aren't announced.
    """
    found = dict(_narrowed_tables(query, structure, sql, using))
    if not found:
        return None
    rest = known_models([name for name in declared if name not in found], using, QUERY)
    return Narrowing(
        [*rest, *(column for column, _ in found.values())], [some for _, some in found.values()]
    )


#: What `known_models()` is asked for.
QUERY = "The result of this query"


def _narrowed_tables(
    query: Any, structure: Structure, sql: str, using: str
) -> Iterator[tuple[str, tuple[CachedModel, Sequence[Source]]]]:
    """Yield the tables of which the query depends on some values alone, with the column."""
    mentioned = Counter(tables_in(sql))
    places = places_of_values(query)
    by_column: dict[tuple[str, str], Sequence[Source]] = {}
    for condition in _conjunction(query.where):
        if (named := _column_of(condition, query)) is not None:
            sources = _sources(condition, places[id(condition)], structure)
            if sources is not None:
                by_column.setdefault(named, sources)
    for table in dict.fromkeys(name for name, _ in by_column):
        if mentioned[table] != 1:
            continue
        for cached in cached_by_table().get(table, ()):
            if cached.is_version and cached.using == using:
                field = cached.listed_by or cached.model._meta.pk
                sources = by_column.get((table, str(field.column)))
                if sources is not None:
                    yield table, (cached, sources)
                    break


def _sources(condition: Any, places: range, structure: Structure) -> Sequence[Source] | None:
    """Return the places of a condition's values; None if they aren't certain."""
    left = iter(places)
    found: list[Source] = []
    for value in _values(condition):
        if type(value) is bool:
            found.append((-1, value))
            continue
        place = next(left, 0)
        if not place or structure.values[place] is not value:
            return None
        found.append((place, None))
    return None if next(left, 0) else found


def _conjunction(node: WhereNode) -> Iterator[Any]:
    """Yield the conditions that all rows have to fulfil."""
    if node.negated or (node.connector != AND and len(node.children) > 1):
        return
    for child in node.children:
        if isinstance(child, WhereNode):
            yield from _conjunction(child)
        else:
            yield child


def _column_of(condition: Any, query: Any) -> tuple[str, str] | None:
    """The table and column that a condition compares with values; None if it does anything else."""
    if not isinstance(condition, Exact | In) or getattr(condition, "bilateral_transforms", None):
        return None
    column = condition.lhs
    if type(column) is not Col:
        return None
    if isinstance(condition, In) and not isinstance(condition.rhs, list | tuple):
        return None
    values = _values(condition)
    if len(values) > MOST_VALUES or any(hasattr(one, "resolve_expression") for one in values):
        return None
    joined = query.alias_map.get(column.alias)
    model = column.target.model
    if joined is None or joined.table_name != model._meta.db_table:
        return None
    return table_of(model), str(column.target.column)


def _values(condition: Any) -> tuple[Any, ...]:
    return tuple(condition.rhs) if isinstance(condition, In) else (condition.rhs,)


def space_of(choice: Choice, within: ResultSpace) -> ResultSpace | None:
    """The results of the queries that name these values; None if they depend on whole tables.

    Args:
        within: the results that depend on the tables of a narrowing, whatever values are named.

    Raises:
        NeedsThread: in a task, when these values are new: the database may have to be asked.
    """
    try:
        return within.by_choice[choice]
    except KeyError:
        need_thread()
    except TypeError:  # one of the values has no hash
        return None
    tables = within.tables[len(within.tables) - len(choice) :]
    space = _depending_on(tables, choice, within)
    if len(within.by_choice) >= MOST_CHOICES:
        within.by_choice.clear()
    within.by_choice[choice] = space
    return space


def _depending_on(
    tables: Sequence[CachedTable], choice: Choice, within: ResultSpace
) -> ResultSpace | None:
    versions, heats = [], []
    for table, values in zip(tables, choice, strict=True):
        # None has no rows: NULL is equal to nothing.
        known = [value for value in values if value is not None]
        if not all(map(table.key_form.is_exact, known)):
            return None
        keys = dict.fromkeys(map(table.key, known))
        versions += [table.store.version_in(key) for key in keys]
        heats += [table.heat] * len(keys)
    return within.depending_on(versions, heats)
