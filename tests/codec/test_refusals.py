"""What can't be stored exactly is refused, with the type, the place and the way out named."""

import dataclasses
import enum
import http
import io
import struct
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import datetime, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict

from redisdict.codec import extensions, get_codec
from redisdict.codec.normalize import type_name
from redisdict.exceptions import SerializationError
from tests.codec.models import Author

codec = get_codec("msgpack", None)


class Text(str):
    __slots__ = ()


class Moment(datetime):
    pass


class Zone(tzinfo):
    def __repr__(self) -> str:
        return "Zone()"


class Letter(enum.Enum):
    A = "a"


class Planet(enum.StrEnum):
    MARS = "mars"


@dataclasses.dataclass
class Point:
    x: int = 0


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - what other code hands over

REFUSED: list[tuple[Any, str]] = [
    (object(), "object can't be stored: store the parts"),
    (range(3), "range can't be stored"),
    (1j, "complex can't be stored"),
    (Fraction(1, 2), r"fractions\.Fraction can't be stored"),
    (Path("/"), r"PosixPath can't be stored"),
    (deque([1]), r"collections\.deque can't be stored"),
    (Point(), r"Point can't be stored"),
    (print, "builtin_function_or_method can't be stored"),
    (Author, r"ModelBase can't be stored"),
    (threading.Lock(), "lock can't be stored"),
    ((i for i in ()), "generator can't be stored"),
    (OrderedDict(a=1), r"OrderedDict can't be stored: it would come back as a plain dict"),
    (defaultdict(int), r"store dict\(value\) if that will do"),
    (Counter("a"), r"store dict\(value\)"),
    (QueryDict("a=1"), r"store dict\(value\)"),
    (Pair(1, 2), r"Pair can't be stored.*store tuple\(value\)"),
    (Text("a"), r"Text can't be stored.*store str\(value\)"),
    (http.HTTPStatus.OK, r"HTTPStatus can't be stored: store its \.value"),
    (Letter.A, r"Letter can't be stored: store its \.value"),
    (Planet.MARS, r"Planet can't be stored: store its \.value"),
    (Moment(2024, 1, 1), r"Moment can't be stored"),
    (datetime(2024, 1, 1, tzinfo=Zone()), r"time zone Zone\(\) has no name"),
    (Author.objects.none(), r"QuerySet can't be stored: store list\(queryset\)"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED)
@pytest.mark.parametrize("serializer", ["msgpack", "json", "raw"])
def test_refused_everywhere(serializer: str, value: Any, message: str) -> None:
    with pytest.raises(SerializationError) as caught:
        get_codec(serializer).encode(value)
    assert type(value).__name__ in str(caught.value) or "time zone" in str(caught.value)


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_the_message_says_what_to_do(value: Any, message: str) -> None:
    with pytest.raises(SerializationError, match=f"^value: .*{message}"):
        codec.encode(value)


def test_a_zone_without_a_name_is_refused() -> None:
    # The smallest time zone file: a header that counts one type and four letters, then these.
    counts = (0, 0, 0, 0, 1, 4)
    file = struct.pack(">4s16x6l", b"TZif", *counts) + struct.pack(">l2B4s", 3600, 0, 0, b"CET\0")
    zone = ZoneInfo.from_file(io.BytesIO(file))
    with pytest.raises(SerializationError, match="has no name"):
        codec.encode(datetime(2024, 1, 1, tzinfo=zone))


class Thing:
    def __repr__(self) -> str:
        return "<thing>"


THING = Thing()


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([0, THING], "value[1]"),
        ({"a": [0, 1, 2, THING]}, "value['a'][3]"),
        ((0, THING), "value[1]"),
        ({THING}, "value, one element"),
        ({"a": {(1, THING): 5}}, "value['a'], the key (1, <thing>)[1]"),
        ({5: {"x": THING}}, "value[5]['x']"),
        ({"{}": THING}, "value['{}']"),
        ({"k" * 1000: THING}, "value['kkkkkkkkkkkk...kkkkkkkkkkkkk']"),
    ],
)
def test_the_place_is_named(value: Any, place: str) -> None:
    with pytest.raises(SerializationError) as caught:
        codec.encode(value)
    assert str(caught.value).startswith(f"{place}: {type_name(THING)} can't be stored")


def cyclic_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def cyclic_dict() -> dict[Any, Any]:
    value: dict[Any, Any] = {}
    value["self"] = value
    return value


def cyclic_tuple() -> tuple[Any, ...]:
    inner: list[Any] = []
    value = (inner,)
    inner.append(value)
    return value


def nested(depth: int, wrap: Any, value: Any = 1) -> Any:
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.parametrize(
    "value",
    [
        cyclic_list(),
        cyclic_dict(),
        cyclic_tuple(),
        {1: cyclic_list()},
        nested(10_000, lambda value: [value]),
        nested(10_000, lambda value: {"a": value}),
        nested(10_000, lambda value: {1: value}),
        nested(10_000, lambda value: (value,)),
        nested(300, lambda value: frozenset([value])),
    ],
    ids=lambda _value: "",
)
def test_cycles_and_depth_are_errors_and_no_crash(serializer: str, value: Any) -> None:
    with pytest.raises(SerializationError):
        get_codec(serializer).encode(value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: (value,),
        lambda value: frozenset([value]),
        lambda value: {1: value},
        lambda value: {"\ud800": value},
    ],
)
def test_what_can_be_written_can_be_read_up_to_the_limit(wrap: Any) -> None:
    deepest = nested(16, wrap)
    assert codec.decode(codec.encode(deepest)) == deepest
    with pytest.raises(SerializationError, match="nests too deep"):
        codec.encode(nested(18, wrap))


@pytest.mark.parametrize("leaf", [[], {}, 1, "a", (), (1,), {1: 2}, {1}])
@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}])
def test_lists_and_dicts_nest_250_levels_and_whatever_is_written_can_be_read(
    wrap: Any, leaf: Any
) -> None:
    for depth in range(245, 260):
        deep = nested(depth, wrap, leaf)
        for value in (deep, (deep,), {1: deep}):
            try:
                stored = codec.encode(value)
            except SerializationError:
                assert depth > 250
            else:
                assert codec.decode(stored) == value


def test_ctrl_c_while_encoding_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def interrupted_once(value: object) -> bytes:
        calls.append(value)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return b""

    scalar = dataclasses.replace(extensions.SCALAR_OF_TYPE[datetime], pack=interrupted_once)
    monkeypatch.setitem(extensions.SCALAR_OF_TYPE, datetime, scalar)
    with pytest.raises(KeyboardInterrupt):
        codec.encode([datetime(2024, 1, 1)])  # noqa: DTZ001
