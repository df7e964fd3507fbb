"""What type checkers see of a cached function: its own signature."""

from __future__ import annotations

from typing import assert_type

from redisdict.cache import cached


def test_a_function_keeps_its_signature() -> None:
    def check() -> None:
        @cached(timeout=300)
        def total(shop: int, currency: str = "EUR") -> float:
            return 1.5

        assert_type(total(1), float)
        assert_type(total(1, currency="USD"), float)
        assert_type(total.refresh(1), float)
        assert_type(total.invalidate(1, "USD"), bool)
        assert_type(total.key_for(shop=1), str)
        assert_type(total.uncached(1), float)
        total("1")  # type: ignore[arg-type]  # a shop is an int
        total()  # type: ignore[call-arg]  # the shop is missing
        total.invalidate(1, "USD", 3)  # type: ignore[call-arg]  # one too many
        total.refresh(shop="1")  # type: ignore[arg-type]  # as above

    assert callable(check)


def test_its_twins_are_awaited() -> None:
    async def check() -> None:
        @cached()
        def total(shop: int) -> float:
            return 1.5

        assert_type(await total.arefresh(1), float)
        assert_type(await total.ainvalidate(1), bool)
        await total.ainvalidate("1")  # type: ignore[arg-type]  # a shop is an int

    assert callable(check)


def test_a_coroutine_function_keeps_its_signature() -> None:
    async def check() -> None:
        @cached(timeout=None, stale=0)
        async def total(shop: int) -> float:
            return 1.5

        assert_type(await total(1), float)
        assert_type(await total.refresh(1), float)
        assert_type(await total.invalidate(1), bool)
        assert_type(await total.uncached(1), float)
        await total("1")  # type: ignore[arg-type]  # a shop is an int

    assert callable(check)


def test_methods_are_bound() -> None:
    async def check() -> None:
        class Shop:
            @cached()
            def total(self, currency: str) -> float:
                return 1.5

            @cached()
            async def atotal(self, currency: str) -> float:
                return 1.5

        shop = Shop()
        assert_type(shop.total("EUR"), float)
        assert_type(shop.total.invalidate("EUR"), bool)
        assert_type(await shop.atotal("EUR"), float)
        assert_type(await shop.atotal.refresh(currency="EUR"), float)
        shop.total(1)  # type: ignore[arg-type]  # a currency is a str
        await shop.atotal.invalidate()  # type: ignore[call-arg]  # the currency is missing

    assert callable(check)


def test_got_from_the_class_results_are_known() -> None:
    async def check() -> None:
        class Shop:
            @cached()
            def total(self, currency: str) -> float:
                return 1.5

            @cached()
            @classmethod
            def rate(cls, currency: str) -> float:
                return 1.5

            @classmethod
            @cached()
            async def arate(cls, currency: str) -> float:
                return 1.5

            @staticmethod
            @cached()
            def tax(currency: str) -> float:
                return 1.5

        shop = Shop()
        assert_type(Shop.total(shop, "EUR"), float)
        assert_type(Shop.rate("EUR"), float)
        assert_type(Shop.rate.invalidate("EUR"), bool)
        assert_type(shop.rate("EUR"), float)
        assert_type(await Shop.arate("EUR"), float)
        assert_type(Shop.tax("EUR"), float)
        shop.rate(1)  # type: ignore[arg-type]  # a currency is a str

    assert callable(check)
