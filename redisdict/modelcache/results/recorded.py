"""Record the calls of a queryset, and build a query from them on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models.query import MAX_GET_RESULTS
from django.db.models.query import QuerySet as DjangoQuerySet

from redisdict.modelcache.results.chains import Chain, chain_of

M = TypeVar("M", bound=models.Model)

#: Methods by which Django makes one queryset of another; who has one of his own gets it called.
INNER = (
    "_chain",
    "_check_ordering_first_last_queryset_aggregation",
    "_clone",
    "_filter_or_exclude",
    "_filter_or_exclude_inplace",
    "_not_support_combined_queries",
    "_values",
    "query",
)


class _NoQuery:
    """Stands for a query that isn't made."""


_NO_QUERY: Any = _NoQuery()


class RecordedQuerySet(models.QuerySet[M]):
    """Django's queryset, with its calls noted as long as they are of shapes that are known.

    Each of its queries is one that Django's own methods make, sooner or later.
    """

    #: The calls that make the query; None when it is made.
    _calls: Chain | None = None
    #: What executes the queries, and what is made of this one is executed so, too.
    _queries: Any = None
    _is_plain = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._is_plain = all(getattr(cls, name) is getattr(RecordedQuerySet, name) for name in INNER)

    def __init__(
        self,
        model: type[M] | None = None,
        query: Any = None,
        using: str | None = None,
        hints: Any = None,
    ) -> None:
        self._queries = None
        self._calls = calls = (
            chain_of(model) if model is not None and query is None and self._is_plain else None
        )
        super().__init__(model, query if calls is None else _NO_QUERY, using, hints)

    @property
    def query(self) -> Any:
        """The query, built if it isn't yet; the caller may change it."""
        calls = self._calls
        if calls is not None:
            self._query = calls.build().query
            self._calls = None
        return _django_query.fget(self)

    @query.setter
    def query(self, value: Any) -> None:
        self._calls = None
        _django_query.fset(self, value)

    def __getstate__(self) -> Any:
        self.query  # noqa: B018  # makes it
        return super().__getstate__()

    def __deepcopy__(self, memo: Any) -> Self:
        self.query  # noqa: B018  # makes it
        copied: Self = super().__deepcopy__(memo)
        return copied

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]  # the stubs lack it
        clone._queries = self._queries
        return clone

    def _is_noted(self) -> bool:
        """Whether the queryset allows that a further call is recorded."""
        held: Any = self
        return (
            self._calls is not None
            and not (held._sticky_filter or held._defer_next_filter or held._deferred_filter)
            and len(self.__dict__) == ATTRIBUTES
        )

    def _copy(self, calls: Chain) -> Self:
        """Clone the queryset, with these calls."""
        copied: Self = object.__new__(type(self))
        held = self.__dict__.copy()
        held["_calls"] = calls
        held["_query"] = _NO_QUERY
        held["_result_cache"] = None
        held["_prefetch_done"] = False
        copied.__dict__ = held
        return copied

    def _copy_of(self, method: str, names: Sequence[Any], **options: bool) -> Self | None:
        """Note a further call with names; None where Django has to make it."""
        if not self._is_noted():
            return None
        calls = self._calls.then(method, names, **options)  # type: ignore[union-attr]  # it is noted
        return None if calls is None else self._copy(calls)

    def all(self) -> Self:
        """As Django's."""
        return self._copy(self._calls) if self._calls and self._is_noted() else super().all()

    def using(self, alias: str | None) -> Self:
        """As Django's."""
        if self._calls is None or not self._is_noted():
            return super().using(alias)
        copied: Any = self._copy(self._calls)
        copied._db = alias
        same: Self = copied
        return same

    def filter(self, *args: Any, **kwargs: Any) -> Self:
        """As Django's."""
        if self._calls is not None and self._is_noted():
            calls = self._calls.filter("filter", args, kwargs)
            if calls is not None:
                return self._copy(calls)
        return super().filter(*args, **kwargs)

    def exclude(self, *args: Any, **kwargs: Any) -> Self:
        """As Django's."""
        if self._calls is not None and self._is_noted():
            calls = self._calls.filter("exclude", args, kwargs)
            if calls is not None:
                return self._copy(calls)
        return super().exclude(*args, **kwargs)

    def order_by(self, *field_names: Any) -> Self:
        """As Django's."""
        noted = self._copy_of("order_by", field_names)
        return super().order_by(*field_names) if noted is None else noted

    def reverse(self) -> Self:
        """As Django's."""
        noted = self._copy_of("reverse", ())
        return super().reverse() if noted is None else noted

    def distinct(self, *field_names: Any) -> Self:
        """As Django's."""
        noted = None if field_names else self._copy_of("distinct", ())
        return super().distinct(*field_names) if noted is None else noted

    def only(self, *fields: Any) -> Self:
        """As Django's."""
        noted = None if self._fields is not None else self._copy_of("only", fields)
        return super().only(*fields) if noted is None else noted

    def defer(self, *fields: Any) -> Self:
        """As Django's."""
        noted = None if self._fields is not None else self._copy_of("defer", fields)
        return super().defer(*fields) if noted is None else noted

    def values(self, *fields: Any, **expressions: Any) -> Any:
        """As Django's."""
        noted = None if expressions else self._copy_of("values", fields)
        return super().values(*fields, **expressions) if noted is None else noted._of_values()

    def values_list(self, *fields: Any, flat: bool = False, named: bool = False) -> Any:
        """As Django's."""
        is_plain = type(flat) is bool and type(named) is bool
        noted = self._copy_of("values_list", fields, flat=flat, named=named) if is_plain else None
        if noted is None:
            return super().values_list(*fields, flat=flat, named=named)
        return noted._of_values()

    def _of_values(self) -> Self:
        """Give the results of `values()` or `values_list()`, the call recorded last."""
        assert self._calls is not None  # it is noted
        made: Any = self._calls.shape.rows
        self._fields, self._iterable_class = made._fields, made._iterable_class
        return self

    def prefetch_related(self, *lookups: Any) -> Self:
        """As Django's."""
        is_named = all(type(one) is str for one in lookups)
        if self._calls is None or not is_named or not self._is_noted():
            return super().prefetch_related(*lookups)
        held: Any = self
        copied: Any = self._copy(self._calls)
        copied._prefetch_related_lookups = held._prefetch_related_lookups + lookups
        same: Self = copied
        return same

    def select_related(self, *fields: Any) -> Self:
        """As Django's."""
        noted = None if self._fields is not None else self._copy_of("select_related", fields)
        return super().select_related(*fields) if noted is None else noted

    def __getitem__(self, k: Any) -> Any:
        if (
            type(k) is slice
            and k.step is None
            and self._calls is not None
            and self._result_cache is None
            and self._is_noted()
        ):
            calls = self._calls.slice(k.start, k.stop)
            if calls is not None:
                return self._copy(calls)
        return super().__getitem__(k)

    def get(self, *args: Any, **kwargs: Any) -> M:
        """As Django's."""
        if self._queries is not None and self._calls and not self._calls.shape.is_sliced:
            found = self.filter(*args, **kwargs).order_by()[:MAX_GET_RESULTS]
            rows: list[M] = list(found)
            if len(rows) == 1:
                return rows[0]
            if not rows:
                model: Any = self.model
                name = model._meta.object_name
                raise model.DoesNotExist(f"{name} matching query does not exist.")
        return super().get(*args, **kwargs)  # which says how many there are

    @property
    def ordered(self) -> bool:
        """As Django's."""
        calls = self._calls
        return super().ordered if calls is None else calls.shape.is_ordered

    def _check_ordering_first_last_queryset_aggregation(self, method: str) -> None:
        if self._calls is None:
            super()._check_ordering_first_last_queryset_aggregation(method)  # type: ignore[misc]  # the stubs lack it

    def _not_support_combined_queries(self, operation_name: str) -> None:
        if self._calls is None:
            super()._not_support_combined_queries(operation_name)  # type: ignore[misc]  # the stubs lack it


_django_query: Any = vars(DjangoQuerySet)["query"]

#: So many a queryset has; one with more was given some by somebody, who may want them copied.
ATTRIBUTES = len(vars(models.QuerySet())) + 2
