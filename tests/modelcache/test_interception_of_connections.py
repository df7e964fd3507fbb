"""Changes on connections in odd states, and signals that are muted or sent by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, models, transaction
from django.db.models.signals import post_save

from redisdict import ModelDict
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Product, Tag


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_commit_amid_an_atomic_block(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """What comes after it in the block is visible to others at once."""
    with contextlib.suppress(Exception), transaction.atomic(using=database):
        with connections[database].cursor() as cursor:
            cursor.execute("COMMIT")
        Product.plain.filter(pk=tea.pk).update(name="Coffee")
        assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
    assert products[tea.pk].name == "Coffee"


def test_others_wrappers(database: str, tea: Product, products: ModelDict[Product]) -> None:
    """One that is there for a while takes itself away, and whoever replaces the list loses."""
    connection = connections[database]
    connection.close()
    seen = []

    def look(execute: Callable[..., Any], *arguments: Any) -> Any:
        seen.append(arguments[0])
        return execute(*arguments)

    with connection.execute_wrapper(look), connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Coffee'")
    assert seen
    assert products[tea.pk].name == "Coffee"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Milk'")
    assert products[tea.pk].name == "Milk"


def test_a_wrapper_that_changes_the_table_itself(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Amid a change of another row, of which the ORM tells."""
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    connection = connections[database]
    raw = f"UPDATE shop_product SET name = 'Cocoa' WHERE id = {other.pk}"

    def audit(execute: Callable[..., Any], sql: Any, *arguments: Any) -> Any:
        if sql != raw and sql.startswith("UPDATE"):
            with connection.cursor() as cursor:
                cursor.execute(raw)
        return execute(sql, *arguments)

    with connection.execute_wrapper(audit):
        Product.plain.filter(pk=tea.pk).update(name="Coffee")
    assert products[other.pk].name == "Cocoa"
    assert products[tea.pk].name == "Coffee"


def test_a_copy_of_a_connection(database: str, tea: Product, products: ModelDict[Product]) -> None:
    copied = connections[database].copy()
    with copied.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Coffee'")
    copied.close()
    assert products[tea.pk].name == "Coffee"


def test_without_autocommit(database: str, tea: Product, products: ModelDict[Product]) -> None:
    connection = connections[database]
    connection.set_autocommit(False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'Coffee'")
        assert products[tea.pk].name == "Coffee"
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
        connection.commit()
        assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'Milk'")
        connection.rollback()
    finally:
        connection.set_autocommit(True)
    assert products[tea.pk].name == "Coffee"


def test_a_statement_that_fails_leaves_no_barrier(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with pytest.raises(Exception, match="nowhere"), connections[database].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET nowhere = 1")
    assert products[tea.pk].name == "Tea"
    with queries(database) as asked:
        assert products[tea.pk].name == "Tea"
    assert not asked, asked.captured_queries


def test_a_signal_sent_by_hand(database: str, tea: Product, products: ModelDict[Product]) -> None:
    """For a change that went below Django; whatever it leaves out."""
    change_unseen(database, "UPDATE shop_product SET name = 'Coffee'")
    post_save.send(Product, instance=tea)
    assert products[tea.pk].name == "Coffee"
    change_unseen(database, "UPDATE shop_product SET name = 'Milk'")
    post_save.send(sender=Product, instance=tea, created=False, using=database)
    assert products[tea.pk].name == "Milk"
    post_save.send(sender=Product)
    post_save.send(sender=Product, instance=Product(name="new"))
    models.signals.m2m_changed.send(sender=Product.tags.through, instance=tea, action="post_add")
    models.signals.m2m_changed.send(sender=Product.tags.through)


def test_muted_signals(database: str, tea: Product, products: ModelDict[Product]) -> None:
    receivers = post_save.receivers
    post_save.receivers = []
    post_save.sender_receivers_cache.clear()
    try:
        tea.name = "Coffee"
        tea.save()
    finally:
        post_save.receivers = receivers
        post_save.sender_receivers_cache.clear()
    assert products[tea.pk].name == "Coffee"


def test_a_row_taken_for_absent(database: str, server: str) -> None:
    """An insertion outside a transaction, whose primary key the database chooses."""
    tags = ModelDict(Tag, database=database, absent_timeout=60)
    newest = Tag.objects.using(database).create(name="one").pk
    assert newest + 1 not in tags
    assert Tag.objects.using(database).create(name="two").pk == newest + 1
    assert tags[newest + 1].name == "two"
