"""What type checkers see of a dict.

mypy checks the function bodies; a `type: ignore` that hides no error fails its run, so each states
that there is one. When the tests run, they only see that the names exist.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from redisdict import PersistentDict


class Product:
    name: str


def test_keys_and_values_have_the_types_of_the_dict() -> None:
    def check(products: PersistentDict[int, Product]) -> None:
        assert_type(products[42], Product)
        assert_type(products.get(42), Product | None)
        assert_type(products.get(42, "none"), Product | str)
        assert_type(products.pop(42), Product)
        assert_type(products.pop(42, None), Product | None)
        assert_type(products.popitem(), tuple[int, Product])
        assert_type(products.setdefault(42, Product()), Product)
        assert_type(products.get_many([1, 2]), dict[int, Product])
        assert_type(products.copy(), dict[int, Product])
        assert_type(products | {1: Product()}, dict[int, Product])
        assert_type(products.get_or_set(42, Product), Product)
        kept = products.get_or_set(
            42, Product, 60, stale=60, soft_timeout=0.1, refresh_ahead=5, fail_safe=True
        )
        assert_type(kept, Product)
        assert_type(products.transform(42, lambda product: product), Product)
        assert_type(iter(products), Iterator[int])
        assert_type(products.keys_matching("4*"), Iterator[int])
        assert_type(list(products.items()), list[tuple[int, Product]])
        assert_type(products.child("eu"), PersistentDict[int, Product])
        with products.editing(42) as product:
            assert_type(product, Product)

    assert callable(check)


def test_the_async_twins_have_them_too() -> None:
    async def check(products: PersistentDict[int, Product]) -> None:
        assert_type(await products.aget(42), Product | None)
        assert_type(await products.agetitem(42), Product)
        assert_type(await products.apop(42), Product)
        assert_type(await products.apop(42, "none"), Product | str)
        assert_type(await products.aget_many([1]), dict[int, Product])
        assert_type(await products.acopy(), dict[int, Product])
        assert_type(aiter(products), AsyncIterator[int])
        assert_type(products.aitems(), AsyncIterator[tuple[int, Product]])

        async def compute() -> Product:
            return Product()

        assert_type(await products.aget_or_set(42, compute), Product)
        async with products.aediting(42) as product:
            assert_type(product, Product)

    assert callable(check)


def test_a_wrong_type_is_an_error() -> None:
    def check(products: PersistentDict[int, Product]) -> None:
        products["42"]  # type: ignore[index]  # a key is an int
        products["42"] = Product()  # type: ignore[index]  # a key is an int
        products[42] = "a product"  # type: ignore[assignment]  # a value is a Product
        products.set(42, "a product")  # type: ignore[arg-type]  # a value is a Product
        products.set(42, Product(), timeout="60")  # type: ignore[arg-type]  # seconds

    assert callable(check)


def test_key_type_goes_with_the_type_of_keys() -> None:
    def check() -> None:
        assert_type(PersistentDict[str, int]("d"), PersistentDict[str, int])
        PersistentDict[int, Product]("products", key_type=int)
        PersistentDict[uuid.UUID, Product]("products", key_type=uuid.UUID)
        PersistentDict[datetime.date, int](
            "days",
            key_type=(
                lambda day: day.isoformat().encode(),
                lambda stored: datetime.date.fromisoformat(stored.decode()),
            ),
        )
        # mypy doesn't look at the self of `C[int]()`; an annotation it compares.
        a: PersistentDict[int, int]
        a = PersistentDict("a", key_type=int)
        a = PersistentDict("a")  # type: ignore[assignment]  # keys would be str
        a = PersistentDict("a", key_type=str)  # type: ignore[assignment]  # keys would be str
        a.clear()

    assert callable(check)
