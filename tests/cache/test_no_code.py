"""Nothing that a server can hold runs code when a cache without pickle reads it."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisdict.cache.codecs import CacheCodec
from redisdict.cache.options import parse_options
from redisdict.codec.envelope import PICKLE, UNCOMPRESSED, ZLIB, format_byte, seal
from redisdict.exceptions import DeserializationError
from tests.depth import examples

ran: list[str] = []


def note() -> None:
    ran.append("ran")


class Dangerous:
    """Its pickle calls a function when it is read."""

    def __reduce__(self) -> Any:
        return note, ()


PROTOCOLS = [pickle.dumps(Dangerous(), protocol) for protocol in range(6)]

#: As other backends would have stored it, and as this package's own pickle serializer would.
STORED = [
    *PROTOCOLS,
    *map(zlib.compress, PROTOCOLS),
    *map(gzip.compress, PROTOCOLS),
    *(seal(format_byte(PICKLE, UNCOMPRESSED) + each) for each in PROTOCOLS),
    *(seal(format_byte(PICKLE, ZLIB) + zlib.compress(each)) for each in PROTOCOLS),
]

OPTIONS: list[dict[str, Any]] = [
    {},
    {"SERIALIZER": "json"},
    {"READ_FROM": "django-redis+json"},
    {"READ_FROM": "django-redis+msgpack"},
]


def codec_of(options: dict[str, Any]) -> CacheCodec:
    parsed = parse_options("default", "redis://127.0.0.1/0", {"OPTIONS": options})
    return CacheCodec(parsed, "msgpack", None)


def test_the_danger_is_real() -> None:
    codec = codec_of({"READ_FROM": "django-redis"})
    for number, stored in enumerate(STORED, start=1):
        codec.decode(stored)
        assert len(ran) == number
    ran.clear()


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_pickles_are_refused(options: dict[str, Any]) -> None:
    codec = codec_of(options)
    for stored in STORED:
        with pytest.raises(DeserializationError):
            codec.decode(stored)
        with pytest.raises(DeserializationError):
            codec.decode_many([stored, stored])
    assert ran == []


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@given(
    stored=st.sampled_from(STORED) | st.binary(max_size=200),
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=5),
    is_sealed=st.booleans(),
)
def test_whatever_they_are_changed_to(
    options: dict[str, Any], stored: bytes, changes: list[tuple[int, int]], is_sealed: bool
) -> None:
    changed = bytearray(stored)
    for place, byte in changes:
        if place < len(changed):
            changed[place] = byte
    data = bytes(changed)
    with suppress(DeserializationError):
        codec_of(options).decode(seal(data) if is_sealed else data)
    assert ran == []


@pytest.mark.hypothesis
def test_nothing_happens_while_forged_values_are_read() -> None:
    """Python's audit hooks are told of nothing; `tests.cache.no_code` says of what it looks for."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cache.no_code", str(examples(1000))],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr[-5000:]
    # Some came through to where they could have done something.
    seen = json.loads(done.stdout)
    assert {"HttpResponse", "TemplateResponse", "Author", "Range", "dict", "bytes"} <= seen.keys()
