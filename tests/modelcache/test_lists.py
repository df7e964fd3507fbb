"""Lists of rows by the value of a field: whatever moves a row, the next read has it moved."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, models, transaction
from django.http import Http404

from redisdict import ConfigurationError, ModelDict
from redisdict.modelcache.model_dict import ModelLists
from tests.modelcache.counting import queries
from tests.modelcache.upserts import upsert
from tests.shop.models import Book, Category, Place, Price, Product, Stamp

Lists = ModelLists[Product]


@pytest.fixture
def lists(server: str) -> Lists:
    return ModelDict(Product, key="category", many=True)


@pytest.fixture
def drinks(database: str) -> Category:
    return Category.objects.create(name="Drinks")


@pytest.fixture
def food(database: str) -> Category:
    return Category.objects.create(name="Food")


@pytest.fixture
def tea(drinks: Category, food: Category, lists: Lists) -> Product:
    """One of two drinks whose list is on the server, as that of food is, which is empty."""
    tea = Product.plain.create(name="Tea", category=drinks)
    Product.objects.create(name="Coffee", category=drinks)
    assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
    assert lists[food.pk] == []
    return tea


def names(rows: Any) -> list[str]:
    return [row.name for row in rows]


def test_what_comes(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    with queries(str(tea._state.db)) as asked:
        assert lists[drinks.pk] == list(Product.plain.filter(category=drinks).order_by("pk"))
        assert names(lists.get(drinks.pk)) == ["Tea", "Coffee"]
        assert lists.get(food.pk) == [] == lists[None] == lists.get(None)
        assert names(lists.get(food.pk, [tea])) == ["Tea"]
        assert drinks.pk in lists
        assert food.pk not in lists
        assert None not in lists
        found = lists.get_many([drinks.pk, food.pk, None])
        assert {key: names(rows) for key, rows in found.items()} == {
            drinks.pk: ["Tea", "Coffee"],
            food.pk: [],
        }
        assert names(lists.get_or_404(str(drinks.pk))) == ["Tea", "Coffee"]
        with pytest.raises(Http404, match="No Product matches"):
            lists.get_or_404(food.pk)
    assert len(asked) == 1  # the one that is compared with
    assert lists[drinks.pk][0] is not lists[drinks.pk][0]


async def test_what_comes_to_a_task(server: str, aitems: Any) -> None:
    lists, drinks, food, tea = aitems
    assert names(await lists.agetitem(drinks.pk)) == ["Tea", "Coffee"]
    assert names(await lists.aget(drinks.pk)) == ["Tea", "Coffee"]
    assert names(await lists.aget(food.pk, [tea])) == ["Tea"]
    assert await lists.aget(None) == []
    assert await lists.acontains(drinks.pk)
    assert names((await lists.aget_many([drinks.pk]))[drinks.pk]) == ["Tea", "Coffee"]
    assert names(await lists.aget_or_404(drinks.pk)) == ["Tea", "Coffee"]
    with pytest.raises(Http404):
        await lists.aget_or_404(food.pk)
    with pytest.raises(SynchronousOnlyOperation, match="agetitem"):
        lists[drinks.pk]
    assert [key async for key in lists] == [drinks.pk]
    assert [names(rows) async for rows in lists.avalues()] == [["Tea", "Coffee"]]
    assert await lists.alen() == 1
    await tea.adelete()
    assert names(await lists.agetitem(drinks.pk)) == ["Coffee"]
    await lists.ainvalidate(drinks.pk)
    assert await lists.awarm([drinks.pk]) == 1
    await lists.aclear()
    assert names(await lists.agetitem(drinks.pk)) == ["Coffee"]
    assert (await lists.astats()).misses


@pytest.fixture
def aitems(tea: Product, drinks: Category, food: Category, lists: Lists) -> Any:
    return lists, drinks, food, tea


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


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves(
    tea: Product,
    drinks: Category,
    food: Category,
    lists: Lists,
    move: Callable[[Product, Category], None],
) -> None:
    move(tea, food)
    assert names(lists[drinks.pk]) == ["Coffee"]
    assert names(lists[food.pk]) == ["Tea"]


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves_in_a_transaction(
    tea: Product,
    drinks: Category,
    food: Category,
    lists: Lists,
    move: Callable[[Product, Category], None],
) -> None:
    with transaction.atomic(using=tea._state.db):
        move(tea, food)
        assert names(lists[drinks.pk]) == ["Coffee"]
        assert names(lists[food.pk]) == ["Tea"]
    assert names(lists[drinks.pk]) == ["Coffee"]
    assert names(lists[food.pk]) == ["Tea"]


def test_a_move_that_is_rolled_back(
    tea: Product, drinks: Category, food: Category, lists: Lists
) -> None:
    with transaction.atomic(using=tea._state.db):
        _save(tea, food)
        assert names(lists[food.pk]) == ["Tea"]
        transaction.set_rollback(True, using=tea._state.db)
    with queries(str(tea._state.db)) as asked:
        assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
        assert lists[food.pk] == []
    assert not asked


def test_lists_that_a_change_doesn_t_concern(
    tea: Product, drinks: Category, food: Category, lists: Lists
) -> None:
    """Other columns leave all lists as they are, and a move all but two."""
    other = Category.objects.create(name="Other")
    assert lists[other.pk] == []
    fills = lists.stats().fills

    def fills_of(change: Callable[[], Any]) -> int:
        nonlocal fills
        change()
        for category in (drinks, food, other):
            lists[category.pk]
        before, fills = fills, lists.stats().fills
        return fills - before

    assert fills_of(lambda: Product.plain.update(price=3)) == 0
    assert fills_of(lambda: tea.save(update_fields=["name"])) == 0
    assert fills_of(lambda: tea.tags.create(name="new")) == 0
    assert fills_of(lambda: _save(tea, food)) == 2
    assert fills_of(lambda: Product.plain.filter(name="Tea").update(category=drinks)) == 2
    assert fills_of(lambda: Product.objects.create(name="Bread", category=food)) == 1
    assert fills_of(lambda: Product.plain.filter(name="Bread").delete()) == 1
    assert fills_of(lambda: Product.objects.create(name="Nothing")) == 0
    # What hasn't moved leaves its list as it was.
    tea.refresh_from_db()
    assert fills_of(lambda: tea.save()) == 0
    assert names(lists[drinks.pk]) == ["Tea", "Coffee"]


def test_rows_come_and_go(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    bread = Product.objects.create(name="Bread", category=food)
    assert names(lists[food.pk]) == ["Bread"]
    Product.plain.bulk_create([Product(name="Salt", category=food), Product(name="Water")])
    assert names(lists[food.pk]) == ["Bread", "Salt"]
    bread.delete()
    assert names(lists[food.pk]) == ["Salt"]
    Product.plain.filter(name="Salt")._raw_delete(tea._state.db)
    assert lists[food.pk] == []
    Product.plain.filter(category__name="Drinks").delete()
    assert lists[drinks.pk] == []


def test_a_category_goes(tea: Product, drinks: Category, lists: Lists) -> None:
    """Its products lose it, by SET_NULL; and nobody is in the list of nothing."""
    drinks.delete()
    assert lists[drinks.pk or 0] == []
    assert Product.plain.filter(category=None).count() == 2
    assert lists[None] == []
    with pytest.raises(KeyError):
        lists.get_many([None])[None]


def test_a_row_with_a_key_of_its_own(
    tea: Product, drinks: Category, food: Category, lists: Lists
) -> None:
    """`save()` looks for the row first, by an UPDATE that finds none."""
    pk = tea.pk + 1000
    Product(pk=pk, name="Bread", category=food).save()
    assert names(lists[food.pk]) == ["Bread"]
    Product(pk=pk, name="Bread", category=drinks).save()
    assert names(lists[drinks.pk]) == ["Tea", "Coffee", "Bread"]
    assert lists[food.pk] == []


def test_a_changed_row_is_new_in_its_list(tea: Product, drinks: Category, lists: Lists) -> None:
    tea.name = "Oolong"
    tea.save()
    assert names(lists[drinks.pk]) == ["Oolong", "Coffee"]
    Product.plain.filter(pk=tea.pk).update(name="Mate")
    assert names(lists[drinks.pk]) == ["Mate", "Coffee"]


def test_more_rows_than_are_told_one_by_one(
    tea: Product, drinks: Category, food: Category, lists: Lists, monkeypatch: Any
) -> None:
    from redisdict.modelcache.invalidation import listed_writes

    monkeypatch.setattr(listed_writes, "MOST_ROWS", 1)
    Product.plain.filter(category=drinks).update(category=food)
    assert lists[drinks.pk] == []
    assert names(lists[food.pk]) == ["Tea", "Coffee"]
    Product.plain.filter(category=food).delete()
    assert lists[food.pk] == []


def test_iteration(tea: Product, drinks: Category, lists: Lists) -> None:
    assert list(lists.keys()) == [drinks.pk] == list(lists)
    assert [(key, names(rows)) for key, rows in lists.items()] == [(drinks.pk, ["Tea", "Coffee"])]
    assert [names(rows) for rows in lists.values()] == [["Tea", "Coffee"]]
    assert len(lists) == 1
    lists.clear()
    assert len(lists) == 0
    assert list(lists.items()) == []


def test_warming(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    lists.clear()
    assert lists.warm(Product.plain.all()) == 2
    assert lists.warm([food.pk, drinks.pk]) == 2
    with queries(str(tea._state.db)) as asked:
        assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
    assert not asked


def test_invalidation_by_hand(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    from tests.modelcache.beneath import change_unseen

    change_unseen(str(tea._state.db), f"UPDATE shop_product SET category_id = {food.pk}")
    assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
    lists.invalidate(drinks.pk, food.pk)
    assert lists[drinks.pk] == []
    assert names(lists[food.pk]) == ["Tea", "Coffee"]


def test_a_row_that_has_moved_between_the_two_reads(
    tea: Product, drinks: Category, food: Category, lists: Lists, monkeypatch: Any
) -> None:
    """The list is read, then the row moves, then the rows are read: the database is asked."""
    lookup: Any = lists._lookup()
    find = lookup.by_pk.find_near

    def move_first(*arguments: Any) -> Any:
        monkeypatch.undo()
        _save(tea, food)
        return find(*arguments)

    monkeypatch.setattr(lookup.by_pk, "find_near", move_first)
    assert names(lists[drinks.pk]) == ["Coffee"]


def test_other_fields(database: str, server: str) -> None:
    by_name = ModelDict(Product, key="name", many=True)
    by_price = ModelDict(Product, key="price", many=True)
    by_activity = ModelDict(Product, key="is_active", many=True)
    one = Product.objects.create(name="Tea", price=Decimal("1.5"))
    two = Product.objects.create(name="Tea", price=2, is_active=False)
    assert [row.pk for row in by_name["Tea"]] == [one.pk, two.pk]
    assert [row.pk for row in by_price[Decimal("1.50")]] == [one.pk]
    assert [row.pk for row in by_activity[False]] == [two.pk]
    Product.plain.filter(pk=two.pk).update(price=models.F("price") - Decimal("0.5"))
    assert [row.pk for row in by_price["1.5"]] == [one.pk, two.pk]
    two.name, two.is_active = "Coffee", True
    two.save()
    assert [row.pk for row in by_name["Tea"]] == [one.pk]
    assert [row.pk for row in by_name["Coffee"]] == [two.pk]
    assert by_activity[False] == []
    with pytest.raises(TypeError, match="a value of"):
        by_price["cheap"]


def test_a_value_that_the_column_rounds(database: str, server: str) -> None:
    by_price = ModelDict(Product, key="price", many=True)
    assert by_price[Decimal("1.23")] == []
    Product.objects.create(name="Tea", price=Decimal("1.234"))
    # SQLite doesn't round.
    for price in (Decimal("1.23"), Decimal("1.234")):
        assert by_price[price] == list(Product.plain.filter(price=price))


def test_a_unique_field_and_a_composite_key(database: str, server: str) -> None:
    by_product = ModelDict(Price, key="product", many=True)
    product = Product.objects.create(name="Tea")
    assert by_product[product.pk] == []
    for currency in ("USD", "EUR"):
        Price.objects.create(product=product, currency=currency, amount=3)
    assert [row.currency for row in by_product[product.pk]] == ["EUR", "USD"]
    Price.objects.filter(currency="EUR").delete()
    assert [row.currency for row in by_product[product.pk]] == ["USD"]


def test_inheritance(database: str, server: str) -> None:
    """A list of children by a column of the parent's table, and by one of their own."""
    by_name = ModelDict(Book, key="name", many=True)
    by_pages = ModelDict(Book, key="pages", many=True)
    assert by_name["Tea"] == [] == by_pages[100]
    book = Book.objects.create(name="Tea", pages=100)
    assert [row.pk for row in by_name["Tea"]] == [book.pk]
    assert [row.pk for row in by_pages[100]] == [book.pk]
    Product.plain.filter(pk=book.pk).update(name="Coffee")
    assert by_name["Tea"] == []
    assert [row.name for row in by_name["Coffee"]] == ["Coffee"]
    book.refresh_from_db()
    book.pages = 200
    book.save()
    assert by_pages[100] == []
    assert [row.pk for row in by_pages[200]] == [book.pk]
    assert [row.pk for row in by_name["Coffee"]] == [book.pk]
    Book.objects.filter(name="Coffee").update(name="Cocoa", pages=300)
    assert [row.pages for row in by_name["Cocoa"]] == [300]
    assert [row.pk for row in by_pages[300]] == [book.pk]
    Product.objects.get(pk=book.pk).delete()
    assert by_name["Cocoa"] == [] == by_pages[300]


def test_a_column_that_the_database_computes(database: str, server: str) -> None:
    by_capitals = ModelDict(Place, key="name_in_capitals", many=True)
    assert by_capitals["TEA"] == []
    place = Place.objects.create(name="tea")
    assert [row.pk for row in by_capitals["TEA"]] == [place.pk]
    Place.objects.filter(pk=place.pk).update(name="coffee")
    assert by_capitals["TEA"] == []
    assert [row.pk for row in by_capitals["COFFEE"]] == [place.pk]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_trigger_that_writes_other_values(database: str, server: str) -> None:
    """SQLite's triggers write by statements of their own."""
    by_worth = ModelDict(Stamp, key="worth", many=True)
    with connections[database].cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION shop_round() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.worth := NEW.worth / 10 * 10; RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER shop_rounded BEFORE INSERT OR UPDATE ON shop_stamp"
            " FOR EACH ROW EXECUTE FUNCTION shop_round()"
        )
    try:
        assert by_worth[20] == []
        Stamp.objects.create(code="one", worth=23)
        assert [row.code for row in by_worth[20]] == ["one"]
        assert by_worth[40] == []
        Stamp.objects.filter(code="one").update(worth=45)
        assert by_worth[20] == []
        assert [row.code for row in by_worth[40]] == ["one"]
    finally:
        with connections[database].cursor() as cursor:
            cursor.execute("DROP FUNCTION shop_round CASCADE")


def test_text_that_the_database_compares_by_rules_of_its_own(database: str, server: str) -> None:
    connection = connections[database]
    table = "shop_stamp_of_any_case"
    collation = "shop_any_case"
    column = f'varchar(50) COLLATE "{collation}"'
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE COLLATION {collation} (provider = icu, locale = 'und-u-ks-level2',"
                " deterministic = false)"
            )
    else:
        column = "varchar(50) COLLATE NOCASE"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, word {column})")

    class Cased(models.Model):  # noqa: DJ008
        id = models.BigAutoField(primary_key=True)
        word = models.CharField(max_length=50)

        class Meta:
            app_label = "shop"
            db_table = table
            managed = False

    from django.apps import apps

    try:
        by_word = ModelDict(Cased, key="word", many=True)
        assert by_word["tea"] == []
        rows = Cased._default_manager
        rows.create(pk=1, word="Tea")
        rows.create(pk=2, word="tea")
        assert [row.pk for row in by_word["TEA"]] == [1, 2]
        rows.filter(pk=1).update(word="coffee")
        assert [row.pk for row in by_word["TEA"]] == [2]
        assert [row.pk for row in by_word["Coffee"]] == [1]
        found = by_word.get_many(["COFFEE", "Tea", "milk"])
        assert {key: [row.pk for row in rows] for key, rows in found.items()} == {
            "COFFEE": [1],
            "Tea": [2],
            "milk": [],
        }
        by_word.invalidate("tea")
    finally:
        del apps.all_models["shop"]["cased"]
        apps.clear_cache()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {table}")
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP COLLATION {collation}")


def test_copies(tea: Product, drinks: Category, lists: Lists) -> None:
    for other in (
        copy.copy(lists),
        copy.deepcopy(lists),
        pickle.loads(pickle.dumps(lists)),
    ):  # our own
        assert isinstance(other, ModelLists)
        with queries(str(tea._state.db)) as asked:
            assert names(other[drinks.pk]) == ["Tea", "Coffee"]
        assert not asked
    assert repr(lists) == "<ModelLists of shop.Product by category on 'default'>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "pk"}, "has one row"),
        ({"key": "id"}, "has one row"),
        ({"key": "colour"}, "no such field with a column. Possible are: name, slug"),
        ({"key": "tags"}, "no such field with a column"),
        ({"key": "category", "exclude": ["category"]}, "no field that can be left out"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_refused(server: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ModelDict(Product, many=True, **options)


def test_json_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="JSON can't be a key"):
        ModelDict(Place, key="facts", many=True)
