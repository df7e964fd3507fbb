"""Queries known by the calls that make them: each is what Django makes of the same calls."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import django
import pytest
from django.core.exceptions import (
    EmptyResultSet,
    FieldError,
    MultipleObjectsReturned,
    ObjectDoesNotExist,
    ValidationError,
)
from django.db import NotSupportedError, models
from django.db.models import Count, Exists, F, Q
from django.db.models.functions import Lower
from django.test.utils import register_lookup
from django.utils.safestring import SafeString

from redisdict import CachedQuerySet, cache_results_of
from redisdict.modelcache.results import chains
from redisdict.modelcache.results.structure import structure_of
from tests.modelcache.counting import queries
from tests.shop.models import Category, Place, Point, Price, Product, Tag
from tests.shop.relations import Shelf, Slot

Make = Callable[[Any, int], Any]

#: Calls with a value, of shapes that are noted.
NOTED: list[Make] = [
    lambda rows, _: rows,
    lambda rows, n: rows.filter(stock=n),
    lambda rows, n: rows.filter(stock=n, name=f"a{n}", is_active=True, slug=None),
    lambda rows, n: rows.filter(stock=n).filter(stock=n),
    lambda rows, n: rows.filter(stock=n).exclude(stock=n + 1),
    lambda rows, n: rows.exclude(name=f"a{n}", stock__gt=n),
    lambda rows, n: rows.filter(name=""),
    lambda rows, n: rows.filter(name__icontains=f"a{n}"),
    lambda rows, n: rows.filter(sku=UUID(int=n)),
    lambda rows, n: rows.filter(pk=n),
    lambda rows, n: rows.filter(pk__in=[n, n + 1, n]),
    lambda rows, n: rows.filter(stock__range=(n, n + 1)),
    lambda rows, n: rows.filter(stock__in=(n,)),
    lambda rows, n: rows.filter(pk__in=[]),
    lambda rows, n: rows.filter(created_at__year=n),
    lambda rows, n: rows.filter(Q(stock=n) | Q(stock=n + 1), ~Q(name=f"a{n}"), slug=f"a{n}"),
    lambda rows, n: rows.exclude(Q(tags__pk=n) ^ Q(Q(tags__name=""), category=Category(pk=n))),
    lambda rows, n: rows.filter(Q(), stock=n).filter(Q(pk__in=[n, n + 1], is_active=True)),
    lambda rows, n: rows.filter(category=n),
    lambda rows, n: rows.filter(category=Category(pk=n)),
    lambda rows, n: rows.filter(category__name=f"a{n}", category__pk=n),
    lambda rows, n: rows.filter(category__isnull=False),
    lambda rows, n: rows.filter(tags__name=f"a{n}").filter(tags__pk=n),
    lambda rows, n: rows.filter(tags__name=f"a{n}", tags__pk=n),
    lambda rows, n: rows.exclude(tags__name=f"a{n}"),
    lambda rows, n: rows.filter(prices__amount=n).order_by("prices__amount", "-name"),
    lambda rows, n: rows.filter(stock=n).order_by("category__name")[n : n + 5],
    lambda rows, n: rows.order_by("name").reverse()[n:],
    lambda rows, n: rows.order_by("pk")[: n + 1],
    lambda rows, n: rows[: n + 10][n : n + 3],
    lambda rows, n: rows[n:][: n + 3][:1],
    lambda rows, n: rows[n : n + 3][1:10],
    lambda rows, n: rows.select_related("category").filter(stock=n),
    lambda rows, n: rows.select_related().filter(stock=n),
    lambda rows, n: rows.only("name").filter(stock=n),
    lambda rows, n: rows.defer("name").filter(stock=n).defer("description"),
    lambda rows, n: rows.distinct().filter(tags__pk=n),
    lambda rows, n: rows.values("name", "category__name").filter(stock=n),
    lambda rows, n: rows.filter(stock=n).values(),
    lambda rows, n: rows.filter(stock=n).values_list(),
    lambda rows, n: rows.values_list("name", "name").filter(stock=n),
    lambda rows, n: rows.values_list("name", flat=True).filter(stock=n).distinct(),
    lambda rows, n: rows.values_list("name", named=True).filter(stock=n).values("stock"),
    lambda rows, n: rows.filter(stock=n).all().using("default").order_by(),
]

#: Calls of which Django makes the query at once.
OTHERS: list[Make] = [
    lambda rows, n: rows.filter(Q(stock=n) | Q(stock__gt=F("rating"))),
    lambda rows, n: rows.filter(Q(stock=n) & Exists(Price.objects.filter(amount=n))),
    lambda rows, n: rows.filter(Exists(Price.objects.filter(amount=n))),
    lambda rows, n: rows.filter(stock__gt=F("rating")),
    lambda rows, n: rows.filter(stock=str(n)),
    lambda rows, n: rows.filter(name=n),
    lambda rows, n: rows.filter(rating=n),
    lambda rows, n: rows.filter(stock=n + 0.5),
    lambda rows, n: rows.filter(name=SafeString(f"a{n}")),
    lambda rows, n: rows.filter(is_active=n % 2),
    lambda rows, n: rows.filter(pk__in=[*range(chains.MOST_LISTED + 1)]),
    lambda rows, n: rows.filter(pk__in={n}),
    lambda rows, n: rows.filter(category__in=Category.objects.filter(pk=n)),
    lambda rows, n: rows.order_by(F("stock").desc()),
    lambda rows, n: rows.order_by(Lower("name")),
    lambda rows, n: rows.annotate(number=Count("tags")).filter(number=n),
    lambda rows, n: rows.values("name", low=Lower("name")).filter(stock=n),
    lambda rows, n: rows.values_list(Lower("name")).filter(stock=n),
    lambda rows, n: rows.union(rows.filter(stock=n)),
    lambda rows, n: rows.none(),
    lambda rows, n: rows[n:n],
    lambda rows, n: rows.filter(stock=n) | rows.filter(stock=n + 1),
    lambda rows, n: rows.select_for_update().filter(stock=n),
    lambda rows, n: rows.extra(where=["1 = 1"]).filter(stock=n),
]


def products() -> Any:
    return CachedQuerySet(Product)


def plain() -> Any:
    return models.QuerySet(Product)


def sql_of(rows: Any) -> Any:
    try:
        return rows.query.get_compiler("default").as_sql()
    except EmptyResultSet:
        return None


@pytest.mark.filterwarnings("ignore:Calling select_related")  # without names, in Django 6.1
@pytest.mark.parametrize("make", NOTED, ids=range(len(NOTED)))
def test_calls_are_noted(make: Make) -> None:
    for number in (3, 1, 2, 1000):
        noted, expected = make(products(), number), make(plain(), number)
        calls = noted._calls
        assert calls is not None
        described, structure = calls.structure(), structure_of(expected.query)
        assert structure is not None
        assert described[:2] == structure[:2]
        assert [*map(type, described.values)] == [*map(type, structure.values)]
        assert noted.ordered == expected.ordered
        assert noted._fields == expected._fields
        assert noted._iterable_class is expected._iterable_class
        assert noted._calls is calls  # nothing has been made so far
        assert structure_of(noted.query) == structure
        assert noted._calls is None
        assert sql_of(noted) == sql_of(expected)


@pytest.mark.parametrize("make", OTHERS, ids=range(len(OTHERS)))
def test_other_calls_are_made_at_once(make: Make) -> None:
    for number in (3, 0, 1, 2, 1000):
        made = make(products(), number)
        assert made._calls is None
        assert sql_of(made) == sql_of(make(plain(), number))


#: Calls that fail, of shapes of which others don't, and otherwise.
FAILING: list[tuple[Callable[[Any], Any], type[Exception]]] = [
    (lambda rows: rows.filter(nothing=1), FieldError),
    (lambda rows: rows.filter(stock__nothing=1), FieldError),
    (lambda rows: rows.filter(stock="a"), ValueError),
    (lambda rows: rows.filter(is_active=7), ValidationError),
    (lambda rows: rows.filter(category=Category()), ValueError),
    (lambda rows: rows.filter(category=Tag(pk=1)), ValueError),
    (lambda rows: rows.order_by("nothing"), FieldError),
    (lambda rows: rows[:3].filter(stock=1), TypeError),
    (lambda rows: rows[:3].exclude(stock=1), TypeError),
    (lambda rows: rows[:3].order_by("name"), TypeError),
    (lambda rows: rows[:3].reverse(), TypeError),
    (lambda rows: rows[:3].distinct(), TypeError),
    (lambda rows: rows[-3:], ValueError),
    (lambda rows: rows[:-3], ValueError),
    (lambda rows: rows["a"], TypeError),
    (lambda rows: rows["a":], TypeError),
    (lambda rows: rows.values("name").select_related("category"), TypeError),
    (lambda rows: rows.values("name").only("name"), TypeError),
    (lambda rows: rows.values("name").defer("name"), TypeError),
    (lambda rows: rows.only(None), TypeError),
    (lambda rows: rows.values_list("name", "slug", flat=True), TypeError),
    (lambda rows: rows.values_list("name", flat=True, named=True), TypeError),
    (lambda rows: rows.values("nothing"), FieldError),
    (lambda rows: rows.union(rows).filter(stock=1), NotSupportedError),
]
if django.VERSION >= (5, 2, 8):
    FAILING.append((lambda rows: rows.filter(_connector="OR"), TypeError))


@pytest.mark.parametrize("number", range(len(FAILING)))
def test_a_call_raises_what_djangos_raises(number: int) -> None:
    call, kind = FAILING[number]
    for _ in range(2):
        with pytest.raises(kind) as expected:
            call(plain())
        with pytest.raises(kind) as raised:
            call(products())
        assert type(raised.value) is type(expected.value)
        assert str(raised.value) == str(expected.value)


def test_a_relation_by_another_field_than_the_primary_key() -> None:
    rows = CachedQuerySet(Slot)
    for number in (1, 2):
        assert sql_of(rows.filter(shelf=Shelf(pk=number, code=f"a{number}"))) == sql_of(
            models.QuerySet(Slot).filter(shelf=Shelf(pk=number, code=f"a{number}"))
        )
        same = Shelf(pk=number, code=str(number))  # its primary key looks like what is compared
        assert sql_of(rows.filter(shelf=same)) == sql_of(models.QuerySet(Slot).filter(shelf=same))


def test_an_instance_counts_as_it_was_when_it_was_given() -> None:
    category = Category(pk=1)
    products().filter(category=category)
    rows = products().filter(category=category)
    category.pk = 2
    assert sql_of(rows) == sql_of(plain().filter(category=1))


def test_a_list_counts_as_it_was_when_it_was_given() -> None:
    chosen = [1, 2]
    products().filter(pk__in=chosen)
    rows = products().filter(pk__in=chosen)
    chosen.append(3)
    assert sql_of(rows) == sql_of(plain().filter(pk__in=[1, 2]))


def test_a_queryset_is_not_changed_by_what_is_made_of_it() -> None:
    base = products().filter(stock=1)
    calls = base._calls
    others = [base.filter(name="a"), base.order_by("name"), base[:3], base.filter(stock=2)]
    assert base._calls is calls
    assert sql_of(base) == sql_of(plain().filter(stock=1))
    assert len({sql_of(one) for one in [base, *others]}) == 5
    base.query.add_q(Q(stock=3))
    assert sql_of(base.filter(name="a")) == sql_of(
        plain().filter(stock=1).filter(stock=3).filter(name="a")
    )


def test_a_query_that_is_set_takes_the_place_of_the_calls() -> None:
    rows = products().filter(stock=1)
    rows.query = plain().filter(stock=2).query
    assert sql_of(rows.filter(name="a")) == sql_of(plain().filter(stock=2).filter(name="a"))


def test_copies() -> None:
    rows = products().filter(stock=1)
    assert sql_of(copy.deepcopy(rows)) == sql_of(plain().filter(stock=1))


def test_pickles(shop: str) -> None:
    rows = products().filter(stock=3).order_by("name")
    again = pickle.loads(pickle.dumps(rows))
    assert [row.name for row in again] == ["Coffee"]
    assert sql_of(again) == sql_of(plain().filter(stock=3).order_by("name"))


def test_who_has_methods_of_his_own_has_them_called() -> None:
    class Counting(CachedQuerySet):  # type: ignore[type-arg]
        made = 0

        def _clone(self) -> Any:
            clone = super()._clone()
            clone.made = self.made + 1
            return clone

    class Filtering(CachedQuerySet):  # type: ignore[type-arg]
        def filter(self, *args: Any, **kwargs: Any) -> Any:
            return super().filter(*args, **kwargs).exclude(stock=0)

    counting: Any = Counting(Product)
    assert counting.filter(stock=1).order_by("name").made == 2
    filtering: Any = Filtering(Product).filter(stock=1)
    assert filtering._calls
    assert type(filtering) is Filtering
    assert sql_of(filtering) == sql_of(plain().filter(stock=1).exclude(stock=0))


def test_attributes_that_somebody_sets_are_treated_as_django_does() -> None:
    rows = products()
    rows.of_mine = 1
    made = rows.filter(stock=1)
    assert not hasattr(made, "of_mine")
    assert sql_of(made) == sql_of(plain().filter(stock=1))
    sticky = products()._next_is_sticky().filter(tags__pk=1).filter(tags__pk=2)
    expected: Any = plain()._next_is_sticky().filter(tags__pk=1).filter(tags__pk=2)
    assert sql_of(sticky) == sql_of(expected)


@contextmanager
def registered(owner: Any, lookup: Any, name: str) -> Iterator[None]:
    """Register a lookup of a class of fields, or of one field, for a while.

    Django's own way takes away at the end what the class had under that name before.
    """
    own = vars(owner).get("class_lookups", {}).get(name)
    try:
        with register_lookup(owner, lookup, lookup_name=name):
            yield
    finally:
        if own is not None:
            owner.register_lookup(own, name)


@pytest.mark.parametrize(
    "owner",
    [models.IntegerField, Product._meta.get_field("stock")],
    ids=["of a class", "of a field"],
)
def test_a_lookup_that_is_registered_later(owner: Any) -> None:
    class Other(models.lookups.Exact):
        def as_sql(self, *arguments: Any) -> Any:
            sql, params = super().as_sql(*arguments)
            return f"NOT {sql}", params

    held = products()
    before = held.filter(stock=1)
    assert before._calls
    with registered(owner, Other, "exact"):
        for rows in (products(), held):
            made = rows.filter(stock=1)
            assert made._calls is None  # nobody knows what a lookup does that isn't Django's
            assert sql_of(made) == sql_of(plain().filter(stock=1))
            assert "NOT" in sql_of(made)[0]
    for rows in (products(), held):
        assert "NOT" not in sql_of(rows.filter(stock=1))[0]


@pytest.mark.parametrize(
    "owner", [models.CharField, Product._meta.get_field("name")], ids=["of a class", "of a field"]
)
def test_a_transform_that_is_registered_later(owner: Any) -> None:
    """A lookup that is one of its own now is a transform then."""

    class Other(Lower):
        lookup_name = "startswith"

    before = products().filter(name__startswith="a")
    assert before._calls
    with registered(owner, Other, "startswith"):
        made = products().filter(name__startswith="a")
        assert made._calls is None
        assert sql_of(made) == sql_of(plain().filter(name__startswith="a"))
        assert "LOWER" in sql_of(made)[0]
    assert "LOWER" not in sql_of(products().filter(name__startswith="a"))[0]


def test_an_ordering_that_is_set_later(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not products().ordered
    monkeypatch.setattr(Product._meta, "ordering", ["name"])
    assert products().ordered
    assert structure_of(products().query) == products()._calls.structure()


def test_shapes_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "MOST_SHAPES", 3)
    begun = products()
    for name in ("stock", "pk", "name", "slug", "sku", "price"):
        rows = products().filter(**{name: None})
        assert sql_of(rows) == sql_of(plain().filter(**{name: None}))
    assert chains._count <= 3
    assert sql_of(begun.filter(stock=1)) == sql_of(plain().filter(stock=1))


def test_a_model_whose_queries_are_not_known() -> None:
    rows = CachedQuerySet(Place).filter(at=Point(1, 2))
    assert rows._calls is None
    assert sql_of(rows) == sql_of(models.QuerySet(Place).filter(at=Point(1, 2)))
    assert CachedQuerySet()._calls is None  # as deepcopy() makes it


@pytest.fixture
def shop(server: str, database: str) -> str:
    """The alias of a database with some products, whose results may be kept."""
    cache_results_of(Product, Category, Tag, Price)
    drinks = Category.objects.create(name="Drinks")
    for stock, name in enumerate(("Milk", "Tea", "Water", "Coffee")):
        Product.objects.create(name=name, category=drinks, stock=stock)
    return database


def test_a_hit_makes_no_query(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> list[Any]:
        rows = products().cached().filter(stock__gt=0).exclude(stock=2).order_by("-name")
        return [
            [(one.name, one.category.name) for one in rows.select_related("category")[:5]],
            rows.count(),
            rows.exists(),
            rows.first().name,
            rows.get(name="Tea").name,
            list(rows.filter(name="Beer")),
        ]

    expected = [[("Tea", "Drinks"), ("Coffee", "Drinks")], 2, True, "Tea", "Tea", []]
    assert ask() == expected
    assert ask() == expected
    built: list[Any] = []
    monkeypatch.setattr(chains.Chain, "build", lambda self: built.append(self))
    with queries(shop) as asked:
        assert ask() == expected
    assert built == []
    assert len(asked) == 0


def test_prefetched_rows(shop: str) -> None:
    tea = Product.objects.get(name="Tea")
    tea.tags.add(Tag.objects.create(name="hot"))
    for _ in range(2):
        rows = products().cached().order_by("name").prefetch_related("tags")
        assert rows._calls
        assert [[tag.name for tag in row.tags.all()] for row in rows] == [[], [], ["hot"], []]
    assert rows.prefetch_related(None)._prefetch_related_lookups == ()


def error_of(ask: Callable[[Any], Any], rows: Any) -> tuple[type[Exception], str]:
    with pytest.raises((ObjectDoesNotExist, MultipleObjectsReturned, TypeError)) as raised:
        ask(rows)
    return type(raised.value), str(raised.value)


def test_get_says_what_djangos_says(shop: str) -> None:
    for ask in (
        lambda rows: rows.get(name="Beer"),
        lambda rows: rows.get(stock__gt=1),
        lambda rows: rows.filter(stock__gt=1).get(),
        lambda rows: rows.filter(name="Tea")[:1].get(name="Tea"),
    ):
        for rows in (products(), products().cached(), products().cached()):
            assert error_of(ask, rows) == error_of(ask, plain())
    assert products().cached().filter(name="Tea")[:1].get().name == "Tea"
