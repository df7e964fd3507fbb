"""`cached()`: what Django gives, from the server, and never older than what is committed."""

from __future__ import annotations

import copy
import datetime
import pickle
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, models, transaction
from django.db.models import (
    Avg,
    Count,
    Exists,
    F,
    Func,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    Window,
)
from django.db.models.functions import (
    Concat,
    ExtractYear,
    Lower,
    Now,
    Random,
    RowNumber,
    TruncMonth,
)
from django.test import override_settings

from redisdict import CachedQuerySet, ComputedDict, NotCacheable, cache_results_of
from redisdict.exceptions import BackendUnavailable
from redisdict.modelcache.results import in_tasks
from redisdict.modelcache.results.queries import name_of
from redisdict.modelcache.results.space import ResultSpace
from redisdict.modelcache.stats import MOST_HITS
from tests.codec.models import EveryField
from tests.modelcache.counting import queries
from tests.modelcache.test_computed_dict import CHANGES, elsewhere
from tests.shop.models import Book, Category, Place, Point, Price, Product, Tag

Rows = models.QuerySet[Any]


@pytest.fixture
def shop(server: str, database: str) -> str:
    """The alias of a database with some products, whose results may be kept."""
    drinks, food = (Category.objects.create(name=name) for name in ("Drinks", "Food"))
    made_at = datetime.datetime(2026, 5, 4, 3, 2, 1, 123, datetime.UTC)
    tea = Product.objects.create(
        name="Tea", category=drinks, slug="tea", price=Decimal("2.50"), created_at=made_at
    )
    Product.objects.create(name="Coffee", category=drinks, stock=3, sku=UUID(int=5), rating=4.5)
    Product.objects.create(name="Bread", category=food, released_on=made_at.date())
    Product.objects.create(name="Nothing")
    tea.tags.add(*(Tag.objects.create(name=name) for name in ("hot", "green")))
    Book.objects.create(name="Leaves", category=drinks, pages=3)
    Price.objects.create(product=tea, currency="EUR", amount=2)
    Place.objects.create(name="here", at=Point(1, 2), facts={"a": [1]}, seal=b"\x00\xff")
    cache_results_of(Product, Category, Tag, Book, Price, Place)  # which makes changes dearer
    return database


def products() -> Any:
    return Product.objects.order_by("name")


#: What is asked, by queries that begin with the manager's.
QUERIES: list[Callable[[Any], Any]] = [
    lambda rows: list(rows),
    lambda rows: list(rows.filter(category__name="Drinks")),
    lambda rows: list(rows.exclude(category__name="Drinks")),
    lambda rows: list(rows.select_related("category")),
    lambda rows: list(rows.prefetch_related("tags", "prices")),
    lambda rows: list(rows.prefetch_related(Prefetch("tags", Tag.objects.filter(name="hot")))),
    lambda rows: list(rows.defer("description")),
    lambda rows: list(rows.only("name", "category__name").select_related("category")),
    lambda rows: list(rows.values()),
    lambda rows: list(rows.values("name", "category__name")),
    lambda rows: list(rows.values_list("name", "price")),
    lambda rows: list(rows.values_list("name", flat=True)),
    lambda rows: list(rows.values_list("name", "stock", named=True)),
    lambda rows: list(rows[1:3]),
    lambda rows: rows[1],
    lambda rows: rows.get(slug="tea"),
    lambda rows: rows.first(),
    lambda rows: rows.last(),
    lambda rows: rows.filter(name="none").first(),
    lambda rows: rows.latest("pk"),
    lambda rows: rows.exists(),
    lambda rows: rows.filter(name="none").exists(),
    lambda rows: rows.count(),
    lambda rows: rows[:2].count(),
    lambda rows: rows.aggregate(Sum("stock"), average=Avg("price"), number=Count("tags")),
    lambda rows: rows.in_bulk(),
    lambda rows: rows.in_bulk(["tea"], field_name="slug"),
    lambda rows: list(rows.none()),
    lambda rows: list(rows.filter(pk__in=[])),
    lambda rows: list(rows.annotate(number=Count("tags")).filter(number__gt=0)),
    lambda rows: list(rows.annotate(low=Lower("name"), full=Concat("name", Value("!")))),
    lambda rows: list(rows.annotate(year=ExtractYear("created_at")).values_list("year")),
    lambda rows: list(rows.values("category").annotate(total=Sum("price")).order_by("category")),
    lambda rows: list(rows.annotate(place=Window(RowNumber(), order_by="name")).values("place")),
    lambda rows: list(rows.filter(Exists(Price.objects.filter(product=OuterRef("pk"))))),
    lambda rows: list(rows.filter(category__in=Category.objects.filter(name="Food"))),
    lambda rows: list(
        rows.annotate(
            tag=Subquery(
                Tag.objects.filter(product=OuterRef("pk")).order_by("pk").values("name")[:1]
            )
        )
    ),
    lambda rows: list(rows.filter(Q(name="Tea") | Q(stock__gt=F("price")))),
    lambda rows: list(rows.values("category__name").distinct().order_by("category__name")),
    lambda rows: list(rows.datetimes("created_at", "month")),
    lambda rows: list(rows.dates("released_on", "year")),
    lambda rows: list(rows.annotate(month=TruncMonth("created_at"))),
    lambda rows: list(rows.filter(tags__name="hot").alias(some=F("stock"))),
    lambda rows: list(rows.order_by().union(Product.objects.filter(stock=3)).order_by("name")),
    lambda rows: rows.order_by().filter(stock=3).union(Product.objects.filter(stock=0)).count(),
    lambda rows: list(rows.filter(pk__in=Place.objects.filter(facts={"a": [1]}).values("pk"))),
    lambda rows: rows.contains(Product.objects.get(slug="tea")),
]


def _described(got: Any, within: tuple[int, ...] = ()) -> Any:
    """What can be compared of anything that a queryset gives."""

    def described(value: Any) -> Any:
        return "itself" if id(value) in within else _described(value, (*within, id(got)))

    if isinstance(got, models.Model):
        state = {name: described(value) for name, value in vars(got).items() if name != "_state"}
        joined = {name: described(value) for name, value in got._state.fields_cache.items()}
        return type(got), got._state.db, got._state.adding, state, joined
    if isinstance(got, dict):
        return {key: described(value) for key, value in got.items()}
    if isinstance(got, list | models.QuerySet):
        return [described(one) for one in got]
    return type(got), got


@pytest.mark.parametrize("ask", QUERIES, ids=range(len(QUERIES)))
def test_a_hit_is_what_django_gives(shop: str, ask: Callable[[Any], Any]) -> None:
    plain = _described(ask(products()))
    assert _described(ask(products().cached())) == plain  # a miss
    with queries(shop) as asked:
        hit = ask(products().cached())
    allowed = 1 if ask is QUERIES[-1] else 0  # its own argument
    assert len(asked) == allowed, asked.captured_queries
    assert _described(hit) == plain


def test_the_rest_of_a_chain_is_cached_too(shop: str) -> None:
    rows = Product.objects.cached().filter(stock=3)
    assert [one.name for one in rows.order_by("name")] == ["Coffee"]
    with queries(shop) as asked:
        assert [one.name for one in rows.order_by("name")] == ["Coffee"]
        assert rows.all().order_by("name")[0].name == "Coffee"
    assert len(asked) == 1  # LIMIT 1 is another query


@CHANGES
def test_any_change_is_seen(server: str, database: str, way: Callable[[], None]) -> None:
    cache_results_of(Product, Category, Tag)
    Product.objects.create(name="Tea", category=Category.objects.create(name="Drinks"), slug="tea")

    def read(*, is_cached: bool) -> Any:
        rows = Product.objects.order_by("name", "pk")
        rows = rows.cached() if is_cached else rows
        joined = rows.select_related("category").prefetch_related("tags")
        return [
            [
                (row.name, row.category and row.category.name, list(row.tags.all()))
                for row in joined
            ],
            rows.filter(category__name="Drinks").count(),
            rows.aggregate(Count("tags")),
        ]

    assert read(is_cached=True) == read(is_cached=True)
    way()
    assert read(is_cached=True) == read(is_cached=False)
    with transaction.atomic(using=database):
        Product.objects.create(name="Water")
        assert read(is_cached=True) == read(is_cached=False)
    assert read(is_cached=True) == read(is_cached=False)


def test_what_a_transaction_has_changed_others_see_at_its_commit(shop: str) -> None:
    def count() -> int:
        return Product.objects.filter(stock=3).cached().count()

    assert count() == 1
    with transaction.atomic(using=shop):
        Product.objects.update(stock=3)
        assert count() == 5
        assert elsewhere(count) == 1
    assert count() == 5


def test_values_of_every_field(server: str, database: str) -> None:
    cache_results_of(EveryField, Place)
    Place.objects.create(name="here", at=Point(1, 2), facts={"a": [1]}, seal=b"\x00\xff")
    for _ in range(2):
        [place] = CachedQuerySet(Place).cached()
        assert (place.at, place.facts, bytes(place.seal)) == (Point(1, 2), {"a": [1]}, b"\x00\xff")
        assert place.name_in_capitals == "HERE"


class _Own(Func):
    function = "lower"


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda rows: list(rows.annotate(now=Now())), r"it asks for Now\(\)"),
    (lambda rows: list(rows.filter(created_at__lt=Now())), r"it asks for Now\(\)"),
    (lambda rows: list(rows.order_by("?")), r"RANDOM|RAND|Random"),
    (lambda rows: list(rows.order_by(Random())), r"it asks for Random\(\)"),
    (lambda rows: list(rows.extra(where=["1 = 1"])), "SQL of its own"),
    (lambda rows: list(rows.extra(select={"one": "1"})), r"by extra\(\)"),
    (
        lambda rows: list(rows.annotate(one=models.expressions.RawSQL("1", ()))),
        "SQL of its own, which may call anything",
    ),
    (lambda rows: list(rows.select_for_update()), r"by select_for_update\(\)"),
    (lambda rows: list(rows.annotate(one=_Own("name"))), "_Own, whose effect is unknown"),
    (lambda rows: list(rows.annotate(one=Func("name", function="lower"))), "it calls lower, whose"),
    (lambda rows: rows.filter(stock__lt=Func(function="random")).count(), "it calls random, whose"),
    (
        lambda rows: list(
            rows.filter(pk__in=Product.objects.filter(created_at__lt=Now()).values("pk"))
        ),
        r"it asks for Now\(\)",
    ),
    (
        lambda rows: list(rows.order_by().union(Product.objects.filter(created_at__lt=Now()))),
        r"it asks for Now\(\)",
    ),
    (
        lambda rows: list(rows.prefetch_related(Prefetch("tags", Tag.objects.order_by("?")))),
        r"RANDOM|RAND|Random",
    ),
]


@pytest.mark.parametrize(("ask", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_function_of_its_tables_is_refused(
    shop: str, ask: Callable[[Any], Any], reason: str
) -> None:
    if ask is REFUSED[7][0] and connections[shop].vendor == "sqlite":
        pytest.skip("Django leaves the lock out on SQLite, and refuses nothing.")
    for _ in range(2):
        with transaction.atomic(using=shop), pytest.raises(NotCacheable, match=reason):
            ask(Product.objects.cached())


def test_a_table_of_which_nobody_tells_is_refused(server: str, database: str) -> None:
    cache_results_of(Product)
    assert Product.objects.cached().count() == 0
    reason = r"it reads shop\.Category, whose changes aren't announced: call cache_results_of\("
    with pytest.raises(NotCacheable, match=reason):
        Product.objects.filter(category__name="Drinks").cached().count()


def test_a_parameter_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(NotCacheable, match="a parameter can't be written: "):
        name_of("SELECT %s", [object()], "multi", "UTC")


def test_a_queryset_can_be_pickled(shop: str) -> None:
    rows = pickle.loads(pickle.dumps(Product.objects.order_by("name").cached()))
    assert [row.name for row in rows] == ["Bread", "Coffee", "Leaves", "Nothing", "Tea"]
    with queries(shop) as asked:
        assert copy.deepcopy(Product.objects.cached()).exists()
        assert Product.objects.cached().exists()
    assert len(asked) == 1


def test_parameters_make_other_queries(shop: str) -> None:
    def names(**chosen: Any) -> list[str]:
        return list(Product.objects.filter(**chosen).cached().values_list("name", flat=True))

    for _ in range(2):
        assert names(name="Tea") == ["Tea"]
        assert names(name="Coffee") == ["Coffee"]
        assert names(price=Decimal("2.50")) == ["Tea"]
        assert names(sku=UUID(int=5)) == ["Coffee"]


def test_an_iterator_asks_the_database(shop: str) -> None:
    for _ in range(2):
        with queries(shop) as asked:
            assert len(list(Product.objects.cached().iterator())) == 5
        assert len(asked) == 1


def test_coroutines(shop: str) -> None:
    async def read() -> list[Any]:
        rows = Product.objects.order_by("name").cached()
        return [
            [row.name async for row in rows],
            await rows.acount(),
            (await rows.aget(slug="tea")).name,
            await rows.aexists(),
            (await rows.afirst()).name,
            await rows.aaggregate(Sum("stock")),
        ]

    async def block() -> None:
        list(Product.objects.cached())

    first = async_to_sync(read)()
    with queries(shop) as asked:
        assert async_to_sync(read)() == first
    assert len(asked) == 0
    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(block)()


#: What is asked in coroutines.
ASKED: list[Callable[[Any], Any]] = [
    lambda rows: rows.acount(),
    lambda rows: rows.aexists(),
    lambda rows: rows.aget(slug="tea"),
    lambda rows: rows.afirst(),
    lambda rows: rows.alast(),
    lambda rows: rows.aaggregate(Sum("stock")),
    lambda rows: rows.ain_bulk(),
    lambda rows: rows.acontains(Product(pk=1)),
    lambda rows: rows.aearliest("pk"),
    lambda rows: rows.alatest("pk"),
    lambda rows: _rows(rows),
    lambda rows: _rows(rows.select_related("category")[1:3]),
    lambda rows: _rows(rows.prefetch_related("prices")),
    lambda rows: _rows(rows.values("name", "price")),
]


async def _rows(rows: Any) -> list[Any]:
    return [row async for row in rows]


@pytest.mark.parametrize("ask", ASKED, ids=range(len(ASKED)))
def test_coroutines_take_hits_without_a_thread(
    shop: str, ask: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asking(rows: Any) -> Any:
        return await ask(rows)

    plain = _described(async_to_sync(asking)(products()))
    for _ in range(2):
        assert _described(async_to_sync(asking)(products().cached())) == plain
    monkeypatch.setattr(in_tasks, "sync_to_async", _refuse)
    assert _described(async_to_sync(asking)(products().cached())) == plain


def _refuse(*_: Any) -> Any:
    raise AssertionError("a hit needs no thread")


def test_coroutines_ask_the_database_in_a_thread(
    shop: str, monkeypatch: pytest.MonkeyPatch, alias_for: Callable[..., dict[str, Any]]
) -> None:
    def names() -> list[str]:
        return [row.name for row in async_to_sync(_rows)(products().cached())]

    first = names()
    Product.objects.create(name="Water")
    assert names() == [*first, "Water"]
    with transaction.atomic(using=shop):
        Product.objects.filter(name="Water").delete()
        assert names() == first
    listener = models.signals.post_init.connect(_listen, sender=Product)
    assert listener is None
    assert names() == first
    models.signals.post_init.disconnect(_listen, sender=Product)
    monkeypatch.setattr("redisdict.modelcache.cached_models.CachedModel.known_table", _know_nothing)
    assert names() == first
    monkeypatch.setattr(in_tasks, "MOST_QUESTIONS", 0)
    assert names() == first
    with override_settings(REDISDICT={"default": alias_for("redis://127.0.0.1:1/0")}):
        monkeypatch.undo()
        assert names() == first
        assert names() == first


def test_a_hit_of_which_django_makes_the_instances_is_read_once(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = products().cached().prefetch_related("tags").order_by("name")
    models.signals.post_init.connect(_listen, sender=Product)
    try:
        made = [_described(list(rows.all())) for _ in range(3)]
        read: list[bytes] = []
        peek = ResultSpace.peek

        def noted(space: ResultSpace, key: bytes) -> Any:
            read.append(key)
            return peek(space, key)

        monkeypatch.setattr(ResultSpace, "peek", noted)
        with queries(shop) as asked:
            made.append(_described(list(rows.all())))
    finally:
        models.signals.post_init.disconnect(_listen, sender=Product)
    assert made == [made[0]] * 4
    assert len(asked) == 0
    assert len(read) == len(set(read)) > 0  # its own rows, and those of the prefetch


def _listen(**_: Any) -> None:
    """A receiver of signals of new instances."""


def _know_nothing(*_: Any) -> None:
    """No table is known without a look at a connection."""


def test_counts_are_pushed_after_many_hits(shop: str) -> None:
    """Until then a hit is only counted in the process; the read that pushes is a hit, too."""
    assert Product.objects.cached().count() == 5
    [space] = [
        one for one in Product.objects.cached()._queries._spaces.values() if len(one.tables) == 1
    ]
    space._counters.hits = MOST_HITS - 1
    with queries(shop) as asked:
        assert Product.objects.cached().count() == 5
        assert space._counters.hits == 0
        assert Product.objects.cached().count() == 5
        assert space._counters.hits == 1
    assert len(asked) == 0
    assert Product.objects.cached().result_stats().hits == MOST_HITS + 1


def test_within_a_computed_dict_its_tables_count(shop: str, caplog: Any) -> None:
    counts = ComputedDict(
        "counts", depends_on=[Tag], compute=lambda: Product.objects.cached().count()
    )
    assert Product.objects.cached().count() == 5
    assert counts.get() == 5
    Product.objects.create(name="Water")
    assert counts.get() == 6
    assert "it reads shop.Product too; add that to depends_on." in caplog.text


def test_without_the_server(shop: str, alias_for: Callable[..., dict[str, Any]]) -> None:
    with override_settings(REDISDICT={"default": alias_for("redis://127.0.0.1:1/0")}):
        assert Product.objects.cached().count() == 5
        with pytest.raises(BackendUnavailable):
            Product.objects.cached(serve_when_down=False).count()


def test_readers_at_once_ask_once(shop: str) -> None:
    asked: list[Any] = []
    may_end = threading.Event()

    def wait(execute: Any, *arguments: Any) -> Any:
        asked.append(arguments[0])
        assert may_end.wait(60)
        return execute(*arguments)

    got: list[int] = []

    def read() -> None:
        try:
            with connections[shop].execute_wrapper(wait):
                got.append(Product.objects.cached(lease_timeout=100).count())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert got == [5] * 4
    assert len(asked) == 1


def test_what_is_known_by_its_sql_goes_with_any_of_its_tables(shop: str) -> None:
    """Unions, and the many-to-many queries of `prefetch_related()`, are compiled, and kept."""

    def union() -> list[str]:
        names = CachedQuerySet(Product).using(shop).cached().order_by().values_list("name")
        both = names.filter(slug="tea").union(Category.objects.using(shop).values_list("name"))
        return sorted(name for (name,) in both)

    def tags() -> list[str]:
        rows = CachedQuerySet(Product).using(shop).cached().filter(slug="tea")
        return [tag.name for row in rows.prefetch_related("tags") for tag in row.tags.all()]

    def is_kept(ask: Callable[[], Any]) -> bool:
        with queries(shop) as asked:
            ask()
        return not asked

    tea = Product.objects.get(slug="tea")
    for ask, changes in (
        (
            union,
            [
                lambda: Product.objects.filter(slug="tea").update(stock=1),
                lambda: Category.objects.create(name="More"),
            ],
        ),
        (
            tags,
            [
                lambda: Tag.objects.filter(name="hot").update(name="warm"),
                lambda: tea.tags.remove(Tag.objects.get(name="warm")),
                lambda: tea.tags.add(Tag.objects.create(name="black")),
            ],
        ),
    ):
        ask()
        assert is_kept(ask)
        for change in changes:
            change()
            assert not is_kept(ask)
            assert is_kept(ask)
    assert union() == ["Drinks", "Food", "More", "Tea"]
    assert sorted(tags()) == ["black", "green"]
