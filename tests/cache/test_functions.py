"""`@cached`: what it keeps, under which keys, in both colours, over caches and dicts."""

from __future__ import annotations

import asyncio
import copy
import enum
import functools
import inspect
import pickle
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from datetime import time as time_of_day
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import iscoroutinefunction
from django.core.cache import caches
from django.test import override_settings
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

import redisdict.cache
from redisdict import ConfigurationError, PersistentDict, SerializationError
from redisdict.cache import DictCache, cached
from redisdict.cache.argument_keys import LONGEST, KeyMaker, encode_value
from tests.cache.conftest import entry
from tests.forks.forking import Child
from tests.shop.models import Category, Product, ProductProxy
from tests.waiting import LIMIT_S, wait_until

STORES = ("msgpack", "pickle", "hash", "keys", "locmem")

#: Another backend lets several compute, and doesn't tell how long a value lives.
once = pytest.mark.parametrize("store", STORES[:-1], indirect=True)


class Shown:
    """A cached function in one colour, whose methods are called alike in both."""

    def __init__(self, made: Any, runner: asyncio.Runner | None) -> None:
        self.made = made
        self.runner = runner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.made, args, kwargs)

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.made.refresh, args, kwargs)

    def invalidate(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.made.invalidate, args, kwargs)

    def _run(self, call: Any, args: Any, kwargs: Any) -> Any:
        if self.runner is None:
            return call(*args, **kwargs)

        async def awaited() -> Any:
            return await call(*args, **kwargs)

        return self.runner.run(awaited())


def in_colour(function: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    if not is_async:
        return function

    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return coroutine


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest,
    valkey_url: str,
    key_prefix: str,
    configure: Callable[..., None],
    alias_for: Callable[..., dict[str, Any]],
) -> Iterator[Any]:
    """A place to keep values in, with another backend of Django's last."""
    kind = request.param
    if kind in ("hash", "keys"):
        with override_settings(REDISDICT={"default": alias_for(valkey_url)}):
            mapping: PersistentDict[str, Any] = PersistentDict("kept", hset_enabled=kind == "hash")
            yield mapping
            mapping.clear()
        return
    ours = entry(valkey_url, key_prefix, OPTIONS={"SERIALIZER": kind})
    backend = "django.core.cache.backends.locmem.LocMemCache"
    configure(default={"BACKEND": backend, "LOCATION": key_prefix} if kind == "locmem" else ours)
    yield caches["default"]
    caches["default"].clear()


@pytest.fixture
def keep(store: Any, runner: asyncio.Runner | None) -> Callable[..., Shown]:
    """Decorates a function, in the colour of the test."""

    def decorate(function: Callable[..., Any], **options: Any) -> Shown:
        options = {"using": store, "name": "kept", **options}
        made: Any = cached(**options)(in_colour(function, runner is not None))
        return Shown(made, runner)

    return decorate


class Calls(list[Any]):
    """A function that notes its calls."""

    def total(self, shop: Any, currency: str = "EUR", *more: Any, **named: Any) -> list[Any]:
        self.append((shop, currency, *more, *named.items()))
        return [str(shop), currency, len(self)]


def test_a_value_is_computed_once_for_equal_bindings(keep: Callable[..., Shown]) -> None:
    def total(shop: int, currency: str = "EUR") -> list[Any]:
        calls.append(shop)
        return [shop, currency, len(calls)]

    calls: list[int] = []
    kept = keep(total)
    assert (
        kept(1) == kept(1, "EUR") == kept(shop=1) == kept(currency="EUR", shop=1) == [1, "EUR", 1]
    )
    assert kept(1, "USD") == [1, "USD", 2]
    assert kept(2) == [2, "EUR", 3]
    assert calls == [1, 1, 2]


def test_invalidate_and_refresh(keep: Callable[..., Shown]) -> None:
    calls = Calls()
    kept = keep(calls.total)
    assert kept(1) == ["1", "EUR", 1]
    assert kept.refresh(1) == ["1", "EUR", 2]
    assert kept(shop=1) == ["1", "EUR", 2]
    assert kept.invalidate(1, "EUR") is True
    assert kept.invalidate(1) is False
    assert kept(1) == ["1", "EUR", 3]
    assert kept(1, "EUR", 5, a=6) == ["1", "EUR", 4]
    assert kept(1, "EUR", 5, a=6) == ["1", "EUR", 4]


def test_the_entry_lies_under_its_key(keep: Callable[..., Shown], store: Any) -> None:
    kept = keep(lambda a, b=2: a + b)
    assert kept(1) == 3
    assert kept.made.key_for(1) == "kept:a=1,b=2"
    assert store.get("kept:a=1,b=2") == 3
    assert kept.made.uncached.__name__ == "<lambda>"


def test_none_is_kept_unless_it_must_not_be(keep: Callable[..., Shown]) -> None:
    calls: list[str] = []

    def nothing(which: str) -> None:
        calls.append(which)

    kept, not_kept = keep(nothing), keep(nothing, cache_none=False, name="other")
    for _ in range(3):
        assert kept("kept") is None
        assert not_kept("not") is None
    assert calls.count("kept") == 1
    assert calls.count("not") == 3
    assert not_kept.refresh("not") is None
    assert not_kept.invalidate("not") is False
    assert kept.refresh("kept") is None
    assert kept.invalidate("kept") is True


def test_what_becomes_none_is_forgotten(keep: Callable[..., Shown], store: Any) -> None:
    results: list[Any] = ["old"]
    kept = keep(lambda: results[-1], cache_none=False, timeout=0.02, stale=60)
    assert kept() == "old"
    results.append(None)
    wait_until(lambda: kept() is None)
    assert store.get(kept.made.key_for()) is None
    results.append("new")
    assert kept() == "new"
    assert kept.refresh() == "new"
    results.append(None)
    assert kept.refresh() is None
    assert kept.invalidate() is False


@once
def test_the_time_to_live(
    keep: Callable[..., Shown], store: Any, runner: asyncio.Runner | None
) -> None:
    for options, longest in (
        ({"timeout": 5000}, 5000),
        ({"timeout": 5000, "stale": 3000}, 8000),
        ({"timeout": None}, None),
        ({}, store.default_timeout if isinstance(store, DictCache) else None),
    ):
        kept = keep(lambda: 5, **options)
        for ask in (kept, kept.refresh):
            kept.invalidate()
            assert ask() == 5
            left = store.ttl(kept.made.key_for())
            assert left is None if longest is None else longest * 0.65 < left <= longest


def test_an_error_is_the_callers_and_nothing_is_kept(keep: Callable[..., Shown]) -> None:
    results: list[Any] = [0]
    kept = keep(lambda: 1 / results[-1])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept()
    results.append(4)
    assert kept() == 0.25


def test_another_version_begins_anew(keep: Callable[..., Shown]) -> None:
    calls = Calls()
    old, new = keep(calls.total, version=1), keep(calls.total, version="2")
    assert old.made.key_for(1).startswith("kept@1:")
    assert old(1) == old(1) == ["1", "EUR", 1]
    assert new(1) == new(1) == ["1", "EUR", 2]


def test_what_the_serializer_refuses_is_said(cache: DictCache) -> None:
    @cached(name="odd")
    def odd() -> Any:
        return Calls

    with pytest.raises(SerializationError):
        odd()


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


def test_it_looks_like_the_function(cache: DictCache) -> None:
    for one in (doubled, adoubled):
        shown: Any = one
        assert shown.__doc__ == "Twice the number."
        assert shown.__name__ in ("doubled", "adoubled")
        assert shown.__module__ == __name__
        assert list(inspect.signature(shown).parameters) == ["number"]
        assert repr(shown) == f"<cached {__name__}.{shown.__name__}>"
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
        assert rate.key_for("EUR") == f"{__name__}.Shop.{name}:{RATE}"
        assert rate.invalidate("EUR") is True
        assert pickle.loads(pickle.dumps(rate))("EUR") == "Shop EUR"


RATE = f'cls=class<{__name__}.Shop>,currency="EUR"'


def test_a_class_method_without_its_class_is_refused(cache: DictCache) -> None:
    # So Python 3.13 and later give it where @classmethod stands above.
    unbound = inspect.getattr_static(Shop, "inner_rate").__func__
    with pytest.raises(TypeError, match="above @classmethod"):
        unbound.invalidate("EUR")
    assert unbound.key_for(Shop, "EUR") == f"{__name__}.Shop.inner_rate:{RATE}"
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
    assert Plain().by_template.key_for("EUR") == f"{__name__}.Plain.by_template:7-EUR"


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


@cached()
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


# Keys.


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


DISTINCT: list[Any] = [
    *(1, True, "1", 1.0, b"1", Decimal(1), Number.ONE, -1, 2**70, -(2**70), 10**5000, 1.5),
    *(0, False, "", b"", None, "None", 0.0, float("nan"), float("inf"), "nan"),
    *(
        (),
        [],
        set(),
        {},
        "()",
        (1,),
        [1],
        {1},
        ((1,),),
        (1, 1),
        frozenset([1]),
        "1,1",
        ("1,1",),
        {1: 1},
        {1: "1"},
    ),
    *([1, [2]], [[1], 2], ["a", "b"], ["a,b"], ['a","b'], {"a": "b"}, {"a": {"b": 1}}),
    *("a", "A", "ä", "\udcff", "a b", "a%20b", '"a"', "a\n", b"a", b"\xe4", mark_safe("a")),
    *(Colour.RED, "red", Right.READ, Right.WRITE, Right.READ | Right.WRITE, Right(0)),
    *(date(2026, 1, 2), datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)),  # noqa: DTZ001
    *(datetime(2026, 1, 2, tzinfo=ZoneInfo(name)) for name in ("UTC", "Europe/Paris")),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1))),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-1))),
    datetime(2026, 1, 2, fold=1),  # noqa: DTZ001  # without a zone, too
    *(time_of_day(1, 2), time_of_day(1, 2, fold=1), timedelta(1), timedelta(0, 1), timedelta(-1)),
    *(uuid.UUID(int=1), uuid.UUID(int=2), Shop, SmallShop, int, Shop(1), Shop(2), SmallShop(1)),
    *(Product(pk=1), Product(pk=2), ProductProxy(pk=1), Category(pk=1), Product(pk="1")),
]


def test_no_two_of_these_share_a_key() -> None:
    keys = [KeyMaker(doubled, None, None, None).key_of((each,), {}) for each in DISTINCT]
    assert len(set(keys)) == len(DISTINCT)
    assert all(len(key) <= LONGEST and key.isascii() and key.isprintable() for key in keys)
    assert not any(" " in key for key in keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({1: 2, 3: 4}, {3: 4, 1: 2}),
        ({"b", "a", "c"}, {"c", "b", "a"}),
        (Product(pk=1, name="a"), Product(pk=1, name="b")),
        (SimpleLazyObject(lambda: Product(pk=1)), Product(pk=1)),
        (SimpleLazyObject(lambda: 5), 5),
        (Shop(5), Shop(5)),
    ],
)
def test_these_share_a_key(one: Any, other: Any) -> None:
    assert encode_value(one) == encode_value(other)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(SCALARS, max_size=3),
        st.dictionaries(SCALARS, inner, max_size=3),
    ),
    max_leaves=6,
)


def form(value: Any) -> Any:
    """Something that is equal for values that are the same, by another way than the key's."""
    if isinstance(value, list | tuple):
        return type(value), tuple(form(each) for each in value)
    if isinstance(value, frozenset):
        return frozenset, frozenset(form(each) for each in value)
    if isinstance(value, dict):
        return dict, frozenset((form(key), form(each)) for key, each in value.items())
    if isinstance(value, datetime):
        zone: tzinfo | None = value.tzinfo
        return datetime, value.replace(tzinfo=None), value.fold, str(zone), type(zone)
    return type(value), repr(value)


@given(VALUES, VALUES)
def test_keys_are_the_same_exactly_for_the_same_values(one: Any, other: Any) -> None:
    assert (encode_value(one) == encode_value(other)) == (form(one) == form(other))
    assert encode_value(copy.deepcopy(one)) == encode_value(one)


def bound(a: Any, b: Any = 2, /, c: Any = 3, *rest: Any, d: Any = 4, **named: Any) -> None:
    raise AssertionError("Only its signature is looked at.")


BOUND = KeyMaker(bound, None, None, None)


@given(
    st.lists(VALUES, min_size=1, max_size=5),
    st.lists(VALUES, min_size=1, max_size=5),
    st.dictionaries(st.sampled_from(["d", "x", "y"]), SCALARS),
    st.dictionaries(st.sampled_from(["d", "x", "y"]), SCALARS),
)
def test_bindings_share_a_key_exactly_when_they_are_equal(
    one: list[Any], other: list[Any], named: dict[str, Any], others: dict[str, Any]
) -> None:
    def binding(args: list[Any], kwargs: dict[str, Any]) -> Any:
        made = inspect.signature(bound).bind(*args, **kwargs)
        made.apply_defaults()
        return form(dict(made.arguments))

    is_same = binding(one, named) == binding(other, others)
    keys = BOUND.key_of(tuple(one), named), BOUND.key_of(tuple(other), others)
    assert (keys[0] == keys[1]) == is_same
    whole = inspect.signature(bound).bind(*one, **named)
    whole.apply_defaults()
    assert BOUND.key_of(whole.args, dict(reversed(whole.kwargs.items()))) == keys[0]


def test_a_long_key_is_hashed_behind_its_name() -> None:
    maker = KeyMaker(doubled, None, None, None)
    long = maker.key_of(("x" * 1000,), {})
    assert long.startswith(f"{__name__}.doubled#")
    assert len(long.partition("#")[2]) == 64
    assert long != maker.key_of(("x" * 1001,), {})
    named = KeyMaker(doubled, "ein Name, ä" * 30, 1, None).key_of((1,), {})
    assert named.startswith("ein%20Name")
    assert len(named) == 165


def test_the_readable_key() -> None:
    key = KeyMaker(bound, "f", 3, None).key_of((1, "a b"), {"d": [None], "x": {"y": 1.5}})
    assert key == 'f@3:a=1,b="a%20b",c=3,rest=(),d=[None],named={"x":{"y":1.5}}'


class OwnZone(tzinfo):
    pass


LOCAL = type("<locals>", (), {})


@pytest.mark.parametrize(
    "value",
    [
        object(),
        gettext_lazy("text"),
        iter(()),
        len,
        Product(),
        Product(pk=None),
        LOCAL,
        datetime(2026, 1, 2, tzinfo=OwnZone()),
        [{"deep": (object(),)}],
        type("Text", (str,), {})("text"),
    ],
)
def test_no_key_can_be_made_of_these(value: Any) -> None:
    maker = KeyMaker(doubled, None, None, None)
    with pytest.raises(TypeError, match=r"argument 'number' for .*doubled\(\) .* key=") as caught:
        maker.key_of((), {"number": value})
    assert "no key can be made" in str(caught.value)


def test_of_a_key_with_several_parts_all_are_needed() -> None:
    class Both:
        pk = (1, None)

        _meta = SimpleNamespace(label="shop.Both")
        __class__ = Product  # type: ignore[assignment]  # what isinstance() asks

    with pytest.raises(TypeError, match=r"shop\.Both without a primary key"):
        encode_value(Both())


def test_a_template_makes_the_key(cache: DictCache) -> None:
    @cached(name="product", key="{product.pk}:{language}")
    def shown(product: Any, language: str = "en", verbose: bool = False) -> str:
        return f"{product} {language}"

    product = Product(pk=5, name="Tea")
    assert shown(product, verbose=True) == "Tea en"
    assert cache.get("product:5:en") == "Tea en"
    assert cached(name="n", key="all {{}}")(lambda: 1).key_for().startswith("n#")


def test_a_function_makes_the_key(cache: DictCache) -> None:
    @cached(name="page", key=lambda request, page, **more: (request.number, page))
    def page(request: Any, page: int = 1, **more: Any) -> int:
        return page

    assert page.key_for(Plain()) == "page:(7,1)"
    assert page(Plain(), page=3) == cache.get("page:(7,3)") == 3
    wrong = cached(name="wrong", key=lambda: object())(lambda: 1)
    with pytest.raises(TypeError, match=r"What key= gave for wrong\(\)"):
        wrong()


def test_wrong_arguments_are_refused_before_anything_is_asked(cache: DictCache) -> None:
    for args, kwargs in (((), {}), ((1, 2), {}), ((1,), {"other": 1})):
        with pytest.raises(TypeError, match=r"doubled\(\): "):
            doubled(*args, **kwargs)


def test_all_entries_of_a_function_are_found(cache: DictCache) -> None:
    doubled(1)
    doubled(2)
    shown = cached(name="shown")(lambda text: text)
    shown("a" * 500)
    shown("b")
    assert cache.delete_pattern(f"{__name__}.doubled[:#]*") == 2
    assert cache.delete_pattern("shown[:#]*") == 2
    assert cache.keys() == []


# What can't be decorated, and settings that can't be used.


def generator() -> Iterator[int]:
    yield 1


async def agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (generator, {}, r"generator\(\) is a generator.*return a list"),
        (agenerator, {}, r"agenerator\(\) is a generator"),
        (Shop, {}, "a function is expected"),
        (5, {}, "a function is expected"),
        (property(len), {}, "below @property"),
        (lambda: 1, {}, r"<lambda> has no name of its own.*name="),
        (doubled.uncached, {"timeout": 0}, "timeout of .* is 0, so nothing would be kept"),
        (doubled.uncached, {"timeout": "60"}, "timeout of .* is '60'; seconds are expected"),
        (doubled.uncached, {"timeout": True}, "timeout of .* is True; seconds are expected"),
        (doubled.uncached, {"timeout": 5, "stale": -1}, "stale of .* is -1"),
        (doubled.uncached, {"timeout": 5, "stale": None}, "stale of .* is None"),
        (doubled.uncached, {"stale": 5}, "stale of .* give a timeout above 0"),
        (doubled.uncached, {"timeout": None, "stale": 5}, "give a timeout above 0"),
        (doubled.uncached, {"using": 5}, "using of .* is 5; an alias of CACHES"),
        (doubled.uncached, {"key": 5}, "key of .* is 5; a template or a function"),
        (doubled.uncached, {"key": "{a}"}, r"\{a\}; its parameters are: number\."),
        (functools.partial(doubled, 1), {}, "<nameless> has no name of its own"),
        (doubled.uncached, {"key": "{}"}, r"\{\}; its parameters are: number\."),
        (fibonacci.uncached, {"key": "{0}"}, r"\{0\}; its parameters are: n\."),
        (doubled.uncached, {"version": 1.5}, r"version of .* is 1\.5"),
        (doubled.uncached, {"name": 5}, "name of .* is 5"),
    ],
)
def test_refused_at_the_decoration(function: Any, options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        cached(**options)(function)


def test_a_dict_with_other_keys_is_refused() -> None:
    numbers: PersistentDict[int, int] = PersistentDict("numbers", key_type=int)
    with pytest.raises(ConfigurationError, match="keys aren't str"):
        cached(using=numbers)(doubled.uncached)  # type: ignore[arg-type]  # the point


def test_an_unknown_alias_is_told_at_the_first_use(configure: Callable[..., None]) -> None:
    wrong = cached(using="othr", name="wrong")(lambda: 1)
    configure(default=entry("redis://127.0.0.1:1"), other=entry("redis://127.0.0.1:1"))
    with pytest.raises(ConfigurationError, match=r"wrong\(\).*'othr'.*'default', 'other'"):
        wrong()


def test_a_wrong_entry_is_told_at_the_first_use(configure: Callable[..., None]) -> None:
    configure(default=entry("redis://127.0.0.1:1", OPTIONS={"SERIALISER": "pickle"}))
    with pytest.raises(ConfigurationError, match="SERIALISER"):
        doubled(1)
    configure(default={"BACKEND": "no.such.Backend"})
    with pytest.raises(ConfigurationError, match=r"no\.such\.Backend"):
        doubled(1)


def test_it_is_imported_at_its_first_use() -> None:
    code = "import sys, redisdict.cache as c; print('redisdict.cache.functions' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; c.cached; {code}"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="has no attribute 'cach'"):
        redisdict.cache.cach  # type: ignore[attr-defined]  # the point # noqa: B018


# One computation for all.


@once
def test_one_of_many_threads_computes(store: Any) -> None:
    calls: list[int] = []
    results: list[int] = []
    barrier = threading.Barrier(20)

    @cached(using=store, name="slow")
    def slow(number: int) -> int:
        calls.append(number)
        wait_until(lambda: barrier.n_waiting == 0)
        time.sleep(0.05)
        return number * 2

    def ask() -> None:
        barrier.wait()
        results.append(slow(4))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [8] * 20
    assert calls == [4]


@once
async def test_one_of_many_tasks_computes(store: Any) -> None:
    calls: list[int] = []

    @cached(using=store, name="slow")
    async def slow(number: int) -> int:
        calls.append(number)
        await asyncio.sleep(0.05)
        return number * 2

    assert await asyncio.gather(*(slow(4) for _ in range(1000))) == [8] * 1000
    assert calls == [4]


@once
def test_one_of_several_processes_computes(store: Any) -> None:
    def ask() -> Any:
        calls: list[int] = []

        @cached(using=store, name="slow")
        def slow(number: int) -> int:
            calls.append(number)
            time.sleep(0.2)
            return number * 2

        return slow(4), len(calls)

    children = [Child(ask) for _ in range(6)]
    results = [child.result() for child in children]
    assert [value for value, _ in results] == [8] * 6
    assert sum(count for _, count in results) == 1


@once
def test_the_old_value_is_served_meanwhile(store: Any) -> None:
    results = ["old"]
    is_computing, may_end = threading.Event(), threading.Event()

    @cached(using=store, name="slow", timeout=0.02, stale=60)
    def slow() -> str:
        if results[-1] == "new":
            is_computing.set()
            assert may_end.wait(LIMIT_S)
        return results[-1]

    assert slow() == "old"
    results.append("new")
    got: list[str] = []

    def ask() -> None:
        wait_until(lambda: got.append(slow()) or got[-1] == "new")

    thread = threading.Thread(target=ask)
    thread.start()
    assert is_computing.wait(LIMIT_S)
    assert slow() == "old"
    may_end.set()
    thread.join()
    assert got[-1] == "new"


def test_a_server_that_is_away(configure: Callable[..., None]) -> None:
    configure(default=entry("redis://127.0.0.1:1", OPTIONS={"IGNORE_EXCEPTIONS": True}))
    assert doubled(4) == doubled.refresh(4) == 8
    assert doubled.invalidate(4) is False
    nothing = cached(name="nothing", cache_none=False)(lambda: None)
    assert nothing() is None
