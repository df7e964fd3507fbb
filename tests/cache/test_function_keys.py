"""The keys of `@cached`: one for equal arguments, another for others."""

from __future__ import annotations

import copy
import enum
import inspect
import uuid
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from datetime import time as time_of_day
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from redisdict.cache import DictCache, cached
from redisdict.cache.argument_keys import LONGEST, KeyMaker, encode_value
from tests.cache import decorated
from tests.cache.decorated import Plain, Shop, SmallShop, doubled
from tests.shop.models import Category, Product, ProductProxy
from tests.strategies import nested


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
VALUES = nested(SCALARS)


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
    assert long.startswith(f"{decorated.__name__}.doubled#")
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
    assert cache.delete_pattern(f"{decorated.__name__}.doubled[:#]*") == 2
    assert cache.delete_pattern("shown[:#]*") == 2
    assert cache.keys() == []
