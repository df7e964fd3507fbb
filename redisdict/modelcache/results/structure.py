"""Describe the structure of queries, so that equal ones are recognized without their SQL.

Compiling a query costs more than getting its result from a server. Its SQL depends on the
attributes of the query and of its expressions, so these are written down: the part that is the same
for all queries of one *shape*, and separately the *values* that they compare with. All attributes
are written, except those that are known not to matter. If a query contains anything unknown, of
Django's or of others, it has no description and is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

from django.db.models import Field, ForeignKey, ManyToManyField, OneToOneField
from django.db.models.expressions import BaseExpression, Col, F, OrderBy, Value
from django.db.models.fields.reverse_related import (
    ForeignObjectRel,
    ManyToManyRel,
    ManyToOneRel,
    OneToOneRel,
)
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import NothingNode, WhereNode

from redisdict.modelcache.results.field_names import PLAIN, FieldName, Unknown, name_of_field


class Structure(NamedTuple):
    """A query, described.

    Attributes:
        shape: the same for all queries that differ only in their values; hashable, and valid in
            this process only.
        values: the values that it compares with, and its limits, in order.
        tables: the names of the tables that it certainly joins.
    """

    shape: Hashable
    values: list[Any]
    tables: set[str]


class Values(list[Any]):
    """Collects values, and beside them tables."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: set[str] = set()


#: The attributes of a query that decide nothing: what is made of others, and what only further
#: filters mind.
OF_NO_ACCOUNT = frozenset(
    [
        "used_aliases",
        "base_table",
        "_annotation_select_cache",
        "_extra_select_cache",
        "filter_is_sticky",
        "_lookup_joins",
        "contains_aggregate",
        "contains_over_clause",
        "contains_subquery",
    ]
)

#: Those that are true or false.
SWITCHES = {
    "default_cols": True,
    "default_ordering": True,
    "standard_ordering": True,
    "distinct": False,
    "subquery": False,
    "alias_cols": True,
}

#: Those that are plain, or hold expressions; with what there is where there is none.
PARTS: dict[str, Any] = {
    "select": (),
    "group_by": None,
    "order_by": (),
    "distinct_fields": (),
    "select_related": False,
    "max_depth": 5,
    "values_select": (),
    "selected": None,
    "annotation_select_mask": None,
    "deferred_loading": (frozenset(), True),
    "alias_prefix": "T",
    "subq_aliases": frozenset(["T"]),
    "_db": None,
}

#: Those that a query has to be without.
REFUSED = (
    "extra",
    "extra_tables",
    "extra_order_by",
    "extra_select_mask",
    "_filtered_relations",
    "explain_info",
    "combinator",
    "combinator_all",
    "combined_queries",
    "select_for_update",
    "select_for_update_nowait",
    "select_for_update_skip_locked",
    "select_for_update_of",
    "select_for_no_key_update",
)

#: Those that are described one by one.
OTHERS = ["model", "where", "annotations", "alias_map", "alias_refcount", "external_aliases"]
OTHERS += ["table_map", "low_mark", "high_mark"]

KNOWN = frozenset([*SWITCHES, *PARTS, *REFUSED, *OTHERS]) | OF_NO_ACCOUNT

#: What expressions keep of what they were asked, or were made of.
KEPT = frozenset(
    [
        "contains_aggregate",
        "contains_over_clause",
        "contains_column_references",
        "contains_subquery",
        "contains_set_returning",
        "convert_value",
        "identity",
        "_constructor_args",
        "output_field",
        "_output_field_or_none",
        "_output_field_resolved_to_none",
    ]
)

#: A Col has these.
OF_COL = frozenset(["alias", "target", "possibly_multivalued", "is_summary"]) | KEPT

OF_VALUE = frozenset(["value", "for_save", "is_summary"]) | KEPT

#: Joins along these are made of their columns alone; others have further conditions.
RELATIONS = (ForeignKey, OneToOneField, ManyToManyField, ManyToOneRel, OneToOneRel, ManyToManyRel)


#: By class, what describes its instances.
_describers: dict[type, Callable[[Any, Values], Hashable]] = {}


def structure_of(query: Any) -> Structure | None:
    """Describe a query; None when something about it isn't known."""
    if type(query) is not Query:
        return None
    values = Values()
    try:
        shape = _query(query, values, is_outermost=True)
    except Unknown:
        return None
    return Structure(shape, values, values.tables)


def places_of_values(query: Any) -> dict[int, range]:
    """Find the places of each condition's values, by its identity, among all of a structure."""
    values = Values()
    values.append(None)  # the limits
    found: dict[int, range] = {}

    def look_at(node: WhereNode) -> None:
        for child in node.children:
            if isinstance(child, WhereNode):
                look_at(child)
            else:
                first = len(values)
                _where(child, values)
                found[id(child)] = range(first, len(values))

    look_at(query.where)
    return found


def text_of(shape: Any) -> str:
    """Write a shape down, the same in all processes of the same code."""
    if isinstance(shape, tuple):
        return f"({' '.join(map(text_of, shape))})"
    if isinstance(shape, FieldName):
        return f"<{shape.text}>"
    if isinstance(shape, type):
        meta = getattr(shape, "_meta", None)
        return f"<{shape.__module__}.{shape.__qualname__} {getattr(meta, 'db_table', '')}>"
    return repr(shape)


def _query(query: Any, values: Values, *, is_outermost: bool = False) -> Hashable:
    held = vars(query)
    if not held.keys() <= KNOWN or any(map(held.get, REFUSED)):
        raise Unknown
    get = held.get
    low, high = get("low_mark", 0), get("high_mark")
    if is_outermost:
        values.append((low, high))
        low, high = 0, bool(low) or high is not None
    model, annotations = held["model"], held["annotations"]
    ordering = (model is not None and model._meta.ordering) or ()
    if any(type(one) is not str for one in ordering):
        raise Unknown
    counts = held["alias_refcount"]
    joined = held["alias_map"]
    tables = tuple([_table(one, values) for one in joined.values()])
    values.tables.update([joined[alias].table_name for alias, count in counts.items() if count])
    return (
        Query,
        model,
        tuple(ordering),
        low,
        high,
        tuple([get(name, usual) for name, usual in SWITCHES.items()]),
        tuple(counts.items()),
        tuple(held["table_map"]),
        tuple(held["external_aliases"].items()),
        tables,
        _where(held["where"], values),
        _describe(annotations, values) if annotations else None,
        tuple(
            [
                (name, _describe(part, values))
                for name, usual in PARTS.items()
                if (part := get(name, usual)) is not usual
            ]
        ),
    )


def _table(table: Any, values: Values) -> Hashable:
    kind = type(table)
    if kind is BaseTable:
        return table.table_name, table.table_alias
    if kind is not Join or table.filtered_relation is not None:
        raise Unknown
    along = table.join_field
    if type(along) not in RELATIONS:
        raise Unknown
    return (
        table.table_name,
        table.parent_alias,
        table.table_alias,
        table.join_type,
        table.nullable,
        name_of_field(along),
    )


def _where(node: Any, values: Values) -> Hashable:
    kind = type(node)
    if kind is WhereNode:
        return node.connector, node.negated, tuple([_where(one, values) for one in node.children])
    if kind is NothingNode:
        return NothingNode
    return _describe(node, values)


def _describe(value: Any, values: Values) -> Hashable:
    """Describe anything that may be an attribute."""
    kind = type(value)
    describer = _describers.get(kind)
    if describer is None:
        describer = _describers[kind] = _describer_of(kind)
    return describer(value, values)


def _describer_of(kind: type) -> Callable[[Any, Values], Hashable]:
    if kind in PLAIN or kind is bool:
        return _plain
    special = SPECIAL.get(kind)
    if special is not None:
        return special
    if kind.__module__.partition(".")[0] != "django":
        return _refuse
    if issubclass(kind, Lookup):
        return _lookup
    if issubclass(kind, Field | ForeignObjectRel):
        return lambda field, _: name_of_field(field)
    if issubclass(kind, BaseExpression):
        return _expression
    return _refuse


def _refuse(value: Any, values: Values) -> Hashable:
    raise Unknown


def _plain(value: Any, values: Values) -> Hashable:
    # True is 1, and 1.0, but not of the same type; -0.0 isn't 0.0.
    return type(value), repr(value) if type(value) is float else value


def _sequence(value: Iterable[Any], values: Values) -> Hashable:
    return type(value), tuple([_describe(one, values) for one in value])


def _set(value: Iterable[Any], values: Values) -> Hashable:
    names = list(value)
    if not all(type(one) is str for one in names):
        raise Unknown
    return frozenset, tuple(sorted(names))


def _dict(value: dict[Any, Any], values: Values) -> Hashable:
    if not all(type(key) is str for key in value):
        raise Unknown
    return dict, tuple([(key, _describe(one, values)) for key, one in value.items()])


def _class(value: type, values: Values) -> Hashable:
    return type, value


def _col(col: Any, values: Values) -> Hashable:
    held = vars(col)
    if not held.keys() <= OF_COL:
        raise Unknown
    target = held["target"]
    other = held.get("output_field", target)
    alias = held["alias"]
    return Col, alias, name_of_field(target), None if other is target else name_of_field(other)


def _lookup(lookup: Any, values: Values) -> Hashable:
    held = vars(lookup)
    rest = []
    for name, part in held.items():
        if name not in KEPT and name != "lhs" and name != "rhs":
            if name == "bilateral_transforms" and not part:
                continue
            rest.append((name, _describe(part, values)))
    lhs = held["lhs"]
    rhs = held["rhs"]
    left = _col(lhs, values) if type(lhs) is Col else _describe(lhs, values)
    return type(lookup), left, _value(rhs, values), tuple(sorted(rest, key=_first))


def _first(pair: Any) -> str:
    name: str = pair[0]
    return name


def _value(value: Any, values: Values) -> Hashable:
    """Describe the right side of a comparison; a plain value is listed separately."""
    if hasattr(value, "resolve_expression"):
        return _describe(value, values)
    kind = type(value)
    if kind is list or kind is tuple:
        return kind, tuple([_value(one, values) for one in value])
    if kind is bool:
        return bool, value  # it decides, say, between IS NULL and IS NOT NULL
    values.append(value)
    return type, kind


def _value_expression(node: Any, values: Values) -> Hashable:
    held = vars(node)
    if not held.keys() <= OF_VALUE:
        raise Unknown
    values.append(held["value"])
    return Value, type(held["value"]), held.get("for_save"), _output_field(node)


def _expression(node: Any, values: Values) -> Hashable:
    held = vars(node)
    parts = [
        (name, _describe(part, values)) for name, part in sorted(held.items()) if name not in KEPT
    ]
    return type(node), None if type(node) is OrderBy else _output_field(node), tuple(parts)


def _output_field(node: Any) -> Hashable:
    try:
        field = node._output_field_or_none
    except Exception as error:
        raise Unknown from error
    return None if field is None else name_of_field(field)


SPECIAL: dict[type, Callable[[Any, Values], Hashable]] = {
    Col: _col,
    F: lambda node, _: (F, node.name),
    Value: _value_expression,
    WhereNode: _where,
    NothingNode: _where,
    Query: lambda query, values: _query(query, values),
    list: _sequence,
    tuple: _sequence,
    set: _set,
    frozenset: _set,
    dict: _dict,
    type: _class,
}
