"""`@cached` over functions of a module and over methods: what they look like, and whose keys."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction

from redisdict.cache import DictCache, cached
from tests.cache import decorated
from tests.cache.decorated import Calls, Plain, Shop, SmallShop, adoubled, doubled, fibonacci
from tests.shop.models import Product


def test_it_looks_like_the_function(cache: DictCache) -> None:
    for one in (doubled, adoubled):
        shown: Any = one
        assert shown.__doc__ == "Twice the number."
        assert shown.__name__ in ("doubled", "adoubled")
        assert shown.__module__ == decorated.__name__
        assert list(inspect.signature(shown).parameters) == ["number"]
        assert repr(shown) == f"<cached {decorated.__name__}.{shown.__name__}>"
        assert pickle.loads(pickle.dumps(shown)) is shown
        assert copy.deepcopy(shown) is shown
    assert iscoroutinefunction(adoubled)
    assert not iscoroutinefunction(doubled)
    assert doubled(4) == doubled.uncached(4) == 8
    shop = Shop(1)
    assert list(inspect.signature(shop.total).parameters) == ["currency"]
    again = pickle.loads(pickle.dumps(shop.total))
    assert again("EUR") == shop.total("EUR") == "1 EUR"
    assert Shop.total is Shop.__dict__["total"]
    assert iscoroutinefunction(shop.atotal)


async def test_twins_of_a_function(cache: DictCache) -> None:
    assert await doubled.arefresh(4) == 8
    assert await cache.aget(doubled.key_for(4)) == 8
    assert await doubled.ainvalidate(4) is True
    assert await doubled.ainvalidate(4) is False
    assert await adoubled(4) == await adoubled.uncached(4) == 8
    assert await adoubled.invalidate(number=4) is True


def test_methods(cache: DictCache) -> None:
    Shop.made.clear()
    one, two = Shop(1), Shop(2)
    assert one.total("EUR") == Shop(1).total(currency="EUR") == Shop.total(one, "EUR") == "1 EUR"
    assert two.total("EUR") == "2 EUR"
    assert Shop.made == ["EUR", "EUR"]
    assert one.total.uncached("USD") == "1 USD"
    assert one.total.key_for("EUR") == Shop.total.key_for(one, "EUR")
    assert one.total.invalidate("EUR") is True
    assert one.total.refresh("EUR") == "1 EUR"
    assert SmallShop(1).total.key_for("EUR") != one.total.key_for("EUR")
    assert (two.size, two.size, Shop.made.count("size")) == (20, 20, 1)


async def test_coroutine_methods(cache: DictCache) -> None:
    Shop.made.clear()
    assert await Shop(1).atotal("EUR") == await Shop.atotal(Shop(1), "EUR") == "1 EUR"
    assert await Shop.arate("EUR") == await Shop(1).arate("EUR") == "Shop EUR"
    assert Shop.made == ["EUR", "EUR"]
    assert await Shop(1).atotal.invalidate("EUR")
    assert await Shop.arate.refresh("EUR") == "Shop EUR"


@pytest.mark.parametrize("name", ["rate", "inner_rate"])
def test_class_methods_in_either_order(cache: DictCache, name: str) -> None:
    Shop.made.clear()
    rate = getattr(Shop, name)
    assert rate("EUR") == getattr(Shop(1), name)("EUR") == "Shop EUR"
    assert getattr(SmallShop, name)("EUR") == "SmallShop EUR"
    assert Shop.made == ["EUR", "EUR"]
    assert inspect.getattr_static(Shop, name).__doc__ is None
    if name == "rate" or sys.version_info < (3, 13):
        assert rate.key_for("EUR") == f"{decorated.__name__}.Shop.{name}:{RATE}"
        assert rate.invalidate("EUR") is True
        assert pickle.loads(pickle.dumps(rate))("EUR") == "Shop EUR"


RATE = f'cls=class<{decorated.__name__}.Shop>,currency="EUR"'


def test_a_class_method_without_its_class_is_refused(cache: DictCache) -> None:
    # So Python 3.13 and later give it where @classmethod stands above.
    unbound = inspect.getattr_static(Shop, "inner_rate").__func__
    with pytest.raises(TypeError, match="above @classmethod"):
        unbound.invalidate("EUR")
    assert unbound.key_for(Shop, "EUR") == f"{decorated.__name__}.Shop.inner_rate:{RATE}"
    styled = cached(name="styled")(lambda cls: cls)
    assert styled.key_for("wide") == 'styled:cls="wide"'


@pytest.mark.parametrize("name", ["tax", "outer_tax"])
def test_static_methods_in_either_order(cache: DictCache, name: str) -> None:
    Shop.made.clear()
    assert getattr(Shop, name)("EUR") == getattr(Shop(1), name)("EUR") == "EUR"
    assert Shop.made == ["EUR"]
    assert getattr(Shop(1), name).invalidate("EUR") is True


def test_a_bound_method_as_an_attribute_stays_bound(cache: DictCache) -> None:
    class Other:
        total = Shop(3).total

    assert Other().total("EUR") == "3 EUR"


def test_a_method_of_an_instance_without_key_is_refused(cache: DictCache) -> None:
    with pytest.raises(TypeError, match=r"argument 'self' .*Plain.*key=.*__cache_key__"):
        Plain().by_nothing()
    assert Plain().by_template("EUR") == "EUR"
    assert Plain().by_template.key_for("EUR") == f"{decorated.__name__}.Plain.by_template:7-EUR"


def test_instances_of_models_have_a_key(cache: DictCache) -> None:
    calls = Calls()
    kept = cached(name="kept")(calls.total)
    tea = Product(pk=5, name="Tea")
    assert kept(tea)[2] == kept(Product(pk=5, name="Green tea"))[2] == 1
    assert kept(Product(pk=6))[2] == 2
    assert kept.key_for(tea) == 'kept:shop=shop.Product<5>,currency="EUR",more=(),named={}'


def test_a_function_calls_itself(cache: DictCache) -> None:
    assert fibonacci(30) == 832040
    assert cache.get(fibonacci.key_for(29)) == 514229
