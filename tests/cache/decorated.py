"""Functions and methods under `@cached`, for the tests of it."""

from __future__ import annotations

from typing import Any

from redisdict.cache import cached


class Calls(list[Any]):
    """A function that notes its calls."""

    def total(self, shop: Any, currency: str = "EUR", *more: Any, **named: Any) -> list[Any]:
        self.append((shop, currency, *more, *named.items()))
        return [str(shop), currency, len(self)]


# Functions of a module, which need no name.


@cached(timeout=60)
def doubled(number: int) -> int:
    """Twice the number."""
    return number * 2


@cached(timeout=60)
async def adoubled(number: int) -> int:
    """Twice the number."""
    return number * 2


class Shop:
    made: list[Any] = []

    def __init__(self, number: int) -> None:
        self.number = number

    def __cache_key__(self) -> int:
        return self.number

    @cached()
    def total(self, currency: str) -> str:
        self.made.append(currency)
        return f"{self.number} {currency}"

    @cached()
    async def atotal(self, currency: str) -> str:
        self.made.append(currency)
        return f"{self.number} {currency}"

    @cached()
    @classmethod
    def rate(cls, currency: str) -> str:
        cls.made.append(currency)
        return f"{cls.__name__} {currency}"

    @cached()
    @classmethod
    async def arate(cls, currency: str) -> str:
        cls.made.append(currency)
        return f"{cls.__name__} {currency}"

    @classmethod
    @cached()
    def inner_rate(cls, currency: str) -> str:
        cls.made.append(currency)
        return f"{cls.__name__} {currency}"

    @staticmethod
    @cached()
    def tax(currency: str) -> str:
        Shop.made.append(currency)
        return currency

    @cached()
    @staticmethod
    def outer_tax(currency: str) -> str:
        Shop.made.append(currency)
        return currency

    @property
    @cached()
    def size(self) -> int:
        self.made.append("size")
        return self.number * 10


class SmallShop(Shop):
    pass


class Plain:
    @cached()
    def by_nothing(self) -> int:
        return 1

    @cached(key="{self.number}-{currency}")
    def by_template(self, currency: str) -> str:
        return currency

    number = 7


@cached()
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
