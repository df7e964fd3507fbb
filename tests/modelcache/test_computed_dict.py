"""Values that are computed of tables: again after any change, and not before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction
from django.test import override_settings

from redisdict import ComputedDict, ConfigurationError, ModelDict
from redisdict.exceptions import BackendUnavailable
from redisdict.modelcache.overview import overview
from tests.modelcache.counting import queries
from tests.modelcache.upserts import upsert
from tests.shop.models import Book, Category, Named, Price, Product, ProductProxy, Tag
from tests.waiting import wait_until


class Menu:
    """The names of products by category, and how often they were computed."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, category: str) -> list[str]:
        self.computed += 1
        rows = Product.objects.filter(category__name=category).order_by("name")
        return [row.name for row in rows]


@pytest.fixture
def compute() -> Menu:
    return Menu()


@pytest.fixture
def menu(server: str, database: str, compute: Menu) -> ComputedDict[list[str]]:
    made = ComputedDict("menu", depends_on=[Product, Category], compute=compute)
    drinks = Category.objects.create(name="Drinks")
    Product.objects.create(name="Tea", category=drinks, slug="tea")
    assert made["Drinks"] == ["Tea"]
    assert made["Drinks"] == ["Tea"]
    assert compute.computed == 1
    return made


def _is_kept(menu: ComputedDict[Any], compute: Menu) -> bool:
    """Whether it isn't computed again."""
    before = compute.computed
    _ = menu["Drinks"]
    return compute.computed == before


def _drinks() -> Category:
    return Category.objects.get()


def _insert() -> None:
    Product.objects.create(name="Coffee", category=_drinks())


def _insert_many() -> None:
    Product.objects.bulk_create([Product(name=name, category=_drinks()) for name in "AB"])


def _upsert() -> None:
    upsert(
        Product.objects, Product(name="Coffee", slug="tea", category=_drinks()), "slug", ["name"]
    )


def _save() -> None:
    product = Product.objects.get()
    product.name = "Coffee"
    product.save()


def _update() -> None:
    Product.objects.update(name="Coffee")


def _update_what_is_joined() -> None:
    Category.objects.update(name="Food")


def _bulk_update() -> None:
    product = Product.objects.get()
    product.name = "Coffee"
    Product.objects.bulk_update([product], ["name"])


def _delete() -> None:
    Product.objects.all().delete()


def _delete_one() -> None:
    Product.objects.get().delete()


def _delete_what_is_pointed_at() -> None:
    _drinks().delete()


def _delete_without_signals() -> None:
    Product.objects.all()._raw_delete(Product.objects.db)


def _move_by_sql() -> None:
    with connections[Product.objects.db].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET category_id = NULL")


def _empty_by_sql() -> None:
    connection = connections[Product.objects.db]
    verb = "TRUNCATE shop_product CASCADE" if connection.vendor == "postgresql" else None
    with connection.cursor() as cursor:
        cursor.execute(verb or "DELETE FROM shop_product")


def _through_a_child() -> None:
    Book.objects.create(name="Leaves", category=_drinks(), pages=3)


def _through_a_proxy() -> None:
    ProductProxy.objects.update(name="Coffee")


def _many_to_many() -> None:
    Product.objects.get().tags.add(Tag.objects.create(name="hot"))


WAYS = [value for name, value in list(globals().items()) if callable(value) and name[0] == "_"]
WAYS = [
    way
    for way in WAYS
    if way.__name__ not in ("_is_kept", "_drinks") and way.__module__ == __name__
]
CHANGES = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))


@CHANGES
def test_any_change_of_its_tables_has_it_computed_again(
    menu: ComputedDict[list[str]], compute: Menu, way: Callable[[], None]
) -> None:
    way()
    assert not _is_kept(menu, compute)
    assert menu["Drinks"] == compute("Drinks")
    assert _is_kept(menu, compute)


@CHANGES
def test_a_transaction_sees_its_own_changes_and_others_see_them_after_it(
    menu: ComputedDict[list[str]], compute: Menu, way: Callable[[], None]
) -> None:
    with transaction.atomic(using=Product.objects.db):
        way()
        assert menu["Drinks"] == compute("Drinks")
        assert elsewhere(lambda: _is_kept(menu, compute))
    assert not _is_kept(menu, compute)
    assert menu["Drinks"] == compute("Drinks")


@CHANGES
def test_what_is_rolled_back_changes_nothing(
    menu: ComputedDict[list[str]], compute: Menu, way: Callable[[], None]
) -> None:
    with suppress(ZeroDivisionError), transaction.atomic(using=Product.objects.db):
        way()
        raise ZeroDivisionError
    assert menu["Drinks"] == ["Tea"]
    assert menu["Drinks"] == ["Tea"]


def test_a_savepoint_that_is_rolled_back(menu: ComputedDict[list[str]]) -> None:
    with transaction.atomic(using=Product.objects.db):
        with suppress(ZeroDivisionError), transaction.atomic(using=Product.objects.db):
            _update()
            raise ZeroDivisionError
        assert menu["Drinks"] == ["Tea"]
        Category.objects.create(name="Food")
    assert menu["Drinks"] == ["Tea"]


def test_changes_of_other_tables_leave_it(menu: ComputedDict[Any], compute: Menu) -> None:
    Tag.objects.create(name="cold")
    Price.objects.create(product=Product.objects.get(), currency="EUR", amount=2)
    assert _is_kept(menu, compute)


def test_the_tags_of_a_product_are_a_part_of_it(server: str, database: str) -> None:
    def compute(name: str) -> list[str]:
        return list(Product.objects.get(name=name).tags.values_list("name", flat=True))

    tags = ComputedDict("tags", depends_on=[Product, Tag], compute=compute)
    product = Product.objects.create(name="Tea")
    hot, green = (Tag.objects.create(name=name) for name in ("hot", "green"))
    assert tags["Tea"] == []
    product.tags.add(hot)
    assert tags["Tea"] == ["hot"]
    product.tags.set([green])
    assert tags["Tea"] == ["green"]
    assert tags.stats().fills == 3
    green.product_set.clear()
    assert tags["Tea"] == []
    product.tags.add(hot)
    hot.delete()
    assert tags["Tea"] == []


def test_a_hit_asks_no_database(menu: ComputedDict[list[str]], database: str) -> None:
    with queries(database) as asked:
        assert menu["Drinks"] == ["Tea"]
    assert len(asked) == 0


@pytest.mark.parametrize("value", [None, 0, "", "A", (1, 2), [], {"a": (None,)}, b"\xc0"])
def test_values_come_back(server: str, database: str, value: Any) -> None:
    calls = []

    def compute() -> Any:
        calls.append(1)
        return value

    computed: ComputedDict[Any] = ComputedDict("one", depends_on=[Product], compute=compute)
    for _ in range(3):
        got = computed.get()
        assert (got, type(got)) == (value, type(value))
    assert len(calls) == 1


def test_what_would_come_back_otherwise_is_not_kept(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Text(str):
        __slots__ = ()

    values: dict[int, Any] = {1: Text("tea"), 2: object()}
    computed: ComputedDict[Any] = ComputedDict(
        "odd", depends_on=[Product], compute=lambda key: values[key], key_type=int
    )
    for key, value in values.items():
        assert computed[key] is value
        assert computed[key] is value
    assert "A result of ComputedDict('odd') is not cached: of object" in caplog.text
    assert computed.stats().hits == 0


def test_what_reads_another_table_is_not_kept(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    count = ComputedDict("tags", depends_on=[Product], compute=lambda: Tag.objects.count())
    with caplog.at_level(logging.WARNING, "redisdict"):
        assert count.get() == 0
        Tag.objects.create(name="hot")
        assert count.get() == 1
    assert caplog.text.count("it reads shop.Tag too; add that to depends_on.") == 1


def test_what_is_computed_of_others_depends_on_their_tables(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    tags = ComputedDict("tags", depends_on=[Tag], compute=lambda: Tag.objects.count())
    page = ComputedDict("page", depends_on=[Product], compute=lambda: f"{tags.get()} tags")
    assert (page.get(), page.get()) == ("0 tags", "0 tags")  # of a hit no statement tells
    Tag.objects.create(name="hot")
    assert page.get() == "1 tags"
    assert "it reads shop.Tag too" in caplog.text


def test_what_changes_something_is_not_kept(
    server: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    def compute() -> int:
        Product.objects.create(name="Tea")
        return Product.objects.count()

    count = ComputedDict("count", depends_on=[Product], compute=compute)
    assert [count.get(), count.get()] == [1, 2]
    assert "it has changed the database" in caplog.text


def test_an_error_is_the_callers_and_nothing_is_kept(server: str, database: str) -> None:
    errors: list[Exception] = [BackendUnavailable("another server"), ValueError("no")]

    def compute() -> int:
        if errors:
            raise errors.pop(0)
        return 1

    computed = ComputedDict("failing", depends_on=[Product], compute=compute)
    with pytest.raises(BackendUnavailable, match="another server"):
        computed.get()
    with pytest.raises(ValueError, match="no"):
        computed.get()
    assert [computed.get(), computed.get()] == [1, 1]
    assert computed.stats().fills == 1


def test_a_change_while_it_is_computed_is_not_lost(server: str, database: str) -> None:
    names = []

    def compute() -> list[str]:
        names[:] = Product.objects.values_list("name", flat=True)
        if not names:
            elsewhere(lambda: Product.objects.create(name="Tea"))
        return list(names)

    computed = ComputedDict("names", depends_on=[Product], compute=compute)
    assert computed.get() == []
    assert computed.get() == ["Tea"]


def test_a_value_is_computed_once_by_all(server: str, database: str) -> None:
    begun, may_end = threading.Event(), threading.Event()
    calls = []

    def compute() -> int:
        calls.append(1)
        begun.set()
        assert may_end.wait(60)
        return Product.objects.count()

    def declare() -> ComputedDict[int]:
        return ComputedDict("count", depends_on=[Product], compute=compute, lease_timeout=100)

    got: list[int] = []

    def read(computed: ComputedDict[int]) -> None:
        try:
            got.append(computed.get())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=read, args=(declare(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert got == [0] * 4
    assert len(calls) == 1


def test_coroutines(menu: ComputedDict[list[str]], compute: Menu) -> None:
    async def read() -> None:
        assert await menu.aget("Drinks") == ["Tea"]
        assert compute.computed == 1
        await sync_to_async(_update)()
        assert await menu.aget("Drinks") == ["Coffee"]
        assert await menu.aget("Drinks") == ["Coffee"]
        assert compute.computed == 2
        await menu.ainvalidate("Drinks")
        assert await menu.aget("Drinks") == ["Coffee"]
        assert compute.computed == 3
        await menu.aclear()
        assert await menu.aget("Drinks") == ["Coffee"]
        assert compute.computed == 4
        assert (await menu.astats()).fills == 4

    async_to_sync(read)()


def test_a_coroutine_function(server: str, database: str) -> None:
    calls = []

    async def compute(name: str) -> int:
        calls.append(name)
        if name == "wrong":
            raise ValueError(name)
        return await Product.objects.filter(name=name).acount()

    counts: ComputedDict[int] = ComputedDict("counts", depends_on=[Product], compute=compute)

    async def read() -> None:
        assert [await counts.aget("Tea"), await counts.aget("Tea")] == [0, 0]
        await Product.objects.acreate(name="Tea")
        assert [await counts.aget("Tea"), await counts.aget("Tea")] == [1, 1]
        with pytest.raises(ValueError, match="wrong"):
            await counts.aget("wrong")

    async_to_sync(read)()
    assert calls == ["Tea", "Tea", "wrong"]
    with pytest.raises(TypeError, match=r"await d\.aget"):
        _ = counts["Tea"]


def test_by_hand(menu: ComputedDict[list[str]], compute: Menu) -> None:
    menu.invalidate("Drinks")
    assert not _is_kept(menu, compute)
    menu.clear()
    assert not _is_kept(menu, compute)
    with transaction.atomic(using=Product.objects.db):
        menu.invalidate("Drinks")
        elsewhere(lambda: menu["Drinks"])
    assert not _is_kept(menu, compute)
    assert menu.stats().fills >= 3


def test_another_version_of_the_function(server: str, database: str) -> None:
    def declare(version: str) -> ComputedDict[str]:
        return ComputedDict(
            "versioned", depends_on=[Product], compute=lambda: version, version=version
        )

    assert [declare(version).get() for version in "1221"] == ["1", "2", "2", "1"]


def test_in_a_transaction_that_sees_what_is_committed(
    menu: ComputedDict[list[str]], compute: Menu, database: str
) -> None:
    """In ATOMIC_REQUESTS every view is in one."""
    _update()
    with transaction.atomic(using=database):
        assert menu["Drinks"] == ["Coffee"]
    assert _is_kept(menu, compute) is (connections[database].vendor == "postgresql")


def test_in_a_transaction_that_sees_what_was_committed_at_its_beginning(
    menu: ComputedDict[list[str]], compute: Menu, database: str
) -> None:
    if connections[database].vendor == "postgresql":
        begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    else:
        begin = "SELECT 1"
    if connections[database].vendor == "mysql":  # in a transaction it would be too late
        with connections[database].cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with transaction.atomic(using=database):
        with connections[database].cursor() as cursor:
            cursor.execute(begin)
        assert Product.objects.get().name == "Tea"
        elsewhere(_update)
        assert menu["Drinks"] == ["Tea"]  # as every query of this transaction
    assert menu["Drinks"] == ["Coffee"]


def test_rows_and_results_side_by_side(menu: ComputedDict[list[str]], database: str) -> None:
    products = ModelDict(Product)
    product = products[Product.objects.get().pk]
    Product.objects.filter(name="Tea").update(name="Coffee")
    assert products[product.pk].name == "Coffee"
    assert menu["Drinks"] == ["Coffee"]
    Product.objects.create(name="Water", category=_drinks())
    assert menu["Drinks"] == ["Coffee", "Water"]
    assert [one.model for one in overview()] == [
        "shop.Category as a whole",
        "shop.Product",
        "shop.Product as a whole",
    ]


def test_without_the_server(
    menu: ComputedDict[list[str]], compute: Menu, alias_for: Callable[..., dict[str, Any]]
) -> None:
    nowhere = alias_for("redis://127.0.0.1:1/0")
    with override_settings(REDISDICT={"default": nowhere}):
        assert menu["Drinks"] == ["Tea"]
        assert menu["Drinks"] == ["Tea"]
        assert compute.computed == 3
        strict = ComputedDict(
            "menu", depends_on=[Product], compute=compute, serve_when_down=False, strict=True
        )
        with pytest.raises(BackendUnavailable):
            _ = strict["Drinks"]
        with pytest.raises(BackendUnavailable):
            _update()
    assert Product.objects.get().name == "Tea"


def test_what_the_server_was_not_told_of_is_not_believed(
    server: str, database: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    names = ComputedDict(
        "names",
        depends_on=[Product],
        compute=lambda: list(Product.objects.values_list("name", flat=True)),
    )
    assert names.get() == []
    [cached] = names._dependencies.models
    table = cached.table(database)
    table.outages.begin_untold_change(b"a change", 60)
    Product.objects.create(name="Tea")
    assert names.get() == ["Tea"]
    table.outages.end_untold_change(b"a change")
    wait_until(lambda: table.outages.is_calm or names.get() == ["Tea"])
    assert names.get() == ["Tea"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": ""}, "text that isn't empty is expected"),
        ({"compute": 3}, "compute is 3; a function"),
        ({"compute": lambda one, two: 3}, "compute takes one, two; a function of one key"),
        ({"compute": lambda *, one: 3}, "compute takes one; a function of one key"),
        ({"depends_on": []}, "depends_on is empty"),
        ({"depends_on": ["shop.Product"]}, "depends_on has 'shop.Product'; model classes"),
        ({"depends_on": [Named]}, "which is abstract and has no table"),
        ({"lease_timeout": 0}, "lease_timeout is 0; seconds above 0"),
    ],
)
def test_what_it_refuses(options: dict[str, Any], text: str) -> None:
    usual = {"name": "menu", "depends_on": [Product], "compute": lambda: 3}
    with pytest.raises(ConfigurationError, match=text):
        ComputedDict(**{**usual, **options})


def test_keys(server: str, database: str) -> None:
    whole: ComputedDict[int] = ComputedDict("whole", depends_on=[Product], compute=lambda: 3)
    with pytest.raises(TypeError, match=r"without a key, and was given 'Tea'; use d\.get\(\)"):
        _ = whole["Tea"]
    by_key: ComputedDict[Any] = ComputedDict(
        "by key", depends_on=[Product], compute=lambda key: [key]
    )
    with pytest.raises(TypeError, match=r"a function of a key; give one, as in d\[key\]"):
        by_key.get()
    with pytest.raises(TypeError, match="A key of this dict is str, not int"):
        _ = by_key[3]
    assert [by_key[key] for key in ("", "a/b", "ä", "a/b")] == [[""], ["a/b"], ["ä"], ["a/b"]]
    assert by_key.stats().fills == 3
    assert repr(by_key) == "<ComputedDict 'by key' of shop.Product on 'default'>"
    assert by_key


def test_a_built_in_function_is_called_with_the_key(server: str, database: str) -> None:
    lengths = ComputedDict("lengths", depends_on=[Product], compute=len)
    assert lengths["four"] == 4


def elsewhere(function: Callable[[], Any]) -> Any:
    """What the function gives in another thread, over a connection of its own."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    [result] = results
    return result
