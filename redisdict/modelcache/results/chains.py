"""Recognize a query by the queryset calls that make it, so that a hit builds no Django query.

`filter()`, `order_by()` and a slice cost more than getting the result from a server: each copies
the query, and a filter resolves names, joins and lookups. But calls of one *shape*, which differ in
their plain values alone, give queries of one structure, with the values at certain places. So when
a shape is first met, the query is built, and built once more with other values, to learn where the
values go. From then on the calls are only recorded, and a query is built from them on demand.

If the places aren't certain, the shape isn't learned, and Django builds the query at once, as
usual. A call still raises its errors when it is made: only shapes whose calls have succeeded are
learned, and only values of types that no lookup refuses.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import wraps
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.query_utils import RegisterLookupMixin

from redisdict.modelcache.results.structure import Structure, structure_of
from redisdict.modelcache.results.values import names_of

#: The types of values that may differ within a shape. A field treats all values of such a type
#: alike; but times without a zone cause a warning, and fields refuse some decimals and floats.
KINDS = frozenset([int, str, UUID])

#: The types of values that decide what is compared, and so are a part of the shape.
DECIDING = frozenset([bool, type(None)])

#: So many values of a list, at most.
MOST_LISTED = 100

#: So many shapes are remembered.
MOST_SHAPES = 10_000

#: A method of a queryset, what it is called with, and by which names.
Call = tuple[str, tuple[Any, ...], dict[str, Any]]

#: The first of the numbers that stand in the place of values; no small one is an object of its own.
FIRST_PROBE = 10_000_019


class Shape:
    """The common part of all queries that are made by calls of one shape.

    Attributes:
        structure: the query's structure as `structure_of()` returns it, without values.
        sources: for each value of the structure except the limits: the index of the calls' value
            that it comes from, or -1 and the value itself if it is always the same.
        rows: a queryset of that shape, whose attributes are those of all others of the shape.
        names: the names under which `values()` gives the columns.
        next: the shapes to which one further call leads, by the shape of the call; False where
            that can't be known.
    """

    __slots__ = ("is_ordered", "is_sliced", "names", "next", "rows", "sources", "structure")

    def __init__(
        self, structure: Hashable, sources: Sequence[tuple[int, Any]], rows: models.QuerySet[Any]
    ) -> None:
        self.structure = structure
        self.sources = sources
        self.rows = rows
        self.is_sliced = rows.query.is_sliced
        self.is_ordered = rows.ordered
        self.names = names_of(rows.query)
        self.next: dict[Hashable, Shape | bool] = {}


class Chain:
    """Calls that make a query, one after the other, the last one first.

    Attributes:
        before: the calls before; None at the beginning.
        values: of all calls, in order.
        low, high: the limits, as a query has them.
    """

    __slots__ = ("before", "call", "high", "low", "shape", "values")

    def __init__(
        self,
        before: Chain | None,
        call: Call,
        shape: Shape,
        values: tuple[Any, ...] = (),
        low: int = 0,
        high: int | None = None,
    ) -> None:
        self.before = before
        self.call = call
        self.shape = shape
        self.values = values
        self.low = low
        self.high = high

    def structure(self) -> Structure:
        """Describe the query, as `structure_of()` does when it is made."""
        values = self.values
        found: list[Any] = [(self.low, self.high)]
        found += [other if place < 0 else values[place] for place, other in self.shape.sources]
        return Structure(self.shape.structure, found, set())

    def build(self) -> models.QuerySet[Any]:
        """Make the query, in a plain queryset."""
        return self._build(iter(self.values))

    def _build(self, values: Iterator[Any]) -> models.QuerySet[Any]:
        if self.before is None:
            return models.QuerySet(self.shape.rows.model)
        return _apply(self.before._build(values), self.call, values)

    def filter(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Chain | None:
        """Continue with `filter()` or `exclude()`; None if Django has to build the query."""
        key: list[Any] = [method]
        values: list[Any] = []
        noted_args, noted = args, kwargs
        if args:
            noted_args = tuple([_noted_q(one, key, values) for one in args])
            if None in noted_args:
                return None
        for name, value in kwargs.items():
            kind = type(value)
            if kind in KINDS and value != "":  # the empty text is NULL on Oracle
                key.append((name, kind))
                values.append(value)
            elif (other := _noted(name, value, key, values)) is not value:
                if other is _UNKNOWN:
                    return None
                noted = {**noted, name: other}
        found = self.shape.next.get(tuple(key))
        call = method, noted_args, noted
        if found is None:
            found = _learn(self, tuple(key), call, values, (args, kwargs))
        if not isinstance(found, Shape):
            return None
        return Chain(self, call, found, (*self.values, *values), self.low, self.high)

    def then(self, method: str, arguments: Sequence[Any], **options: bool) -> Chain | None:
        """Continue with a method that takes names; None if Django has to build the query."""
        if not TEXT.issuperset(map(type, arguments)):
            return None
        key = (method, *arguments, *options.items())
        call = method, tuple(arguments), options
        found = self.shape.next.get(key)
        if found is None:
            found = _learn(self, key, call)
        if not isinstance(found, Shape):
            return None
        return Chain(self, call, found, self.values, self.low, self.high)

    def slice(self, start: int | None, stop: int | None) -> Chain | None:
        """Continue with a slice; None if Django has to build the query."""
        if type(start) not in LIMITS or type(stop) not in LIMITS:
            return None
        if (start or 0) < 0 or (stop or 0) < 0:
            return None
        low, high = self.low, self.high
        if stop is not None:
            high = low + stop if high is None else min(high, low + stop)
        if start is not None:
            low = low + start if high is None else min(high, low + start)
        if low == high or (not low and high is None):
            return None  # nothing, or everything
        call = "__getitem__", (slice(start, stop),), dict[str, Any]()
        found = self.shape.next.get(SLICED)
        if found is None:
            found = _learn(self, SLICED, call, limits=(low, high))
        if not isinstance(found, Shape):
            return None
        return Chain(self, call, found, self.values, low, high)


TEXT = frozenset([str])

#: What a limit may be.
LIMITS = frozenset([int, type(None)])

#: The shape of a slice.
SLICED = ("[:]",)

#: By model, where calls begin, None where nothing is known of its queries; and how it was ordered.
_roots: dict[type[models.Model], tuple[Chain | None, Any]] = {}
_count = 0


def chain_of(model: type[models.Model]) -> Chain | None:
    """Return the beginning of the calls of a queryset of this model."""
    found = _roots.get(model)
    if found is None or found[1] is not model._meta.ordering:
        found = _roots[model] = _begin(model), model._meta.ordering
    return found[0]


def _begin(model: type[models.Model]) -> Chain | None:
    rows: models.QuerySet[Any] = models.QuerySet(model)
    structure = structure_of(rows.query)
    if structure is None:
        return None
    return Chain(None, ("", (), {}), Shape(structure.shape, (), rows))


def _forget() -> None:
    """Forget all shapes, also those that an existing queryset would continue."""
    global _count
    known = [chain.shape for chain, _ in _roots.values() if chain is not None]
    _roots.clear()
    _count = 0
    while known:
        shape = known.pop()
        known += [one for one in list(shape.next.values()) if isinstance(one, Shape)]
        shape.next.clear()


def _noticed(register: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(register)
    def noticed(*args: Any, **kwargs: Any) -> Any:
        try:
            return register(*args, **kwargs)
        finally:
            _forget()

    return noticed


def _notice_lookups() -> None:
    """Forget all shapes whenever a lookup is registered: it may give a name another meaning.

    Neither a field's class nor a field shows that it got a lookup of its own. So both ways through
    Django's `register_lookup()`, and through its reverse, are watched.
    """
    for name in ("register_lookup", "_unregister_lookup"):
        both: Any = vars(RegisterLookupMixin)[name]
        both.class_method = _noticed(both.class_method)
        both.instance_method = _noticed(both.instance_method)


_notice_lookups()


def _apply(rows: models.QuerySet[Any], call: Call, values: Iterator[Any]) -> models.QuerySet[Any]:
    method, args, kwargs = call
    with_args = [_with(one, values) if type(one) is Q else one for one in args]
    with_kwargs = {name: _with(value, values) for name, value in kwargs.items()}
    result: models.QuerySet[Any] = getattr(rows, method)(*with_args, **with_kwargs)
    return result


def _with(value: Any, values: Iterator[Any]) -> Any:
    """An argument, with the next of these values in their places."""
    kind = type(value)
    if kind in KINDS and value != "":
        return next(values)
    if kind is list or kind is tuple:
        return kind([_with(one, values) for one in value])
    if kind is Q:
        children = [
            (child[0], _with(child[1], values)) if type(child) is tuple else _with(child, values)
            for child in value.children
        ]
        return Q.create(children, value.connector, value.negated)
    if isinstance(value, models.Model):
        other = copy.copy(value)
        setattr(other, value._meta.pk.attname, next(values))
        return other
    return value


#: In place of what can't be noted.
_UNKNOWN: Any = object()


def _noted(name: str, value: Any, key: list[Any], values: list[Any]) -> Any:
    """Return the recorded form of a value, an immutable copy; or `_UNKNOWN`."""
    kind = type(value)
    if kind in KINDS and value != "":
        key.append((name, kind))
        values.append(value)
        return value
    if kind in DECIDING or kind is str:
        key.append((name, kind, value))
        return value
    if kind is list or kind is tuple:
        kinds = [*map(type, value)]
        if len(value) > MOST_LISTED or not KINDS.issuperset(kinds) or "" in value:
            return _UNKNOWN
        key.append((name, kind, *kinds))
        values += value
        return kind([*value])
    if isinstance(value, models.Model):
        pk = value.pk
        if type(pk) not in KINDS or pk == "":
            return _UNKNOWN
        key.append((name, kind, type(pk)))
        values.append(pk)
        return pk
    return _UNKNOWN


def _noted_q(node: Any, key: list[Any], values: list[Any]) -> Q | None:
    """The same for conditions; None if they can't be recorded."""
    if type(node) is not Q:
        return None
    key.append((Q, node.connector, node.negated, len(node.children)))
    children: list[Any] = []
    for child in node.children:
        if type(child) is tuple:
            name, value = child
            noted = _noted(name, value, key, values)
            if noted is _UNKNOWN:
                return None
            children.append((name, noted))
        else:
            inner = _noted_q(child, key, values)
            if inner is None:
                return None
            children.append(inner)
    return Q.create(children, node.connector, node.negated)


def _learn(
    before: Chain,
    key: Hashable,
    call: Call,
    values: Sequence[Any] = (),
    given: tuple[tuple[Any, ...], dict[str, Any]] | None = None,
    limits: tuple[int, int | None] | None = None,
) -> Shape | bool | None:
    """Learn to which shape a further call on queries of a shape leads; None if the call fails.

    Args:
        values: the values in the call.
        given: the call's arguments, before it was noted.
    """
    global _count
    every = [*before.values, *values]
    probes = [_probe(type(one), number) for number, one in enumerate(every)]
    own = probes[len(before.values) :]
    # An instance stands for its primary key; where a relation is by another field, it doesn't.
    as_given = call if given is None else (call[0], *given)
    try:
        rows = _apply(before.build(), call, iter(values))
    except Exception:  # noqa: BLE001  # the caller gets it from Django
        return None
    found: Shape | bool = False
    with contextlib.suppress(Exception):  # a value of this type may be refused
        probed = [_apply(before._build(iter(probes)), one, iter(own)) for one in (call, as_given)]
        found = _compare(rows, probed, every, probes, limits or (before.low, before.high))
    if _count >= MOST_SHAPES:
        _forget()
    _count += 1
    return before.shape.next.setdefault(key, found)


def _compare(
    rows: models.QuerySet[Any],
    probed: Sequence[models.QuerySet[Any]],
    values: Sequence[Any],
    probes: Sequence[Any],
    limits: tuple[int, int | None],
) -> Shape | bool:
    """Return the shape of the query made with values, if the one made with probes has the same."""
    structure = structure_of(rows.query)
    others = [structure_of(one.query) for one in probed]
    if structure is None or structure.values[0] != limits:
        return False
    places = {id(one): place for place, one in enumerate(probes)}
    sources: list[tuple[int, Any]] | None = None
    for other in others:
        if other is None or other.shape != structure.shape:
            return False
        pairs = zip(structure.values[1:], other.values[1:], strict=True)
        found = [(places.get(id(probe), -1), real) for real, probe in pairs]
        for (place, real), probe in zip(found, other.values[1:], strict=True):
            is_same = real is values[place] if place >= 0 else _is_equal(real, probe)
            if not is_same:
                return False
        if {place for place, _ in found if place >= 0} != {*range(len(probes))}:
            return False
        if sources is not None and [place for place, _ in found] != [one for one, _ in sources]:
            return False
        sources = found
    # Of those with probes, for nobody else's values are to be kept here.
    return Shape(structure.shape, tuple(sources or ()), probed[0])


def _is_equal(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _probe(kind: type, number: int) -> Any:
    if kind is int:
        return FIRST_PROBE + number
    return str(FIRST_PROBE + number) + "?" if kind is str else UUID(int=FIRST_PROBE + number)
