"""Declared columns: a query for some values depends on the rows that have them, and no others."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.checks import Error
from django.db import connections, models, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, Sum, Value, Window
from django.db.models.functions import Lower, RowNumber
from django.test import override_settings
from django.test.utils import isolate_apps

from redisdict import CachedManager, CachedQuerySet, ConfigurationError, cache_results_of
from redisdict.modelcache.results import in_tasks, space, versions
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.modelcache.test_lists import WAYS
from tests.modelcache.upserts import upsert
from tests.shop.models import Book, Category, Place, Price, Product, Tag
from tests.shop.spellings import Mailbox, Word

#: What the products' manager declares.
COLUMNS = ("category", "price", "name", "is_active")


@pytest.fixture
def drinks(server: str, database: str, monkeypatch: pytest.MonkeyPatch) -> Category:
    """A category with tea and coffee; and there is one with bread."""
    monkeypatch.setattr(Product._meta.managers_map["objects"], "versions", COLUMNS)
    drinks, food = (Category.objects.create(name=name) for name in ("Drinks", "Food"))
    for name in ("Tea", "Coffee"):
        Product.objects.create(name=name, category=drinks, price=Decimal("2.50"))
    Product.objects.create(name="Bread", category=food, price=3)
    cache_results_of(Product, Category, Tag, Book, Price)  # which makes changes dearer
    return drinks


@pytest.fixture
def food(drinks: Category) -> Category:
    return Category.objects.get(name="Food")


@pytest.fixture
def tea(drinks: Category) -> Product:
    return Product.objects.get(name="Tea")


def kept(rows: Any = Product) -> Any:
    return CachedQuerySet(rows).using(Product.objects.db).cached()


def in_category(category: Category) -> list[str]:
    rows = kept().filter(category=category).order_by("pk")
    return [row.name for row in rows]


def is_kept(ask: Callable[[], Any]) -> bool:
    """Whether the database isn't asked."""
    with queries(Product.objects.db) as asked:
        ask()
    return not asked


def change_bread() -> None:
    """A change that concerns no row of another value."""
    assert Product.plain.filter(name="Bread").update(stock=F("stock") + 1) == 1


#: Queries that depend on the rows of one category alone.
NARROW: list[Callable[[Any, Any], Any]] = [
    lambda rows, c: list(rows.filter(category=c)),
    lambda rows, c: list(rows.filter(category=c.pk)),
    lambda rows, c: list(rows.filter(category_id=c.pk)),
    lambda rows, c: list(rows.filter(category_id=str(c.pk))),
    lambda rows, c: list(rows.filter(category__id=c.pk)),
    lambda rows, c: list(rows.filter(category__pk=c.pk)),
    lambda rows, c: list(rows.filter(category__in=[c])),
    lambda rows, c: list(rows.filter(category__in=[c.pk, None, -1])),
    lambda rows, c: list(rows.filter(category=c, stock__gte=0).exclude(name="Water")),
    lambda rows, c: list(rows.filter(Q(stock__gte=0) & (Q(category=c) & ~Q(name="Water")))),
    lambda rows, c: list(rows.filter(Q(category=c) & (Q(stock=0) | Q(stock=1)))),
    lambda rows, c: list(rows.filter(category=c).select_related("category")),
    lambda rows, c: list(rows.filter(category=c, category__name="Drinks")),
    lambda rows, c: list(rows.filter(category=c).values("category__name", "price")),
    lambda rows, c: list(rows.filter(category=c).order_by("name")[:1]),
    lambda rows, c: list(rows.filter(category=c).annotate(low=Lower("name"))),
    lambda rows, c: list(
        rows.filter(category=c).annotate(n=Window(RowNumber(), order_by="name")).filter(n=1)
    ),
    lambda rows, c: list(rows.filter(category=c).values("name").annotate(Sum("stock"))),
    lambda rows, c: rows.filter(category=c).order_by("pk").first(),
    lambda rows, c: rows.filter(category=c).count(),
    lambda rows, c: rows.filter(category=c)[:1].count(),
    lambda rows, c: rows.filter(category=c).exists(),
    lambda rows, c: rows.filter(category=c).aggregate(Sum("stock")),
    lambda rows, c: rows.get(name="Tea"),
    lambda rows, c: list(rows.filter(price=Decimal("2.5"))),
    lambda rows, c: list(rows.filter(price="2.500")),
    lambda rows, c: list(kept(Category).filter(pk=c.pk, product__category=c).distinct()),
    lambda rows, c: list(kept(Category).filter(pk=c.pk, product__name="Tea")),
]


@pytest.mark.parametrize("ask", NARROW)
def test_others_leave_it_as_it_is(drinks: Category, ask: Callable[[Any, Any], Any]) -> None:
    ask(kept(), drinks)
    assert is_kept(lambda: ask(kept(), drinks))
    change_bread()
    assert is_kept(lambda: ask(kept(), drinks))
    Product.objects.create(name="Salt", category=None)
    Product.plain.filter(name="Salt").delete()
    assert is_kept(lambda: ask(kept(), drinks))
    Product.plain.filter(name="Tea").update(stock=F("stock") + 1)
    assert not is_kept(lambda: ask(kept(), drinks))


#: Queries that may depend on other rows, or of which that isn't certain.
WIDE: list[Callable[[Any, Any], Any]] = [
    lambda rows, c: list(rows),
    lambda rows, c: list(rows.filter(Q(category=c) | Q(stock=0))),
    lambda rows, c: list(rows.filter(Q(category=c) ^ Q(stock=0))),
    lambda rows, c: list(rows.exclude(category=c)),
    lambda rows, c: list(rows.filter(~Q(category=c))),
    lambda rows, c: list(rows.filter(category__gt=c.pk - 1)),
    lambda rows, c: list(rows.filter(category__isnull=False)),
    lambda rows, c: list(rows.filter(category=None)),
    lambda rows, c: list(rows.filter(category__name="Drinks")),
    lambda rows, c: list(rows.filter(category=F("stock"))),
    lambda rows, c: list(rows.filter(category=Value(c.pk) + Value(0))),
    lambda rows, c: list(rows.filter(price__in=[F("stock"), 2])),
    lambda rows, c: list(rows.filter(category__in=Category.objects.filter(pk=c.pk))),
    lambda rows, c: list(rows.filter(category__in=range(c.pk, c.pk + versions.MOST_VALUES + 1))),
    lambda rows, c: list(rows.filter(name__iexact="tea")),
    lambda rows, c: list(rows.annotate(low=Lower("name")).filter(low="tea")),
    lambda rows, c: list(rows.filter(category=c).union(Product.objects.filter(stock=3))),
    lambda rows, c: list(
        rows.filter(category=c).filter(Exists(Product.objects.filter(stock=OuterRef("stock"))))
    ),
    lambda rows, c: list(
        rows.filter(category=c).annotate(
            n=models.Subquery(
                Product.objects.order_by()
                .values("is_active")
                .annotate(n=Count("pk"))
                .values("n")[:1]
            )
        )
    ),
    lambda rows, c: list(rows.filter(category__product__category=c).distinct()),
    lambda rows, c: rows.aggregate(n=Count("pk", filter=Q(category=c))),
]


@pytest.mark.parametrize("ask", WIDE)
def test_it_depends_on_the_whole_table(drinks: Category, ask: Callable[[Any, Any], Any]) -> None:
    ask(kept(), drinks)
    assert is_kept(lambda: ask(kept(), drinks))
    change_bread()
    assert not is_kept(lambda: ask(kept(), drinks))


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves(
    tea: Product, drinks: Category, food: Category, move: Callable[[Product, Category], None]
) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    assert in_category(food) == ["Bread"]
    move(tea, food)
    assert in_category(drinks) == ["Coffee"]
    assert sorted(in_category(food)) == ["Bread", "Tea"]
    assert not kept().filter(category=drinks, name="Tea").exists()
    assert kept().get(name="Tea").category_id == food.pk


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves_in_a_transaction(
    tea: Product, drinks: Category, food: Category, move: Callable[[Product, Category], None]
) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    assert in_category(food) == ["Bread"]
    with transaction.atomic(using=tea._state.db):
        move(tea, food)
        assert in_category(drinks) == ["Coffee"]
        assert sorted(in_category(food)) == ["Bread", "Tea"]
    assert in_category(drinks) == ["Coffee"]
    assert sorted(in_category(food)) == ["Bread", "Tea"]


def test_what_a_transaction_rolls_back_was_no_change(
    tea: Product, drinks: Category, food: Category
) -> None:
    in_category(drinks)
    with transaction.atomic(using=tea._state.db):
        Product.plain.filter(pk=tea.pk).update(category=food)
        transaction.set_rollback(True, using=tea._state.db)
    assert is_kept(lambda: in_category(drinks))


def test_rows_come_and_go(tea: Product, drinks: Category, food: Category) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    water = Product.objects.create(name="Water", category=drinks)
    assert in_category(drinks) == ["Tea", "Coffee", "Water"]
    water.delete()
    assert in_category(drinks) == ["Tea", "Coffee"]
    Product.plain.bulk_create([Product(name="Milk", category=drinks), Product(name="Salt")])
    assert in_category(drinks) == ["Tea", "Coffee", "Milk"]
    Product.plain.filter(name="Milk")._raw_delete(tea._state.db)
    assert in_category(drinks) == ["Tea", "Coffee"]
    Book.objects.create(name="Leaves", category=drinks, pages=3)
    assert in_category(drinks) == ["Tea", "Coffee", "Leaves"]
    drinks.delete()
    assert kept().filter(category_id=drinks.pk or -1).count() == 0


def test_a_change_of_another_column(tea: Product, drinks: Category, food: Category) -> None:
    """A list of `ModelDict(…, many=True)` leaves that alone, and a result must not."""
    rows = kept().filter(category=drinks).values_list("name", "stock")
    assert rows.get(name="Tea") == ("Tea", 0)
    tea.stock = 7
    tea.save(update_fields=["stock"])
    assert rows.all().get(name="Tea") == ("Tea", 7)
    tea.stock = 8
    Product.plain.bulk_update([tea], ["stock"])
    assert rows.all().get(name="Tea") == ("Tea", 8)


def test_an_upsert_takes_a_row_from_where_nobody_knows(
    tea: Product, drinks: Category, food: Category
) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    upsert(Product.plain, Product(pk=tea.pk, name="Tea", category=food), "id", ["category"])
    assert in_category(drinks) == ["Coffee"]


def test_several_columns_and_the_first_that_is_named(drinks: Category, food: Category) -> None:
    """By category and price it depends on the category: so says the order of the declaration."""

    def ask() -> list[Any]:
        return list(kept().filter(price="2.5", category=drinks))

    ask()
    Product.objects.create(name="Salt", category=food, price="2.50")
    assert is_kept(ask)
    Product.objects.create(name="Water", category=drinks, price=9)
    assert not is_kept(ask)


@pytest.mark.parametrize("text", ["Tea", "tea", "Tea ", "TEA"])
def test_text_is_the_same_only_when_it_is_identical(drinks: Category, text: str) -> None:
    def ask() -> int:
        number: int = kept().filter(name=text).count()
        return number

    assert ask() == (text == "Tea")
    Product.objects.create(name=text.swapcase())
    assert is_kept(ask)
    Product.objects.create(name=text)
    assert ask() == (text == "Tea") + 1


def test_two_spellings_of_one_number(drinks: Category) -> None:
    for price in ("2.5", "2.50", Decimal("2.500"), 2.5):
        assert kept().filter(price=price).count() == 2
    Product.objects.create(name="Milk", price=Decimal("2.5"))
    for price in ("2.5", "2.50", Decimal("2.500"), 2.5):
        assert kept().filter(price=price).count() == 3


@pytest.fixture
def word(server: str, database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table whose text the database compares without regard to case; with one word."""
    connection = connections[database]
    text = "varchar(10) COLLATE NOCASE"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE COLLATION IF NOT EXISTS any_case (provider = icu, locale ="
                " 'und-u-ks-level2', deterministic = false)"
            )
            text = "varchar(10) COLLATE any_case"
        cursor.execute(
            f"CREATE TABLE shop_word (spelling {text} PRIMARY KEY, nick {text},"
            " worth integer NOT NULL)"
        )
    monkeypatch.setattr(Word._meta.managers_map["objects"], "versions", ("nick",))
    cache_results_of(Word)
    Word.objects.create(spelling="one", nick="Tea")
    yield Word
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE shop_word")


def test_text_that_the_database_takes_for_equal(word: Any) -> None:
    """ "tea" finds "Tea", so results depend on the whole table, and are right."""

    def ask() -> list[str]:
        rows = kept(Word).filter(nick="TEA").order_by("spelling")
        return [row.nick for row in rows]

    assert ask() == ["Tea"]
    assert is_kept(ask)
    Word.objects.create(spelling="two", nick="tEA")
    assert ask() == ["Tea", "tEA"]
    Word.objects.filter(spelling="one").update(nick="Mate")
    assert ask() == ["tEA"]


def test_a_hit_takes_one_script(drinks: Category, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ask(backend: Any, key: bytes, step: Any) -> Any:
        asked.append(step)
        return in_tasks.ask(backend, key, step)

    rows = kept().filter(category=drinks)
    list(rows.all())
    monkeypatch.setattr(space, "ask", ask)
    list(rows.all())
    # The versions of the column and of the value, and the result.
    [(_, _, count, *_)] = [step.arguments[0] for step in asked]
    assert count == 3


def test_what_the_server_has_forgotten_is_computed_again(drinks: Category) -> None:
    from redisdict.connections import registry

    def flush() -> None:
        registry.get_backend("default").driver.run(_flush())

    assert in_category(drinks) == ["Tea", "Coffee"]
    flush()
    assert in_category(drinks) == ["Tea", "Coffee"]
    assert is_kept(lambda: in_category(drinks))


def _flush() -> Any:
    return (yield (b"FLUSHDB",))


def test_in_coroutines(drinks: Category, food: Category) -> None:
    async def names_of(category: Category) -> list[str]:
        return [row.name async for row in kept().filter(category=category).order_by("pk")]

    async def ask() -> None:
        assert await names_of(drinks) == ["Tea", "Coffee"]
        assert await names_of(drinks) == ["Tea", "Coffee"]
        assert await names_of(food) == ["Bread"]
        assert await kept().filter(category=drinks).acount() == 2
        await Product.objects.acreate(name="Water", category=drinks)
        assert await names_of(drinks) == ["Tea", "Coffee", "Water"]
        assert await kept().filter(category=drinks).acount() == 3

    async_to_sync(ask)()


def test_what_another_thread_changes(tea: Product, drinks: Category, food: Category) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    if connections[Product.objects.db].vendor == "postgresql":
        with transaction.atomic(using=tea._state.db):
            assert in_category(food) == ["Bread"]
            elsewhere(lambda: Product.plain.filter(pk=tea.pk).update(category=food))
            assert sorted(in_category(food)) == ["Bread", "Tea"]
    else:
        elsewhere(lambda: Product.plain.filter(pk=tea.pk).update(category=food))
    assert in_category(drinks) == ["Coffee"]


def test_statistics_are_those_of_the_query(drinks: Category) -> None:
    rows = kept().filter(category=drinks)
    before = rows.result_stats()
    list(rows.all())
    list(rows.all())
    after = rows.result_stats()
    assert after.hits == before.hits + 1
    assert after.misses == before.misses + 1


def test_near_depends_on_the_whole_table(drinks: Category) -> None:
    def ask() -> list[Any]:
        rows = CachedQuerySet(Product).using(Product.objects.db).cached(near=60.0)
        return list(rows.filter(category=drinks))

    ask()
    assert is_kept(ask)
    change_bread()
    assert not is_kept(ask)


def test_more_choices_than_are_remembered(
    drinks: Category, food: Category, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MOST_CHOICES", 1)
    for _ in range(2):
        assert in_category(drinks) == ["Tea", "Coffee"]
        assert in_category(food) == ["Bread"]
    assert is_kept(lambda: (in_category(drinks), in_category(food)))


def _differ(rows: Any, category: int) -> list[tuple[Any, Any]]:
    """What kept results and the database give that isn't the same."""
    asked: list[Callable[[Any], Any]] = [
        lambda some: sorted(some.filter(category=category).values_list("pk", "stock", "name")),
        lambda some: some.filter(category=category).count(),
        lambda some: some.filter(category=category, is_active=True).aggregate(Sum("stock")),
        lambda some: sorted(some.filter(is_active=False).values_list("pk", "category")),
        lambda some: sorted(some.filter(category__in=[1, category]).values_list("pk", "price")),
        lambda some: some.filter(price=2, name="A").exists(),
    ]
    found = [(ask(rows.cached()), ask(rows)) for ask in asked]
    return [(got, expected) for got, expected in found if got != expected]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(1, 3))]
)
def test_any_history_gives_what_the_database_gives(drinks: Category, seed: int) -> None:
    chance = random.Random(seed)
    using = Product.objects.db
    Category.objects.bulk_create([Category(pk=pk, name=str(pk)) for pk in range(1001, 1005)])
    categories = [None, *range(1001, 1005)]

    def some(**given: Any) -> dict[str, Any]:
        return {
            "category_id": chance.choice(categories),
            "stock": chance.randrange(5),
            "price": chance.randrange(3),
            "name": chance.choice("ABC"),
            "is_active": chance.random() < 0.5,
            **given,
        }

    def change() -> None:
        rows = Product.plain.using(using)
        one = rows.filter(stock=chance.randrange(5)).order_by("pk").first()
        values = some()
        match chance.randrange(8):
            case 0:
                Product.plain.create(**values)
            case 1:
                Product.plain.bulk_create([Product(**some()) for _ in range(3)])
            case 2 if one:
                one.delete()
            case 3 if one:
                for name, value in values.items():
                    setattr(one, name, value)
                one.save(update_fields=chance.sample(sorted({*values} - {"category_id"}), 2))
            case 4 if one:
                one.category_id = values["category_id"]
                one.save()
            case 5:
                name = chance.choice(sorted(values))
                rows.filter(category=chance.choice(categories)).update(**{name: values[name]})
            case 6:
                rows.filter(stock=values["stock"]).update(
                    stock=F("stock") + 1, price=F("price") + 1
                )
            case 7:
                rows.filter(category=chance.choice(categories), stock__gt=2).delete()
            case _:
                pass

    rows = CachedQuerySet(Product).using(using)
    for _ in range(60):
        if chance.random() < 0.2:
            with transaction.atomic(using=using):
                change()
                change()
                assert not _differ(rows, 1001)
                transaction.set_rollback(chance.random() < 0.3, using=using)
        else:
            change()
        for category in categories[1:]:
            assert category is None or not _differ(rows, category)


def test_single_rows(server: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the primary key, which is named by most changes: these take no query more."""
    rows = Product.plain.using(database)
    tea, coffee = (rows.create(name=name) for name in ("Tea", "Coffee"))
    with queries(database) as plainly:
        coffee.save()
    monkeypatch.setattr(Product._meta.managers_map["objects"], "versions", ("id",))
    cache_results_of(Product, Category, Tag, Book, Price)

    def ask() -> list[Any]:
        one = kept().select_related("category").get(pk=tea.pk)
        several = kept().filter(pk__in=[tea.pk, 0]).values_list("name", flat=True)
        return [one.name, *several, kept().filter(id=tea.pk).count()]

    assert ask() == ["Tea", "Tea", 1]
    with queries(database) as asked:
        coffee.save()
    assert len(asked) == len(plainly)
    rows.create(name="Water").delete()
    rows.filter(name="Coffee").update(stock=3)
    assert is_kept(ask)
    rows.filter(name="Tea").update(name="Oolong")
    assert ask() == ["Oolong", "Oolong", 1]
    tea.delete()
    assert not kept().filter(pk=tea.pk).exists()
    absent = (coffee.pk or 0) + 50
    assert not kept().filter(pk=absent).exists()
    for _ in range(60):
        made = rows.create(name="Milk")
        if made.pk == absent:
            break
    assert kept().filter(pk=absent).exists()


# What is declared.


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("colour",), "'colour', and there is no such field with a column. Possible are: id, "),
        (("tags",), "'tags', and there is no such field"),
    ],
)
def test_what_is_no_column(
    server: str, monkeypatch: pytest.MonkeyPatch, given: Any, says: str
) -> None:
    monkeypatch.setattr(Product._meta.managers_map["objects"], "versions", given)
    where = "CachedManager(versions=…) of shop.Product got "
    with pytest.raises(ConfigurationError, match="CachedManager") as refused:
        cache_results_of(Product)
    assert str(refused.value).startswith(where + says)
    found = [one for one in Product.check() if isinstance(one, Error)]
    assert [(one.id, one.msg) for one in found] == [("redisdict.E102", str(refused.value))]


@pytest.mark.parametrize(
    ("model", "name", "says"),
    [
        (Place, "facts", "a JSONField of django.db.models.fields.json: which of its values"),
        (Place, "at", "a PointField of tests.shop.models: which of its values"),
        (Place, "name_in_capitals", "a GeneratedField of django.db.models.fields.generated:"),
        (Place, "picture", "a FileField of django.db.models.fields.files:"),
        (Mailbox, "address", "a LowercaseField of tests.shop.spellings: which of its values"),
    ],
)
def test_a_column_whose_equality_is_not_known(model: Any, name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match="versions=…") as refused:
        versions._column(model, name)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("category", r"CachedManager\(versions='category'\): a tuple of field names is expected"),
        ((1,), r"CachedManager\(versions=\(1,\)\): 1 is int; names of fields are expected"),
    ],
)
def test_what_is_no_name(given: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        CachedManager(versions=given)


@isolate_apps("tests.shop")
def test_managers_are_inherited_and_copied() -> None:
    class Kind(models.Model):
        colour = models.CharField(max_length=10)
        objects = CachedManager(versions=("colour",))

        class Meta:
            abstract = True
            app_label = "shop"

    class Own(Kind):  # noqa: DJ008  # nobody looks at one
        size = models.IntegerField(default=0)

        class Meta:
            app_label = "shop"

    class Child(Own):  # noqa: DJ008  # as above
        class Meta:
            app_label = "shop"

    assert [field.name for field in versions.declared_columns(Own)] == ["colour"]
    assert versions.declared_columns(Child) == []  # the column is of the parent's table
    assert Child.check() == []


def test_another_alias_has_no_columns(drinks: Category, server: str) -> None:
    """Nobody has declared there that changes be announced."""
    from django.conf import settings

    from redisdict import NotCacheable

    both = {**settings.REDISDICT, "other": settings.REDISDICT["default"]}
    with (
        override_settings(REDISDICT=both),
        pytest.raises(NotCacheable, match="cache_results_of"),
    ):
        list(CachedQuerySet(Product).cached(using="other").filter(category=drinks))
