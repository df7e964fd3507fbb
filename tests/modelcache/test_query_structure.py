"""Queries described by their structure: another for each text and parameters, or none."""

from __future__ import annotations

import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from django.db.models import Case, Count, Exists, F, OuterRef, Q, Subquery, Value, When, Window
from django.db.models.functions import Cast, Lower, RowNumber, TruncMonth
from django.test import override_settings
from django.utils import timezone
from django.utils.safestring import SafeString

from redisdict import cache_results_of
from redisdict.modelcache.results import field_names
from redisdict.modelcache.results.plans import QueryPlan, can_be_planned
from redisdict.modelcache.results.structure import structure_of, text_of
from tests.modelcache.counting import queries
from tests.shop.models import Book, Category, Place, Point, Price, Product, Tag


class Colour(models.TextChoices):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


def products() -> Any:
    return Product.objects.all()


#: Querysets of which no two ask the same.
DIFFERENT = [
    products(),
    products()[:1],
    products()[:2],
    products()[1:2],
    products().filter(stock=1),
    products().filter(stock=2),
    products().filter(rating=1),
    products().filter(rating=1.5),
    products().filter(is_active=True),
    products().filter(is_active=False),
    products().filter(stock__isnull=True),
    products().filter(stock__isnull=False),
    products().filter(stock__in=[1, 2]),
    products().filter(stock__in=[1, 3]),
    products().filter(stock__in=[1]),
    products().filter(stock__range=(1, 2)),
    products().exclude(stock=1),
    products().filter(~Q(stock=1) | Q(stock=2)),
    products().filter(~Q(stock=1), stock=2),
    products().filter(name="a"),
    products().filter(name__startswith="a"),
    products().filter(name__contains="a"),
    products().filter(name__iexact="a"),
    products().filter(slug="a"),
    products().filter(price=Decimal("1.5")),
    products().filter(created_at__year=2026),
    products().filter(created_at__gt=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
    products().filter(category__name="a"),
    products().filter(tags__name="a"),
    products().exclude(tags__name="a"),
    products().filter(stock__gt=F("price")),
    products().filter(stock__gt=F("price") + 1),
    products().filter(category__in=Category.objects.filter(name="a")),
    products().filter(category__in=Category.objects.filter(name="b")),
    products().filter(Exists(Price.objects.filter(product=OuterRef("pk")))),
    products().filter(~Exists(Price.objects.filter(product=OuterRef("pk")))),
    products().order_by("name"),
    products().order_by("-name"),
    products().order_by(F("name").desc()),
    products().order_by(F("name").desc(nulls_last=True)),
    products().order_by("name").reverse(),
    products().distinct(),
    products().select_related("category"),
    products().defer("name"),
    products().only("name"),
    products().values("name"),
    products().values("slug"),
    products().annotate(number=Count("tags")),
    products().annotate(number=Count("tags", distinct=True)),
    products().annotate(number=Count("tags")).filter(number__gt=1),
    products().annotate(other=Count("tags")),
    products().annotate(one=Value(1)),
    products().annotate(one=Value(2)),
    products().annotate(low=Lower("name")),
    products().annotate(low=Lower("slug")),
    products().annotate(text=Cast("stock", models.CharField(max_length=5))),
    products().annotate(text=Cast("stock", models.CharField(max_length=6))),
    products().annotate(month=TruncMonth("created_at")),
    products().annotate(place=Window(RowNumber(), order_by="name")),
    products().annotate(place=Window(RowNumber(), order_by="stock")),
    products().annotate(one=Case(When(stock=1, then=Value("a")), default=Value("b"))),
    products().annotate(one=Case(When(stock=2, then=Value("a")), default=Value("b"))),
    products().annotate(name_=Subquery(Tag.objects.values("name")[:1])),
    products().annotate(name_=Subquery(Tag.objects.values("name")[:2])),
    Book.objects.all(),
    Category.objects.all(),
    Category.objects.none(),
]


def test_no_two_queries_are_described_alike() -> None:
    described = [structure_of(rows.query) for rows in DIFFERENT]
    assert all(described)
    names: dict[Any, int] = {}
    for number, one in enumerate(described):
        assert one
        assert names.setdefault((text_of(one.shape), repr(one.values)), number) == number
    shapes = {(one.shape, repr(one.values)) for one in described if one}
    assert len(shapes) == len(DIFFERENT)


def test_the_same_query_is_described_alike() -> None:
    def made() -> Any:
        rows = products().filter(category__name="a", stock__in=[1, 2]).order_by("name")
        return rows.select_related("category").annotate(
            number=Count("tags"), text=Cast("stock", models.CharField(max_length=5))
        )[:3]

    one, other = structure_of(made().query), structure_of(made().query)
    assert one == other
    assert one
    assert other
    assert text_of(one.shape) == text_of(other.shape)
    assert "0x" not in text_of(one.shape)  # no address of this process
    assert one.tables == {"shop_product", "shop_category", "shop_product_tags"}


def test_values_are_no_part_of_the_shape() -> None:
    rows = [products().filter(stock=number)[number : number + 5].query for number in (1, 2)]
    one, other = map(structure_of, rows)
    assert one
    assert other
    assert one.shape == other.shape
    assert one.values != other.values


class _Own(models.Func):
    function = "lower"


UNKNOWN = [
    products().extra(where=["1 = 1"]),
    products().extra(select={"one": "1"}),
    products().select_for_update(),
    products().union(products()),
    products().annotate(one=_Own("name")),
    products().annotate(
        one=Cast("stock", models.DecimalField(max_digits=5, decimal_places=2, validators=[len]))
    ),
    products()
    .alias(some=models.FilteredRelation("tags", condition=Q(tags__name="a")))
    .filter(some__name="a"),
    Place.objects.filter(at=Point(1, 2)),
]


@pytest.mark.parametrize("rows", UNKNOWN, ids=range(len(UNKNOWN)))
def test_what_is_not_known_is_not_described(rows: Any) -> None:
    assert structure_of(rows.query) is None


def test_attributes_that_nobody_knows_are_not_described() -> None:
    for made in (products(), products().filter(stock=1), products().annotate(one=Value(1))):
        query = made.query
        assert structure_of(query)
        for node in (query, *query.where.children, *query.annotations.values()):
            vars(node)["unheard_of"] = object()
            assert structure_of(query) is None
            del vars(node)["unheard_of"]
    query = products().filter(stock=1).query
    column = query.where.children[0].lhs
    vars(column)["unheard_of"] = 1
    assert structure_of(query) is None
    del vars(column)["unheard_of"]
    query = products().filter(category__name="a").query
    query.alias_map["shop_category"].join_field = object()
    assert structure_of(query) is None
    query.alias_map["shop_category"] = object()
    assert structure_of(query) is None


def test_an_ordering_of_the_model_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = structure_of(products().query)
    monkeypatch.setattr(Product._meta, "ordering", ["name"])
    after = structure_of(products().query)
    assert before
    assert after
    assert before.shape != after.shape
    monkeypatch.setattr(Product._meta, "ordering", [F("name")])
    assert structure_of(products().query) is None


def test_fields_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    before = structure_of(products().filter(stock=1).query)
    monkeypatch.setattr(field_names, "MOST_FIELDS", 0)
    monkeypatch.setattr(field_names, "_field_names", {})
    after = structure_of(products().filter(stock=1, name="a").query)
    assert before
    assert after
    assert len(field_names._field_names) == 1


def _plan(rows: Any, database: str) -> tuple[QueryPlan, Any]:
    structure = structure_of(rows.query)
    assert structure
    compiler = rows.query.chain().get_compiler(using=database)
    sql, _ = compiler.as_sql()
    assert can_be_planned(compiler)
    return QueryPlan(database, "multi", structure, compiler, sql, frozenset(), ()), structure


def test_names(database: str) -> None:
    plan, structure = _plan(products().filter(name="a"), database)
    name = plan.name_of(structure)
    for value in (SafeString("a"), Colour.RED, Size.SMALL):
        other = structure_of(products().filter(name=value).query)
        assert other
        assert plan.name_of(other) not in (None, name)
    structure.values.append(object())
    assert plan.name_of(structure) is None


def test_the_time_zone_is_a_part_of_the_name(database: str) -> None:
    plan, structure = _plan(products().filter(created_at__year=2026), database)
    name = plan.name_of(structure)
    with timezone.override("Asia/Tokyo"):
        assert plan.name_of(structure) != name
    with override_settings(USE_TZ=False):
        assert plan.name_of(structure) != name


def test_without_a_time_in_it_the_current_time_zone_is_of_no_account(database: str) -> None:
    plan, structure = _plan(products().filter(stock=1), database)
    name = plan.name_of(structure)
    with timezone.override("Asia/Tokyo"):
        assert plan.name_of(structure) == name
    with override_settings(USE_TZ=False):  # which decides of which type the rows' times are
        assert plan.name_of(structure) != name


def test_values_that_are_written_in_other_ways_have_other_names(database: str) -> None:
    values = [1, 2**70, "1", "\ud800", b"1", None, 1.0, UUID(int=1), Decimal(1)]
    names = set()
    for value in values:
        plan, structure = _plan(products().filter(stock=1), database)
        structure.values[1] = value
        names.add(plan.name_of(structure))
    assert len(names - {None}) == len(values)


def test_pages_of_a_list_have_one_plan(database: str) -> None:
    first, _ = _plan(products()[:2], database)
    second, structure = _plan(products()[2:4], database)
    assert first.name_of(structure) == second.name_of(structure)


def test_what_models_decide_is_looked_at_when_it_is_compiled(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def can(rows: Any) -> bool:
        compiler = rows.query.get_compiler(using=database)
        compiler.as_sql()
        return can_be_planned(compiler)

    assert can(products().order_by("category"))
    with monkeypatch.context() as ordered:
        ordered.setattr(Category._meta, "ordering", [F("name")])
        assert not can(products().order_by("category"))
    with monkeypatch.context() as ordered:
        ordered.setattr(Product._meta, "ordering", [F("name")])
        assert not can(products())
    compiler = products().query.get_compiler(using=database)
    compiler.as_sql()
    column, (sql, _), alias = compiler.select[0]
    compiler.select[0] = column, (sql, ["now"]), alias
    assert not can_be_planned(compiler)
    compiler.select = None
    compiler.query.model = None
    assert not can_be_planned(compiler)


def test_a_joined_table_that_one_value_leaves_out_counts(server: str, database: str) -> None:
    """Of a number too large for the column Django leaves the condition out, and its tables."""
    cache_results_of(Product, Category)

    def names(stock: int) -> list[str]:
        chosen = Q(stock=stock, category__in=Category.objects.filter(name="a"))
        return list(Product.objects.filter(~chosen).cached().values_list("name", flat=True))

    Product.objects.create(name="Tea", stock=1)
    with queries(database):
        assert names(10**30) == ["Tea"]
        assert names(1) == ["Tea"]
    category = Category.objects.create(name="a")
    Product.objects.update(category=category)
    assert names(1) == []
    Category.objects.update(name="b")
    assert names(1) == ["Tea"]
