"""A few stored bytes can't make the reader use gigabytes of memory, or its whole stack."""

import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import lz4.frame
import pytest
from ormsgpack import Ext, packb

from redisdict.codec import Codec
from redisdict.codec.codec import DEFAULT_MAX_DECODED_LENGTH
from redisdict.codec.envelope import seal
from redisdict.exceptions import DeserializationError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MEBIBYTE = 1024 * 1024


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit


def lz4_compress(data: bytes) -> bytes:
    compressed: bytes = lz4.frame.compress(data, store_size=True)
    return compressed


FORMATS: list[tuple[int, Callable[[bytes], bytes]]] = [
    (0x93, zlib.compress),
    (0xA3, zstd.compress),
    (0xB3, lz4_compress),
]


@pytest.mark.parametrize(("format_byte", "compress"), FORMATS)
def test_a_decompression_bomb_stops_at_the_limit(
    format_byte: int, compress: Callable[[bytes], bytes]
) -> None:
    bomb = seal(bytes([format_byte]) + compress(bytes(64 * MEBIBYTE)))
    codec = Codec(max_decoded_length=MEBIBYTE)
    with (
        memory_below(4 * MEBIBYTE),
        pytest.raises(DeserializationError, match="more than 1048576 bytes"),
    ):
        codec.decode(bomb)


@pytest.mark.parametrize(("format_byte", "compress"), FORMATS)
def test_the_limit_itself_is_allowed(format_byte: int, compress: Callable[[bytes], bytes]) -> None:
    stored = seal(bytes([format_byte]) + compress(b"x" * 1000))
    assert Codec(max_decoded_length=1000).decode(stored) == b"x" * 1000
    with pytest.raises(DeserializationError, match="more than 999 bytes"):
        Codec(max_decoded_length=999).decode(stored)


@pytest.mark.parametrize(("format_byte", "compress"), FORMATS)
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data + b"more", lambda _data: b"", lambda _data: b"junk"],
)
def test_damaged_compressed_bytes(
    format_byte: int, compress: Callable[[bytes], bytes], damage: Callable[[bytes], bytes]
) -> None:
    body = damage(compress(b"abc" * 1000))
    with pytest.raises(DeserializationError, match="can't be read by RawSerializer"):
        Codec().decode(seal(bytes([format_byte]) + body))


def test_an_lz4_header_that_announces_too_much() -> None:
    header = lz4.frame.LZ4FrameCompressor().begin(source_size=400 * MEBIBYTE)
    forged = seal(b"\xb3" + header + lz4_compress(b"x" * 1000)[len(header) :])
    with (
        memory_below(MEBIBYTE),
        pytest.raises(DeserializationError, match="announces more bytes than the rest can hold"),
    ):
        Codec().decode(forged)


def test_the_default_limit_is_the_largest_value_of_a_redis_server() -> None:
    assert Codec().max_decoded_length == DEFAULT_MAX_DECODED_LENGTH == 512 * MEBIBYTE


ANNOUNCED = b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdd" + ANNOUNCED,
        b"\xdd" + ANNOUNCED + b"\x01",
        (b"\xdd" + ANNOUNCED) * 200,
        b"\x91" + b"\xdd" + ANNOUNCED + b"\x01\x01",
        b"\xdc\xff\xff" * 200,
        b"\xdf" + ANNOUNCED + b"\xa1a\x01",
        b"\xdb" + ANNOUNCED + b"abc",
        b"\xc6" + ANNOUNCED + b"abc",
        b"\xc9" + ANNOUNCED + b"\x01abc",
        packb(Ext(9, b"\xdd" + ANNOUNCED + b"\x01")),
        b"\x91" * 100_000,
        b"\x91" * 1000 + b"\x01",
    ],
    ids=range(12),
)
def test_absurd_lengths_are_refused_before_anything_is_allocated(payload: bytes) -> None:
    with memory_below(MEBIBYTE), pytest.raises(DeserializationError):
        Codec().decode(seal(b"\x80" + payload))


def test_absurd_lengths_are_harmless_where_memory_is_scarce() -> None:
    # Where such a list can't be allocated, the reader of ormsgpack would crash the process.
    script = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
from redisdict.codec import get_codec
from redisdict.codec.envelope import seal
try:
    get_codec().decode(seal(b"\\x80\\xdd\\xff\\xff\\xff\\xff\\x01\\x01"))
except ValueError as error:
    print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "DeserializationError\n"), done.stderr


def nested_tuples(levels: int) -> bytes:
    """Tuples inside tuples, each under as many lists as the reader takes."""
    payload = b"\x91" * 252 + b"\x01"
    for _ in range(levels):
        payload = b"\x91" * 252 + packb(Ext(9, b"\x91" + payload))
    return payload


@pytest.mark.parametrize("levels", [1, 16, 18, 1000])
def test_the_deepest_value_fits_on_a_small_stack(levels: int) -> None:
    outcome: list[str] = []

    def read() -> None:
        try:
            Codec().decode(seal(b"\x80" + nested_tuples(levels)))
        except DeserializationError:
            outcome.append("error")
        else:
            outcome.append("value")

    previous = threading.stack_size(4 * MEBIBYTE)
    try:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(previous)
    assert outcome == ["value" if levels <= 16 else "error"]
