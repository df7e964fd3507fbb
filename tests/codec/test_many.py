"""Many values at once are what they are one by one, in every mixture."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ormsgpack import Ext, packb

from redisdict.codec import Codec, extensions
from redisdict.codec.envelope import are_whole, seal
from redisdict.exceptions import DeserializationError, SerializationError
from tests.depth import examples

VALUES = st.lists(
    st.one_of(
        st.integers(),
        st.binary(),
        st.text(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
CODECS = [Codec(), Codec(compressor="zlib", compress_min_length=1), Codec("json"), Codec("pickle")]


@pytest.mark.parametrize("codec", CODECS, ids=repr)
@given(values=VALUES.map(lambda values: [v for v in values if not isinstance(v, bytes)]))
def test_many_are_as_one_by_one(codec: Codec, values: list[object]) -> None:
    stored = codec.encode_many(values)
    assert stored == [codec.encode(value) for value in values]
    assert codec.decode_many(stored) == values


@given(st.lists(st.binary()))
def test_raw_too(values: list[bytes]) -> None:
    codec = Codec("raw")
    stored = codec.encode_many(values)
    assert stored == [codec.encode(value) for value in values]
    assert codec.decode_many(stored) == values


@pytest.mark.parametrize("name", ["msgpack", "raw", "json"])
def test_more_than_are_decoded_at_once(name: str) -> None:
    codec = Codec(name)
    values: list[Any] = [str(number) for number in range(5001)]
    if name == "raw":
        values = [value.encode() for value in values]
    stored = codec.encode_many(values)
    assert codec.decode_many(stored) == values
    for at in (0, 1999, 2000, 5000):
        bad = [*stored[:at], b"\x83" + stored[at][1:], *stored[at + 1 :]]
        with pytest.raises(DeserializationError):
            codec.decode_many(bad)


@given(st.lists(st.tuples(st.sampled_from(["raw", "msgpack"]), st.binary()), min_size=1))
def test_a_mixture_of_formats(pairs: list[tuple[str, bytes]]) -> None:
    stored = [Codec(name).encode(value) for name, value in pairs]
    assert Codec().decode_many(stored) == [value for _, value in pairs]


@pytest.mark.parametrize("damage", [b"", b"\x83", b"\x80", b"\xff12345", b"x"])
def test_one_damaged_among_many_is_an_error(damage: bytes) -> None:
    codec = Codec()
    stored = codec.encode_many([b"a", b"b"])
    flipped = bytes([stored[0][0], stored[0][1] ^ 1]) + stored[0][2:]
    for bad in (damage, flipped, stored[1][:-1]):
        with pytest.raises(DeserializationError):
            codec.decode_many([stored[0], bad])
        with pytest.raises(DeserializationError):
            codec.decode_many([*Codec("raw").encode_many([b"a"]), bad])


@given(
    st.lists(st.sampled_from([None, "", "text", b"x", {"a": [1.5]}]), min_size=1, max_size=2500),
    st.data(),
)
@settings(max_examples=examples(25))
def test_a_flipped_bit_of_one_of_many_is_an_error(
    values: list[object], data: st.DataObject
) -> None:
    stored = Codec().encode_many(values)
    assert Codec().decode_many(stored) == values
    assert are_whole(stored)
    at = data.draw(st.integers(0, len(stored) - 1))
    bit = data.draw(st.integers(0, 8 * len(stored[at]) - 1))
    number = int.from_bytes(stored[at]) ^ 1 << bit
    stored[at] = number.to_bytes(len(stored[at]))
    assert not are_whole(stored)
    with pytest.raises(DeserializationError):
        Codec().decode_many(stored)


def test_the_same_damage_to_two_values_is_an_error() -> None:
    whole = seal(b"\x80" + packb("text"))
    for bits in (1, 0x80, 0xFF):
        bad = whole[:-6] + bytes([whole[-6] ^ bits]) + whole[-5:]
        assert not are_whole([bad])
        assert not are_whole([bad, bad])
        assert not are_whole([whole, bad, whole, bad])


def test_the_end_of_one_value_at_the_beginning_of_the_next_is_an_error() -> None:
    first, second = Codec().encode_many(["a" * 9, "b" * 9])
    with pytest.raises(DeserializationError):
        Codec().decode_many([first[:-3], first[-3:] + second])


def test_one_that_cannot_be_stored_among_many_is_an_error() -> None:
    with pytest.raises(SerializationError):
        Codec().encode_many([1, object()])
    with pytest.raises(SerializationError):
        Codec().encode_many(["a", object()])
    with pytest.raises(SerializationError):
        Codec("raw").encode_many([b"a", 1])
    with pytest.raises(SerializationError):
        Codec("raw").encode_many([b"a", bytearray(b"b")])


def test_text_with_a_lone_surrogate_among_plain_text() -> None:
    values = ["plain", "\ud83d", "text"]
    stored = Codec().encode_many(values)
    assert stored == [Codec().encode(value) for value in values]
    assert Codec().decode_many(stored) == values


@pytest.mark.parametrize(
    "forged",
    [
        b"\x91",  # announces an element that isn't there
        b"\xdd\xff\xff\xff\xff",  # announces more than there is memory for
        b"\xc0\xc0",  # two values
        b"",
        packb(Ext(3, b"no number")),
    ],
)
def test_one_forged_among_many_is_the_error_that_it_is_alone(forged: bytes) -> None:
    stored = [Codec().encode("a"), seal(b"\x80" + forged)]
    with pytest.raises(DeserializationError) as alone:
        Codec().decode(stored[1])
    with pytest.raises(DeserializationError) as among_many:
        Codec().decode_many(stored)
    assert str(among_many.value) == str(alone.value)


def test_ctrl_c_while_decoding_many_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(extensions.UNPACK_OF_CODE, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        Codec().decode_many([seal(b"\x80" + packb(Ext(3, b"1")))])
