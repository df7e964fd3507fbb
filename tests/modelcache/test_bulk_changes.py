"""Changes of many rows at once, which Django sends no signals for."""

from __future__ import annotations

import pytest
from django.db import models, transaction

from redisdict import ModelDict
from redisdict.modelcache.invalidation import migrations
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.modelcache.upserts import upsert
from tests.shop.models import (
    Product,
    Stamp,
)


def test_a_conflict_in_another_field_than_the_primary_key(
    database: str, products: ModelDict[Product]
) -> None:
    tea = Product.objects.create(name="Tea", slug="tea")
    assert products[tea.pk].name == "Tea"
    upsert(Product.objects, Product(pk=tea.pk + 1000, slug="tea", name="Coffee"), "slug", ["name"])
    assert products[tea.pk].name == "Coffee"


def test_conflicts_of_rows_without_primary_key(database: str, products: ModelDict[Product]) -> None:
    tea = Product.objects.create(name="Tea", slug="tea")
    other = Product.objects.create(name="Other")
    assert products.get_many([tea.pk, other.pk])
    upsert(Product.objects, Product(slug="tea", name="Coffee"), "slug", ["name"])
    assert products[tea.pk].name == "Coffee"


def test_update_of_many_rows_counts_as_all(
    database: str, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.invalidation.compilers.MOST_ROWS", 3)
    pks = [one.pk for one in Product.objects.bulk_create([Product(name="Tea") for _ in range(5)])]
    products.get_many(pks)
    with transaction.atomic(using=database):
        assert Product.objects.update(name="Coffee") == 5
        assert products[pks[0]].name == "Coffee"
    assert {one.name for one in products.get_many(pks).values()} == {"Coffee"}
    with queries(database) as asked:
        products.get_many(pks)
    assert not asked


def test_a_transaction_with_many_rows_counts_as_all(
    database: str, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.invalidation.transactions.MOST_ROWS", 3)
    made = Product.objects.bulk_create([Product(name="Tea") for _ in range(5)])
    assert len(products.get_many([one.pk for one in made])) == 5
    with transaction.atomic(using=database):
        for one in made:
            one.name = "Coffee"
            one.save()
    assert {one.name for one in products.get_many([one.pk for one in made]).values()} == {"Coffee"}


def test_update_does_what_djangos_does(database: str, products: ModelDict[Product]) -> None:
    Product.objects.bulk_create([Product(name=name, stock=1) for name in ("a", "b", "c")])
    assert Product.objects.filter(name="nobody").update(stock=5) == 0
    assert Product.objects.none().update(stock=5) == 0
    assert Product.objects.exclude(name="a").update(stock=models.F("stock") + 1) == 2
    assert Product.objects.order_by("name").annotate(n=models.Count("tags")).update(stock=9) == 3
    assert Product.objects.filter(category__name="x").update(stock=0) == 0
    with pytest.raises(TypeError, match="slice"):
        Product.objects.all()[:1].update(stock=0)
    with pytest.raises(Exception, match="nmae"):
        Product.objects.update(nmae="x")
    assert set(Product.objects.values_list("stock", flat=True)) == {9}


def test_models_without_dict_pay_nothing(database: str, server: str) -> None:
    made = Product.objects.create(name="Tea")
    with queries(database) as asked:
        assert Product.objects.filter(pk=made.pk).update(name="Coffee") == 1
    assert len(asked) == 1
    stamp = Stamp.objects.create(code="x")
    ModelDict(Product)
    with queries(database) as asked:
        stamp.delete()
    assert len(asked) == 1


def test_migrate_and_flush_remove_all_rows(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    """Even if nothing had been seen of what they did."""
    from django.apps import apps
    from django.db.models.signals import post_migrate, pre_migrate

    app = apps.get_app_config("redisdict")
    assert post_migrate.has_listeners(app)
    assert pre_migrate.has_listeners(app)
    change_unseen(database, "UPDATE shop_product SET name = 'Migrated'")
    migrations._after_migrations(using=database, plan=[])
    assert products[tea.pk].name == "Tea"  # nothing was migrated
    migrations._after_migrations(using=database, plan=["a migration"])
    assert products[tea.pk].name == "Migrated"


def test_loaddata(tea: Product, products: ModelDict[Product]) -> None:
    from django.core import serializers

    database = products._lookup().table.database
    tea.name = "Coffee"
    for loaded in serializers.deserialize("json", serializers.serialize("json", [tea])):
        loaded.save(using=database)
    assert products[tea.pk].name == "Coffee"


def test_an_update_that_names_its_rows_asks_nothing_more(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    other = Product.objects.create(name="Other", stock=5)
    assert products.get_many([tea.pk, other.pk])
    for rows, count in (
        (Product.objects.filter(pk=tea.pk), 1),
        (Product.objects.filter(id__in=[tea.pk, other.pk], stock=5), 1),
        (Product.objects.filter(stock__gte=0).filter(pk=str(tea.pk)), 1),
        (Product.objects.filter(pk__in=[]), 0),
    ):
        with queries(database) as asked:
            assert rows.update(description="x") == count
        assert len(asked) == bool(count)
    assert products[tea.pk].description == "x"
    assert products[other.pk].description == "x"


def test_an_update_that_names_no_rows_finds_them(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    other = Product.objects.create(name="Other", stock=5, slug="other")
    for number, rows in enumerate(
        (
            Product.objects.exclude(pk=tea.pk),
            Product.objects.filter(models.Q(pk=tea.pk) | models.Q(stock=5)),
            Product.objects.filter(~models.Q(pk=tea.pk)),
            Product.objects.filter(pk__in=Product.plain.filter(stock=5)),
            Product.objects.filter(pk=models.F("id")),
            Product.objects.filter(slug="other"),
            Product.objects.distinct().filter(stock=5),
            Product.objects.annotate(n=models.Count("tags")).filter(n=0),
        )
    ):
        assert products[other.pk].rating != number
        assert rows.update(rating=number) >= 1
        assert products[other.pk].rating == number, rows.query


def test_an_update_by_primary_key_that_fails(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    from django.db import IntegrityError

    other = Product.objects.create(name="Other", slug="other")
    with pytest.raises(IntegrityError):
        Product.objects.filter(pk=tea.pk).update(slug="other")
    assert products[tea.pk].slug is None
    with queries(database) as asked:
        assert products[tea.pk].slug is None  # no barrier is left: the database said no
    assert not asked
    assert products[other.pk].slug == "other"
