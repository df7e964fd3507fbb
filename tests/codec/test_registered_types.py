"""Types that a project registers: they come back the same, or an error says why they don't."""

from __future__ import annotations

import dataclasses
import enum
import random
import subprocess
import sys
from collections import Counter, OrderedDict
from contextlib import suppress
from fractions import Fraction
from typing import Any

import pytest
from django.utils.functional import cached_property
from django.utils.safestring import SafeString, mark_safe
from hypothesis import given, settings
from hypothesis import strategies as st
from ormsgpack import Ext, packb

from redisdict.codec import get_codec, messagepack, register_type, slow_path
from redisdict.codec.envelope import seal
from redisdict.exceptions import DeserializationError, SerializationError
from tests.codec import registered
from tests.codec.comparing import assert_same
from tests.codec.models import Color
from tests.codec.registered import (
    Bits,
    Counted,
    Level,
    Loose,
    OpenRights,
    Pair,
    Place,
    Planet,
    Point,
    Rights,
    Word,
)
from tests.codec.strategies import hashables, scalars, text, values
from tests.depth import examples

codec = get_codec("msgpack", None)


@pytest.fixture(autouse=True)
def others() -> None:
    registered.register_others()


def again(value: Any) -> Any:
    return codec.decode(codec.encode(value))


members = st.sampled_from(
    [*Planet, *Level, *Word, Rights(0), *Rights, Rights.READ | Rights.WRITE, OpenRights(9)]
)
hashable_ones = st.one_of(members, st.builds(Pair, hashables, hashables), st.fractions())


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(Point, st.integers(), inner, st.lists(inner, max_size=3)),
        st.builds(Place, text, inner),
        st.builds(Pair, inner, inner),
        st.dictionaries(hashable_ones, inner, max_size=3),
        st.dictionaries(hashables, inner, max_size=3).map(OrderedDict),
        st.dictionaries(text, st.integers(), max_size=3).map(Counter),
        st.sets(hashable_ones, max_size=3),
        st.lists(inner, max_size=3),
    )


registered_values = st.recursive(scalars | hashable_ones, around, max_leaves=8)


def parts_of(value: Any) -> Any:
    """Plain values that are the same exactly if these are."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return [type(value), *(parts_of(getattr(value, name)) for name in names)]
    if isinstance(value, list | tuple):
        return [type(value), *map(parts_of, value)]
    if isinstance(value, dict):
        return [type(value), *(parts_of(part) for item in value.items() for part in item)]
    if isinstance(value, set | frozenset):
        return [type(value), sorted(repr(parts_of(part)) for part in value)]
    if isinstance(value, enum.Enum):
        return [type(value), id(value)]
    return [type(value), repr(value)]


@settings(max_examples=examples(500))
@given(registered_values)
def test_any_value_comes_back_the_same(value: Any) -> None:
    assert repr(parts_of(again(value))) == repr(parts_of(value))
    assert slow_path.dumps(value) == messagepack.dumps(value)


@settings(max_examples=examples(200))
@given(value=values, others=st.lists(text.map(mark_safe), max_size=3))
def test_text_that_is_marked_as_safe_stays_so(value: Any, others: list[SafeString]) -> None:
    whole = [value, {"a": others}, {1: others}, set(others), dict.fromkeys(others, value)]
    assert_same(again(whole), whole)


def test_a_subclass_of_safe_text_is_refused() -> None:
    kind = type("Safer", (SafeString,), {})
    with pytest.raises(SerializationError, match="would come back as a plain str"):
        codec.encode(kind("a"))


@pytest.mark.parametrize(
    "value",
    [
        Planet.MARS,
        Planet.EVENING_STAR,
        Level.HIGH,
        Word.YES,
        Rights.READ | Rights.WRITE,
        OpenRights(8),
        Pair([1], {2}),
        Pair(1),
        Loose(1),
        Point(1, Place("a", Point(2))),
        OrderedDict([(1, "a"), ("b", None)]),
        Counter("abca"),
        Fraction(1, 3),
    ],
)
def test_a_value_comes_back(value: Any) -> None:
    back = again([value, {1: value}])
    assert back == [value, {1: value}]
    assert type(back[0]) is type(value)


def test_a_member_comes_back_as_itself() -> None:
    assert again(Planet.MARS) is Planet.MARS
    assert again({Word.YES: 1}) == {Word.YES: 1}
    assert type(next(iter(again({Word.YES: 1})))) is Word


def test_the_order_of_an_ordered_dict_is_kept() -> None:
    value = OrderedDict(b=1, a=2)
    assert again(value) == value != again(OrderedDict(a=2, b=1))


def test_reading_makes_no_object_by_its_init() -> None:
    value = Counted(number=3, factor=5)
    registered.made.clear()
    assert again(value) == value
    assert again(value).twice == 15
    assert registered.made == []


def test_choices_come_back_as_members_once_they_are_registered() -> None:
    assert type(again(Color.RED)) is str
    register_type(Color)
    assert again([Color.RED])[0] is Color.RED


def test_any_class_by_two_functions() -> None:
    class Celsius:
        def __init__(self, degrees: float) -> None:
            self.degrees = degrees

    register_type(Celsius, name="celsius", to=lambda x: x.degrees, from_=Celsius)
    assert type(again(Celsius(1.5))) is Celsius
    assert again([Celsius(1.5)])[0].degrees == 1.5


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (
            OrderedDict([(1, 2)]),
            b"\x80\xc7\x1b\x16\x93\xb7collections.OrderedDict\x01\x02}\xe67m",
        ),
        (Fraction(1, 3), b"\x80\xc7\x0e\x16\x92\xa8fraction\xa31/3\x1c\x9eO\x01"),
    ],
)
def test_the_stored_form(value: Any, stored: bytes) -> None:
    """As in test_golden_bytes.py: change the code, not these bytes."""
    assert codec.encode(value) == stored
    assert codec.decode(stored) == value


# What can't be stored.


class Extra(Point):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Place("a", object()), r"value\.point: object can't be stored"),
        (Point(1, tags=[0, object()]), r"value\.tags\[1\]: object can't be stored"),
        ([Pair(1, object())], r"value\[0\]\.b: object can't be stored"),
        (OrderedDict(a=object()), r"value\['a'\]: object can't be stored"),
        ({1: OrderedDict([((object,), 1)])}, r"value\[1\], the key .*\[0\]: type can't be stored"),
        (Extra(1), r"value: .*Extra can't be stored"),
    ],
)
def test_the_place_is_named(value: Any, message: str) -> None:
    with pytest.raises(SerializationError, match=f"^{message}"):
        codec.encode(value)


def test_attributes_that_would_be_lost_are_refused() -> None:
    point: Any = Point(1)
    assert point.length == 1.0  # which is kept in the object, and made again
    assert again(point) == point
    point.note = "later"
    with pytest.raises(SerializationError, match="attribute 'note' is no field and would be lost"):
        codec.encode([point])
    loose: Any = Loose(1)
    loose.note = "later"
    with pytest.raises(SerializationError, match="attribute 'note'"):
        codec.encode(loose)


def test_a_field_without_a_value_is_refused() -> None:
    point = Point(1)
    del point.x
    point.__dict__["z"] = 1
    with pytest.raises(SerializationError, match="attribute 'z'"):
        codec.encode(point)
    del point.__dict__["z"]
    with pytest.raises(SerializationError, match="converting it raised AttributeError") as caught:
        codec.encode(point)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_cached_properties_of_django_may_be_lost() -> None:
    @dataclasses.dataclass
    class Square:
        side: int

        @cached_property
        def area(self) -> int:
            return self.side**2

    register_type(Square, name="square")
    assert Square(2).area == 4
    square = Square(3)
    assert square.area == 9
    assert vars(again(square)) == {"side": 3}


def test_a_member_without_a_name_is_refused() -> None:
    class Odd(enum.Enum):
        A = 1

        @classmethod
        def _missing_(cls, value: object) -> Any:
            made = object.__new__(cls)
            made._value_ = value
            made._name_ = "B"
            return made

    register_type(Odd, name="odd")
    assert again(Odd(1)) is Odd.A
    with pytest.raises(SerializationError, match="it is no named member"):
        codec.encode(Odd(2))


def test_what_the_functions_raise_is_told() -> None:
    class Moody:
        pass

    def to(value: Any) -> Any:
        raise RuntimeError("not today")

    register_type(Moody, name="moody", to=to, from_=lambda stored: Moody())
    with pytest.raises(SerializationError, match=r"value\[0\]: .*raised RuntimeError: not today"):
        codec.encode([Moody()])


def test_what_is_taken_apart_into_what_has_no_form() -> None:
    class Wrapped:
        pass

    register_type(Wrapped, name="wrapped", to=lambda value: object(), from_=lambda x: Wrapped())
    with pytest.raises(SerializationError, match=r"^value, stored by its `to`: object can't be"):
        codec.encode(Wrapped())


def test_a_refusal_by_the_functions_stays_what_it_is() -> None:
    class Picky:
        pass

    def to(value: Any) -> Any:
        raise SerializationError("rather not")

    register_type(Picky, name="picky", to=to, from_=lambda stored: Picky())
    with pytest.raises(SerializationError, match=r"^rather not$"):
        codec.encode(Picky())


def test_values_that_contain_themselves_are_refused() -> None:
    point = Point(1)
    point.y = point
    with pytest.raises(SerializationError, match="nests too deep"):
        codec.encode(point)


# What can't be read.


def stored(*parts: Any) -> bytes:
    return seal(b"\x80" + packb(Ext(22, packb(list(parts)))))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("shop.Nothing", 1), r"'shop\.Nothing', which isn't registered.*register_type\(\)"),
        (("os.system", "true"), "isn't registered"),
        (("builtins.eval", "1"), "isn't registered"),
        (("django.http.response.StreamingHttpResponse",), "isn't registered"),
        (("tests.codec.models.Color", "RED"), "isn't registered"),
        ((5,), "AttributeError"),
        (([],), "unhashable"),
        ((), "unpack"),
        (("tests.codec.registered.Planet", "PLUTO"), "none with this name"),
        (("tests.codec.registered.Planet", []), "unhashable"),
        (("tests.codec.registered.Planet",), "unpack"),
        (("rights", 8), "ValueError"),
        (("rights", "1"), "stored as its number"),
        (("bits", 8), "restored as a int"),
        (("fraction", "1/0"), "ZeroDivisionError"),
        (("fraction",), "unpack"),
        (("counter", 5), "TypeError"),
        (("tests.codec.registered.Point", "x"), "zip"),
        (("tests.codec.registered.Point", "x", 1, "z", 2), "fields have changed.*one is gone"),
        (("tests.codec.registered.Point", "x", 1, [], 2), "unhashable"),
        (("tests.codec.registered.Point", "y", 1), "fields have changed.*'x' is new"),
        (("tests.codec.registered.Pair", "b", 1), "fields have changed.*'a' is new"),
        (("collections.OrderedDict", 1), "zip"),
    ],
)
def test_what_is_no_value_is_an_error(parts: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DeserializationError, match=message):
        codec.decode(stored(*parts))


def test_fields_that_are_new_have_their_defaults() -> None:
    name = "tests.codec.registered"
    first, second = (codec.decode(stored(f"{name}.Point", "x", 1)) for _ in range(2))
    assert first == Point(1)
    assert first.tags is not second.tags
    assert codec.decode(stored(f"{name}.Pair", "a", 1)) == Pair(1, 5)


def test_the_order_of_fields_may_change() -> None:
    value = codec.decode(stored("tests.codec.registered.Pair", "b", 1, "a", 2))
    assert value == Pair(2, 1)


def test_a_function_that_gives_something_else_is_told() -> None:
    class Wrong:
        pass

    register_type(Wrong, name="wrong", to=lambda value: 1, from_=lambda stored: stored)
    with pytest.raises(DeserializationError, match=r"restored as a int.*has to give a .*Wrong"):
        again(Wrong())


def test_an_error_of_the_package_in_a_function_stays_what_it_is() -> None:
    class Gone:
        pass

    def from_(stored: Any) -> Any:
        raise DeserializationError("it is gone")

    register_type(Gone, name="gone", to=lambda value: 1, from_=from_)
    with pytest.raises(DeserializationError, match=r"^it is gone$"):
        again(Gone())


def test_damage_is_an_error_and_never_another_value() -> None:
    chance = random.Random(16)
    whole = codec.encode([Point(1, Place("a", 2)), Level.HIGH, Pair(1, 2), mark_safe("<b>")])
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DeserializationError):
            codec.decode(bytes(flipped))
    for _ in range(20_000):  # forged: the checksum fits
        forged = bytearray(whole[:-4])
        for _ in range(chance.randint(1, 3)):
            forged[chance.randrange(1, len(forged))] = chance.randrange(256)
        with suppress(DeserializationError):
            codec.decode(seal(bytes(forged)))


def test_a_member_of_bits_comes_back() -> None:
    assert again(Bits.ONE) is Bits.ONE


def test_another_process_reads_what_it_has_registered() -> None:
    """And says what to do about the rest; the names don't depend on the process."""
    program = (
        "import sys; from redisdict.codec import get_codec; "
        "exec(sys.argv[2]); print(get_codec().decode(bytes.fromhex(sys.argv[1])))"
    )
    value = codec.encode(Pair(1, Level.HIGH)).hex()
    command = [sys.executable, "-c", program, value]
    done = subprocess.run([*command, ""], capture_output=True, text=True)
    assert "'tests.codec.registered.Level', which isn't registered in this process" in done.stderr
    done = subprocess.run(
        [*command, "import tests.codec.registered"], capture_output=True, text=True
    )
    assert done.stdout == "Pair(a=1, b=<Level.HIGH: 2>)\n"
