"""Find out why a query's result may change although none of its tables has changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Func
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now, Random
from django.db.models.sql import Query
from django.db.models.sql.subqueries import AggregateQuery
from django.db.models.sql.where import ExtraWhere

from redisdict.modelcache.invalidation.statements import IDENTIFIER, QUOTED

#: What databases call their clocks, their dice, and what else isn't in a table. A name in quotation
#: marks is none of these.
IMPURE = re.compile(
    r"\b(?:RANDOM|RAND|RANDOMBLOB|SETSEED|GEN_RANDOM_UUID|UUID_GENERATE_V\w+|UUID|NEWID|NOW|SYSDATE"
    r"|TRANSACTION_TIMESTAMP|STATEMENT_TIMESTAMP|CLOCK_TIMESTAMP|TIMEOFDAY|NEXTVAL|CURRVAL|LASTVAL"
    r"|LAST_INSERT_ROWID|CHANGES|TOTAL_CHANGES|TXID_\w+|PG_\w+)\s*\("
    r"|\b(?:CURRENT_TIMESTAMP|CURRENT_DATE|CURRENT_TIME|LOCALTIMESTAMP|LOCALTIME|CURRENT_USER"
    r"|SESSION_USER|SYSTIMESTAMP)\b"
    r"|'NOW'",
    re.IGNORECASE,
)


COLUMN = re.compile(rf"(?:{IDENTIFIER}\.)+{IDENTIFIER}")


def impurity(query: Query, sql: str) -> str:
    """Why a compiled query isn't a function of its tables; empty when it is one."""
    for node in _nodes(query):
        reason = _reason(node)
        if reason:
            return reason
    found = IMPURE.search(QUOTED.sub('""', sql))
    return f"it asks for {found.group().rstrip('(').strip()}, which no table has" if found else ""


def _reason(node: Any) -> str:
    if isinstance(node, Query):
        if node.select_for_update:
            return "it locks rows, by select_for_update()"
        if node.extra_tables or not all(map(_is_of_prefetch, node.extra.items())):
            return "it has SQL of its own, by extra()"
    if isinstance(node, RawSQL | ExtraWhere):
        return "it has SQL of its own, which may call anything"
    if isinstance(node, Now | Random):
        return f"it asks for {type(node).__name__}(), which no table has"
    kind = type(node)
    if not kind.__module__.startswith("django."):
        return f"it has {kind.__module__}.{kind.__qualname__}, whose effect is unknown"
    if isinstance(node, Func) and (kind is Func or {"function", "template"} & {*node.extra}):
        function = node.extra.get("function") or node.extra.get("template") or node.function
        return f"it calls {function}, whose effect is unknown"
    return ""


def _is_of_prefetch(extra: tuple[str, tuple[str, Any]]) -> bool:
    """Whether it is the column that Django adds to assign prefetched rows."""
    name, (sql, _) = extra
    return name.startswith("_prefetch_related_val_") and COLUMN.fullmatch(sql) is not None


def _nodes(query: Any) -> Iterator[Any]:
    """The query, and all that it is made of."""
    seen: set[int] = set()
    new: list[Any] = [query]
    while new:
        node = new.pop()
        if id(node) in seen or not _is_node(node):
            continue
        seen.add(id(node))
        yield node
        new += _children(node)


def _is_node(value: Any) -> bool:
    return (
        isinstance(value, Query | ExtraWhere)
        or hasattr(value, "get_source_expressions")
        or _is_tree(value)
    )


def _is_tree(value: Any) -> bool:
    return hasattr(value, "children") and hasattr(value, "connector")


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, AggregateQuery):
        yield node.inner_query
    if isinstance(node, Query):
        yield node.where
        yield from node.annotations.values()
        yield from node.select
        yield from _flat(node.order_by)
        yield from _flat(node.group_by if isinstance(node.group_by, tuple) else ())
        yield from node.combined_queries
        for join in node.alias_map.values():
            yield getattr(join, "filtered_relation", None)
        return
    if _is_tree(node):
        yield from node.children
    yield from _flat(getattr(node, "get_source_expressions", tuple)())
    for name in ("query", "lhs", "rhs", "condition", "resolved_condition"):
        value = vars(node).get(name)
        yield from _flat(value) if isinstance(value, list | tuple) else [value]


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
