"""The stored form of every format, byte by byte.

Data outlives versions. When one of these fails, values on somebody's server have become unreadable
or would be written in a form that older versions can't read: change the code, not the bytes here.
"""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.safestring import SafeString
from psycopg.types.range import Range

from redisdict.codec import Codec, get_codec
from tests.codec.comparing import assert_same
from tests.codec.models import Author
from tests.codec.registered import Pair, Planet, Point, Rights

MSGPACK: list[tuple[Any, bytes]] = [
    (0, b"0"),
    (-42, b"-42"),
    (10**30, b"1000000000000000000000000000000"),
    (None, b"\x80\xc0\x04H>\xe1"),
    (True, b"\x80\xc3\xbe\x197x"),
    (False, b"\x80\xc2()0\x0f"),
    (1.5, b"\x80\xcb?\xf8\x00\x00\x00\x00\x00\x00\x8d\xc9a4"),
    (float("nan"), b"\x80\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00`\x0b\xfc\x1d"),
    (-0.0, b"\x80\xcb\x80\x00\x00\x00\x00\x00\x00\x008y&l"),
    ("", b"\x80\xa0\\)\x8c\xac"),
    ("Grüße", b"\x80\xa7Gr\xc3\xbc\xc3\x9fe{UkF"),
    ("x" * 40, b"\x80\xd9(" + b"x" * 40 + b"\xc4\xfe\x87s"),
    (b"\x00\xff", b"\x80\xc4\x02\x00\xff=\x05m\xa0"),
    (
        [1, [2**63, -(2**63)]],
        b"\x80\x92\x01\x92\xcf\x80\x00\x00\x00\x00\x00\x00\x00"
        b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xb7\xa1s\xc4",
    ),
    ({"a": 1, "b": [None]}, b"\x80\x82\xa1a\x01\xa1b\x91\xc0\x16\xa3\xec\xc3"),
]

EXTENSIONS: list[tuple[Any, bytes]] = [
    (2**2048, b"\x80\xc8\x01\x01\x01\x01" + bytes(256) + b"\x9a\x88?\xb0"),
    (
        [2**64, -(2**63) - 1],
        b"\x80\x92\xc7\t\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00"
        b"\xc7\t\x01\xff\x7f\xff\xff\xff\xff\xff\xff\xffq\xdd\x96?",
    ),
    ("\ud83d", b"\x80\xc7\x03\x02\xed\xa0\xbd\xf0\x99\xd3N"),
    (Decimal("1E+5"), b"\x80\xd6\x031E+5\xcbY\xb8\x88"),
    (Decimal("-NaN7"), b"\x80\xc7\x05\x03-NaN7\xee\xa5[\xf9"),
    (
        datetime(2024, 2, 29, 23, 59, 58, 999999),  # noqa: DTZ001
        b"\x80\xc7\x0b\x04\x07\xe8\x02\x1d\x17;:\x00\x0fB?\xa7#\xfaF",
    ),
    (
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        b"\x80\xc7\x19\x04\x07\xe8\n\x1b\x02\x1e\x00\x80\x00\x00\x00ZEurope/Berlin\xca\xd5\xc8\xc0",
    ),
    (
        datetime(1, 1, 1, tzinfo=UTC),
        b"\x80\xc7\x0c\x04\x00\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00U\x00\xdcAg",
    ),
    (
        datetime(9999, 12, 31, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        b"\x80\xc7\x18\x04'\x0f\x0c\x1f\x00\x00\x00\x00\x00\x00\x00"
        b'O\xff\xff\xff\xff\x00\x01 H\x00\x00\x00\x00\xed"Z<',
    ),
    (
        time(12, 30, 1, 5, tzinfo=timezone(timedelta(hours=1), "CET")),
        b"\x80\xc7\x18\x06\x0c\x1e\x01\x00\x00\x00\x05"
        b"O\x00\x00\x00\x00\x00\x00\x0e\x10\x00\x00\x00\x00=CET\x8eW\xee<",
    ),
    (time(0, 0, fold=1), b"\x80\xc7\x07\x06\x00\x00\x00\x80\x00\x00\x00\xdeCR\xc9"),
    (date(1999, 12, 31), b"\x80\xd6\x05\x07\xcf\x0c\x1f\xf3\xeed?"),
    (
        timedelta(days=-1, seconds=5, microseconds=7),
        b"\x80\xc7\x0c\x07\xff\xff\xff\xff\x00\x00\x00\x05\x00\x00\x00\x07K\x96\x13*",
    ),
    (
        UUID("12345678-1234-5678-1234-567812345678"),
        b"\x80\xd8\x08\x124Vx\x124Vx\x124Vx\x124Vx\x910\x14\x0e",
    ),
    ((1, "a", ()), b"\x80\xc7\x07\t\x93\x01\xa1a\xd4\t\x90\xec\xcb\xc7\x8d"),
    ({3, 1, "b"}, b"\x80\xc7\x05\n\x93\x01\x03\xa1b._`;"),
    ({10, 9, -1}, b"\x80\xd6\n\x93\xff\t\n\xef\xfa\xd7\xbb"),
    ({"bb", "a"}, b"\x80\xc7\x06\n\x92\xa1a\xa2bbhH\xce\x0b"),
    (Range(1, 5), b"\x80\xc7\x06\x14\x93\x01\x05\xa2[)>\x96\x9a\xdc"),
    (Range(empty=True), b"\x80\xd6\x14\x93\xc0\xc0\xc0\x086\xb9*"),
    (frozenset({b"x", None}), b"\x80\xc7\x05\x0b\x92\xc0\xc4\x01x\x0e\xe9(\xc4"),
    (
        {1: "a", (2, 3): {"b": None}},
        b"\x80\xc7\x0e\x0c\x94\x01\xa1a\xc7\x03\t\x92\x02\x03\x81\xa1b\xc0/3\xc3\xb7",
    ),
    (
        Author(id=1, name="Ann"),
        b"\x80\xc7 \r\x97\xaccodec.Author\xc4\x08\xeb\x8fr\xa8\xd6\xack\xf2\xc0\xc3\xc0\x01"
        b"\xa3Ann\xee\x8d\xf8l",
    ),
    (IPv4Address("10.0.0.1"), b"\x80\xd7\x0e10.0.0.1+\xd5\xb5*"),
    (IPv6Address("fe80::1%eth0"), b"\x80\xc7\x0c\x0ffe80::1%eth0\x82@\xa3\x1b"),
    (IPv4Network("10.0.0.0/8"), b"\x80\xc7\n\x1010.0.0.0/8'\x95\x1dY"),
    (IPv6Network("2001:db8::/32"), b"\x80\xc7\r\x112001:db8::/32\xcc\x0b\xe9G"),
    (IPv4Interface("10.0.0.1/8"), b"\x80\xc7\n\x1210.0.0.1/8\xd1F\xb3\x00"),
    (IPv6Interface("2001:db8::1/32"), b"\x80\xc7\x0e\x132001:db8::1/32\x07\x97\xef\xb5"),
    (SafeString("<b>"), b"\x80\xc7\x03\x15<b>\x87\xce+\x82"),
    (SafeString("\ud800"), b"\x80\xc7\x03\x15\xed\xa0\x80\xc7\xbau\xdb"),
    (Planet.VENUS, b"\x80\xc7%\x16\x92\xbdtests.codec.registered.Planet\xa5VENUS\x07\xf0bY"),
    (Rights.READ | Rights.WRITE, b"\x80\xc7\t\x16\x92\xa6rights\x03\xb1I\xf1\x1d"),
    (
        Point(1, "a"),
        b"\x80\xc7+\x16\x97\xbctests.codec.registered.Point\xa1x\x01\xa1y\xa1a\xa4tags\x90[\xe3\xfc,",
    ),
    (
        Pair(1, 2),
        b"\x80\xc7#\x16\x95\xbbtests.codec.registered.Pair\xa1a\x01\xa1b\x02\x80S\x92\x08",
    ),
]

OTHER_SERIALIZERS: list[tuple[str, Any, bytes]] = [
    ("json", {"a": [1, "ü", None, 2.5]}, b'\x81{"a":[1,"\xc3\xbc",null,2.5]}\xe6\xa1\xd77'),
    ("raw", b"\x00abc", b"\xc4\x00abc"),
    ("raw", b"", b"\xc4"),
    (
        "pickle",
        [1, "a"],
        b"\x82\x80\x05\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94(K\x01\x8c\x01a\x94e.m\x01+%",
    ),
]

ABC = "abc" * 20
# Another version of a compressor may write other bytes; what it must do is read these.
COMPRESSED: list[tuple[Any, bytes]] = [
    (ABC, b"\x90x\x9c\xbbi\x93\x98\x94L6\x02\x00\xff\x9a\x18\x0e\x87\xc9:\x13"),
    (ABC, b"\x91x\x9cSJLJ&\x1b)\x01\x00\xdc\x16\x17=\x93-\xb7\xad"),
    (ABC.encode(), b"\x93x\x9cKLJN$\x17\x01\x00\xbc\xbe\x16\xf9\x1b\x86E\xcd"),
    (ABC, b"\xa0(\xb5/\xfd >]\x00\x00(\xd9<abc\x01\x00\xf6tZs{2\xa6"),
    (ABC, b'\xa1(\xb5/\xfd >]\x00\x00("abc"\x01\x00\xf6tD_\xc1\xaaD'),
    (ABC.encode(), b"\xa3(\xb5/\xfd <M\x00\x00\x18abc\x01\x00\xf6tCmO\xd8\x9a"),
    (
        ABC,
        b'\xb0\x04"M\x18h@>\x00\x00\x00\x00\x00\x00\x00\x17\x0f\x00\x00\x00'
        b"_\xd9<abc\x03\x00!Pbcabc\x00\x00\x00\x00\x18\xd3\xb0\xdd",
    ),
    (
        ABC,
        b'\xb1\x04"M\x18h@>\x00\x00\x00\x00\x00\x00\x00\x17\x0e\x00\x00\x00'
        b'O"abc\x03\x00"Pcabc"\x00\x00\x00\x001\xf5\xef\x9d',
    ),
    (
        ABC.encode(),
        b'\xb3\x04"M\x18h@<\x00\x00\x00\x00\x00\x00\x003\r\x00\x00\x00'
        b"?abc\x03\x00!Pbcabc\x00\x00\x00\x00e\x06\xd7\x16",
    ),
]


@pytest.mark.parametrize(("value", "stored"), MSGPACK + EXTENSIONS)
def test_msgpack(value: Any, stored: bytes) -> None:
    assert Codec().encode(value) == stored
    assert_same(Codec().decode(stored), value)


@pytest.mark.parametrize(("serializer", "value", "stored"), OTHER_SERIALIZERS)
def test_other_serializers(serializer: str, value: Any, stored: bytes) -> None:
    assert Codec(serializer).encode(value) == stored
    assert_same(Codec(serializer).decode(stored), value)


@pytest.mark.parametrize(("value", "stored"), COMPRESSED)
def test_compressed(value: Any, stored: bytes) -> None:
    assert_same(Codec().decode(stored), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"-9223372036854775808", -(2**63)),
        # What INCRBYFLOAT of Redis, and of Dragonfly, leaves behind.
        (b"3000.10000000000000009", 3000.1),
        (b"3000.1", 3000.1),
        (b"-0.5", -0.5),
        (b"1e5", 1e5),
        (b"1.5e+21", 1.5e21),
        (b"5E-324", 5e-324),
    ],
)
def test_numbers_that_the_server_has_counted(text: bytes, value: float) -> None:
    assert_same(get_codec().decode(text), value)


def test_every_serializer_and_compressor_is_here() -> None:
    first_bytes = {stored[0] for _value, stored in COMPRESSED}
    assert first_bytes == {0x80 | c << 4 | s for c in (1, 2, 3) for s in (0, 1, 3)}
    codes = {stored[i] for _value, stored in EXTENSIONS for i in range(1, 6)}
    assert set(range(1, 23)) <= codes
