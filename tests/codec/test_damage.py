"""Bytes that were damaged, forged or written by something else give one error and run nothing."""

import pickle
import random
from typing import Any
from zlib import crc32

import pytest
from ormsgpack import Ext, packb

from redisdict.codec import Codec, extensions, get_codec
from redisdict.codec.envelope import UNSEALED_BYTES, seal
from redisdict.exceptions import DeserializationError
from tests.codec import test_golden_bytes as golden

codec = get_codec("msgpack", None)

# All forms but two: numbers, whose text has its own tests, and the uncompressed bytes of "raw",
# which have no checksum by design, so that only their first byte can be found to be damaged.
SEALED: list[bytes] = [
    stored
    for _value, stored in (
        *golden.MSGPACK,
        *golden.EXTENSIONS,
        *golden.COMPRESSED,
        *(row[1:] for row in golden.OTHER_SERIALIZERS),
    )
    if stored[0] >= 0x80 and stored[:1] != UNSEALED_BYTES
]
ran: list[str] = []


class Bomb:
    """Unpickling this runs code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return ran.append, ("boom",)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to three random changes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(changed)) if changed else 0
        match chance.randrange(6):
            case 0 if changed:
                changed[place] ^= 1 << chance.randrange(8)
            case 1 if changed:
                changed[place] = chance.randrange(256)
            case 2:
                del changed[place:]
            case 3:
                changed[place:place] = chance.randbytes(chance.randint(1, 8))
            case 4:
                changed += chance.choice([data, b"\x00", b"\r\n", chance.randbytes(4)])
            case _:
                # Lengths and markers that announce more than there is.
                changed[place : place + 5] = chance.choice([b"\xdd", b"\xdf", b"\xdb", b"\xc9"]) + (
                    chance.choice([b"\xff\xff\xff\xff", b"\x00\xff\xff\xff", b"\x7f\xff\xff\xff"])
                )
    return bytes(changed)


def test_fuzzed_bytes_never_give_a_wrong_value() -> None:
    chance = random.Random(20240229)
    for _ in range(100_000):
        original = chance.choice(SEALED)
        damaged = mutate(original, chance)
        if damaged == original or damaged.isdigit() or damaged[:1] == UNSEALED_BYTES:
            continue  # by chance one of the forms without a checksum
        with pytest.raises(DeserializationError):
            codec.decode(damaged)


def test_fuzzed_bytes_with_a_right_checksum_give_a_value_or_the_error() -> None:
    # What a forger could write: the checksum fits, so the parsers behind it see the damage.
    chance = random.Random(4)
    outcomes = {"value": 0, "error": 0}
    by_pickle_too = [*SEALED, seal(b"\x82" + pickle.dumps([Bomb()]))]
    for _ in range(100_000):
        forged = seal(mutate(chance.choice(by_pickle_too)[:-4], chance))
        try:
            codec.decode(forged)
        except DeserializationError:
            outcomes["error"] += 1
        else:
            outcomes["value"] += 1
    assert min(outcomes.values()) > 1000, outcomes
    assert ran == []


@pytest.mark.parametrize("stored", SEALED)
def test_every_single_flipped_bit_is_noticed(stored: bytes) -> None:
    for bit in range(len(stored) * 8):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DeserializationError):
            codec.decode(bytes(flipped))


def test_no_flipped_bit_makes_bytes_of_another_value_or_another_value_of_bytes() -> None:
    codes = [*range(4), *range(12, 16)]
    first_bytes = {0x80 | c << 4 | s for c in (0, 1, 2, 3, 6, 7) for s in codes}
    flipped = {UNSEALED_BYTES[0] ^ 1 << bit for bit in range(8)}
    assert not first_bytes & flipped
    for first in flipped:
        with pytest.raises(DeserializationError):
            codec.decode(bytes([first]) + b"bytes as they are")


@pytest.mark.parametrize("stored", SEALED)
def test_every_truncation_and_every_appendix_is_noticed(stored: bytes) -> None:
    for length in range(len(stored)):
        with pytest.raises(DeserializationError):
            codec.decode(stored[:length])
    for more in (b"\x00", b"0", stored):
        with pytest.raises(DeserializationError):
            codec.decode(stored + more)


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"-",
        b"+5",
        b"05",
        b"-0",
        b" 5",
        b"5 ",
        b"5\n",
        b"1_000",
        b"0x10",
        b"1.",
        b".5",
        b"1.5.5",
        b"inf",
        b"nan",
        b"1e",
        b"1" * 641,
        b"1." + b"5" * 640,
        b"hello",
        b'{"a": 1}',
        "٣".encode(),
        pickle.dumps([1]),
        b"\x80",
        b"\xff" * 20,
    ],
)
def test_bytes_of_other_programs_are_refused(foreign: bytes) -> None:
    with pytest.raises(DeserializationError, match=f"^{len(foreign)} stored bytes"):
        codec.decode(foreign)


@pytest.mark.parametrize("code", [4, 11, 12, 15])
def test_an_unknown_serializer(code: int) -> None:
    with pytest.raises(DeserializationError, match=f"serializer with the code {code}"):
        codec.decode(seal(bytes([0x80 | code]) + b"x"))


@pytest.mark.parametrize("code", [4, 5, 6, 7])
def test_an_unknown_compressor(code: int) -> None:
    with pytest.raises(DeserializationError, match=f"compressor with the code {code}"):
        codec.decode(seal(bytes([0x80 | code << 4]) + b"x"))


def sealed_extension(code: int, data: bytes) -> bytes:
    return seal(b"\x80" + packb(Ext(code, data)))


@pytest.mark.parametrize(
    ("code", "data", "message"),
    [
        (0, b"", "extension type 0 isn't known"),
        (99, b"x", "extension type 99 isn't known"),
        (3, b"12x", "InvalidOperation"),
        (4, b"\x07", "requires"),
        (4, b"\x07\xe8\x0d\x01\x00\x00\x00\x00\x00\x00\x00", "month"),
        (4, b"\x07\xe8\x01\x01\x00\x00\x00\x00\x00\x00\x00X", "time zones have no form"),
        (4, b"\x07\xe8\x01\x01\x00\x00\x00\x00\x00\x00\x00U!", "time zones have no form"),
        (4, b"\x07\xe8\x01\x01\x00\x00\x00\x00\x00\x00\x00ZNowhere/Atlantis", "Atlantis"),
        (4, b"\x07\xe8\x01\x01\x00\x00\x00\x00\x00\x00\x00Z../../etc/passwd", "ZoneInfo"),
        (8, b"123", "16-char"),
        (9, b"\x01", "not iterable"),
        (10, b"\x91\x90", "unhashable"),
        (12, b"\x91\x01", "zip"),
        (12, b"\x92\x90\x01", "unhashable"),
        (13, b"\x91\x01", "unpack"),
        (14, b"1.2.3", "Expected 4 octets"),
    ],
)
def test_forged_extensions(code: int, data: bytes, message: str) -> None:
    with pytest.raises(DeserializationError, match=message):
        codec.decode(sealed_extension(code, data))


def test_the_innermost_cause_is_told() -> None:
    inner = Ext(9, packb([Ext(3, b"nonsense")]))
    with pytest.raises(DeserializationError, match="InvalidOperation") as caught:
        codec.decode(seal(b"\x80" + packb([{"a": inner}])))
    assert caught.value.__cause__ is not None


def test_an_error_leaves_nothing_behind_for_the_next_one() -> None:
    with pytest.raises(DeserializationError, match="InvalidOperation"):
        codec.decode(sealed_extension(3, b"nonsense"))
    with pytest.raises(DeserializationError, match="unexpected end"):
        codec.decode(seal(b"\x80\x92\x01"))


def test_forged_model_instances() -> None:
    for parts in (
        ["codec.Nothing", b"", None, False, None],
        ["nonsense", b"", None, False, None],
        ["codec.Author", b"12345678", None, False, None, 1, "a"],
        [5, b"", None, False, None],
    ):
        with pytest.raises(DeserializationError):
            codec.decode(sealed_extension(13, packb(parts)))
    stored = codec.encode(golden.Author(id=1, name="Ann"))
    short = stored[:-4].replace(b"\xa3Ann", b"").replace(b"\xc7\x20", b"\xc7\x1c")
    with pytest.raises(DeserializationError, match="damaged"):
        codec.decode(seal(short.replace(b"\x97\xac", b"\x96\xac")))


def test_pickle_is_never_read_unasked() -> None:
    stored = seal(b"\x82" + pickle.dumps(Bomb()))
    with pytest.raises(DeserializationError, match=r"SERIALIZER 'pickle' or also_read"):
        codec.decode(stored)
    assert ran == []


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b"\x80\x05.", pickle.dumps(1) + b"x", b"cos\nnothing\n."]
)
def test_damaged_pickles(body: bytes) -> None:
    with pytest.raises(DeserializationError, match="can't be read by PickleSerializer"):
        get_codec("pickle").decode(seal(b"\x82" + body))


def test_messages_do_not_hold_the_value() -> None:
    secret = b"very secret" + b"\xff" * 1000
    for stored in (
        secret,
        seal(b"\x81" + secret),
        seal(b"\x80" + packb(Ext(3, secret))),
        seal(b"\x90" + secret),
    ):
        with pytest.raises(DeserializationError) as caught:
            codec.decode(stored)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"NaN", b"1 2", b"\xff", b"[" * 100_000])
def test_damaged_json(body: bytes) -> None:
    with pytest.raises(DeserializationError, match="can't be read by JsonSerializer"):
        codec.decode(seal(b"\x81" + body))


def test_ctrl_c_while_decoding_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(extensions.UNPACK_OF_CODE, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        codec.decode(sealed_extension(3, b"1"))


def test_the_checksum_is_the_plain_crc_32() -> None:
    stored = Codec().encode("text")
    assert int.from_bytes(stored[-4:], "little") == crc32(stored[:-4])
