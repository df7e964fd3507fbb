"""Move a product to another category, in every way there is."""

from __future__ import annotations

from django.db import connections, models

from redisdict import ModelDict
from tests.modelcache.upserts import upsert
from tests.shop.models import Category, Product

__all__ = ["WAYS"]


def _save(tea: Product, to: Category) -> None:
    tea.category = to
    tea.save()


def _save_only_that(tea: Product, to: Category) -> None:
    tea.category_id = to.pk
    tea.save(update_fields=["category"])


def _update(tea: Product, to: Category) -> None:
    assert Product.plain.filter(pk=tea.pk).update(category=to) == 1


def _update_by_another_field(tea: Product, to: Category) -> None:
    assert Product.plain.filter(name="Tea").update(category=to.pk) == 1


def _update_by_the_field(tea: Product, to: Category) -> None:
    chosen = Product.plain.filter(category=tea.category_id, name="Tea")
    assert chosen.update(category_id=to.pk) == 1


def _update_by_an_expression(tea: Product, to: Category) -> None:
    move = models.F("category_id") + (to.pk - (tea.category_id or 0))
    assert Product.plain.filter(pk=tea.pk).update(category_id=move) == 1


def _update_by_a_subquery(tea: Product, to: Category) -> None:
    of = Category.objects.filter(name="Food").values("pk")
    assert Product.plain.filter(name="Tea").update(category_id=models.Subquery(of)) == 1


def _bulk_update(tea: Product, to: Category) -> None:
    tea.category = to
    assert Product.plain.bulk_update([tea], ["category"]) == 1


def _upsert(tea: Product, to: Category) -> None:
    upsert(Product.plain, Product(pk=tea.pk, name="Tea", category=to), "id", ["category"])


def _by_the_related_manager(tea: Product, to: Category) -> None:
    to.product_set.add(tea)


def _by_sql(tea: Product, to: Category) -> None:
    with connections[str(tea._state.db)].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET category_id = %s WHERE id = %s", [to.pk, tea.pk])


def _by_raw_and_invalidate(tea: Product, to: Category) -> None:
    _by_sql(tea, to)
    ModelDict(Product).invalidate(tea.pk)


WAYS = [
    _save,
    _save_only_that,
    _update,
    _update_by_another_field,
    _update_by_the_field,
    _update_by_an_expression,
    _update_by_a_subquery,
    _bulk_update,
    _upsert,
    _by_the_related_manager,
    _by_sql,
    _by_raw_and_invalidate,
]
