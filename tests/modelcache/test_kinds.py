"""Models and queries of every kind: what they change is seen, and nobody else's rows go."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections, transaction

from redisdict import ConfigurationError, ModelDict
from tests.modelcache.counting import queries
from tests.shop.models import (
    Announced,
    Book,
    Category,
    Named,
    Place,
    Point,
    Price,
    Product,
    Review,
    Tag,
)


def is_kept(rows: ModelDict[Any], key: Any) -> bool:
    with queries(rows._lookup().table.database) as asked:
        assert key in rows
    return not asked


@pytest.mark.parametrize("chosen", ["only", "defer"])
def test_a_save_of_an_instance_with_deferred_fields(
    database: str, server: str, chosen: str
) -> None:
    products = ModelDict(Product)
    made = Product.objects.create(name="Tea", description="green", stock=3)
    assert products[made.pk].description == "green"
    some = getattr(Product.objects, chosen)("name" if chosen == "only" else "description")
    short = some.get(pk=made.pk)
    assert "description" not in vars(short)
    short.name = "Coffee"
    short.save()
    row = products[made.pk]
    assert (row.name, row.description, row.stock) == ("Coffee", "green", 3)
    assert not row.get_deferred_fields()


def test_a_base_manager_that_leaves_columns_out(database: str, server: str) -> None:
    """What is kept is whole, and what is given is the same, whether it was kept or not."""
    announced = ModelDict(Announced)
    made = Announced.objects.create(name="x")
    for _ in range(2):
        row = announced[made.pk]
        assert not row.get_deferred_fields()
        assert row.name == "x"
        assert "one" not in vars(row)
    assert is_kept(announced, made.pk)


def test_inheritance_without_a_table(database: str, server: str) -> None:
    categories, tags = ModelDict(Category), ModelDict(Tag)
    Category.objects.create(pk=1, name="a category")
    Tag.objects.create(pk=1, name="a tag")
    assert (categories[1].name, tags[1].name) == ("a category", "a tag")
    Tag.objects.get(pk=1).delete()
    assert 1 not in tags
    assert is_kept(categories, 1)
    with pytest.raises(ConfigurationError, match="the model is abstract and has no table"):
        ModelDict(Named)


def test_generated_columns_are_those_of_the_last_change(database: str, server: str) -> None:
    places = ModelDict(Place)
    made = Place.objects.create(name="harbour", at=Point(1, 2), facts={"deep": [1, 2]})
    assert places[made.pk].name_in_capitals == "HARBOUR"
    made.name, made.at, made.facts = "Quay", Point(3, 4), {"deep": [{"a": None}]}
    made.save()
    for _ in range(2):
        row = places[made.pk]
        assert (row.name_in_capitals, row.at, row.facts) == ("QUAY", Point(3, 4), made.facts)


def test_composite_primary_keys(database: str, server: str) -> None:
    prices = ModelDict(Price)
    product = Product.objects.create(name="Tea")
    Price.objects.bulk_create(
        [Price(product=product, currency=currency, amount=1) for currency in ("EUR", "USD", "CHF")]
    )
    keys = [(product.pk, currency) for currency in ("EUR", "USD", "CHF")]
    with queries(database) as asked:
        assert list(prices.get_many(keys)) == keys
        assert list(prices.get_many(keys)) == keys
    assert len(asked) == 1
    price = prices[keys[0]]
    price.amount = 2
    price.save()
    assert prices[keys[0]].amount == 2
    assert Price.objects.filter(currency="USD").update(amount=3) == 1
    assert prices[keys[1]].amount == 3
    assert Price.objects.filter(pk=keys[1]).update(amount=4) == 1
    assert prices[keys[1]].amount == 4
    if connections[database].vendor != "mysql":  # where a change by a text is one of all rows
        assert is_kept(prices, keys[2])
        assert sorted(prices) == sorted(keys)
    Price.objects.filter(currency="CHF").delete()
    assert keys[2] not in prices
    with pytest.raises(TypeError, match="a tuple of 2 values is expected"):
        prices[product.pk]


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_the_same_key_in_two_databases(
    sqlite_alias: str, postgres_alias: str, database: str, server: str
) -> None:
    """Whichever of the two the routers choose when none is named."""
    dicts = {alias: ModelDict(Product, database=alias) for alias in (sqlite_alias, postgres_alias)}
    other = ({*dicts} - {database}).pop()
    try:
        for alias, rows in dicts.items():
            Product(pk=1, name=alias).save(using=alias)
            assert rows[1].name == alias
            assert rows[1]._state.db == alias
        assert ModelDict(Product)[1].name == database
        Product(pk=1, name="changed").save(using=other)
        assert dicts[other][1].name == "changed"
        assert is_kept(dicts[database], 1)
        assert dicts[database][1].name == database
    finally:
        Product.objects.using(other).filter(pk=1).delete()
        connections[other].close()


def test_rows_that_the_database_removes_or_changes_itself(database: str, server: str) -> None:
    """By Django's DB_CASCADE and DB_SET_NULL, where there are these."""
    reviews = ModelDict(Review)
    product, tag = Product.objects.create(name="Tea"), Tag.objects.create(name="x")
    gone = Review.objects.create(text="good", product=product)
    kept = Review.objects.create(text="bad", product=Product.objects.create(name="Milk"), tag=tag)
    assert reviews[gone.pk].text == "good"
    assert reviews[kept.pk].tag_id == tag.pk
    product.delete()
    assert gone.pk not in reviews
    tag.delete()
    assert reviews[kept.pk].tag_id is None
    with transaction.atomic(using=database):
        Product.objects.all().delete()
    assert kept.pk not in reviews


def test_a_key_that_changes(database: str, server: str) -> None:
    """The row is another one then: what was said of either key before is over."""
    products = ModelDict(Product, absent_timeout=60)
    made = Product.objects.create(name="Tea")
    new = made.pk + 1000
    assert products[made.pk].name == "Tea"
    assert new not in products
    assert Product.objects.filter(pk=made.pk).update(id=new) == 1
    assert made.pk not in products
    assert products[new].name == "Tea"


def test_the_index_by_another_field_follows_every_way_to_change_it(
    database: str, server: str
) -> None:
    by_slug = ModelDict(Product, key="slug")
    books = ModelDict(Book, key="slug")
    made = Book.objects.create(name="Leaves", slug="one", pages=3)
    previous = "one"

    def change(slug: str, how: str) -> None:
        row = Product.objects.get(pk=made.pk)
        row.slug = slug
        if how == "save":
            row.save()
        elif how == "update":
            Product.objects.filter(slug=previous).update(slug=slug)
        elif how == "bulk_update":
            Product.objects.bulk_update([row], ["slug"])
        else:
            Book.objects.filter(pk=made.pk).update(slug=slug)

    for how in ("save", "update", "bulk_update", "of the child"):
        assert by_slug[previous].pk == books[previous].pk == made.pk
        change(how.replace(" ", "-"), how)
        assert previous not in by_slug
        assert previous not in books
        previous = how.replace(" ", "-")
        assert by_slug[previous].pk == books[previous].pk == made.pk
