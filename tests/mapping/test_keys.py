"""Keys are strict, and come back as they were."""

import uuid
from typing import Any

import pytest

from redisdict.exceptions import ConfigurationError, DeserializationError
from redisdict.mapping.keys import Names, get_key_codec


@pytest.mark.parametrize(
    ("key_type", "key"),
    [
        (str, "a"),
        (str, ""),
        (str, "\0\ud800é"),
        (int, -(10**30)),
        (int, 0),
        (uuid.UUID, uuid.UUID(int=7)),
        (bytes, b"\xff\0"),
        ((lambda pair: b"%d,%d" % pair, lambda b: tuple(map(int, b.split(b",")))), (3, -4)),
    ],
)
def test_a_key_comes_back(key_type: Any, key: Any) -> None:
    codec = get_key_codec(key_type)
    back = codec.decode(codec.encode(key))
    assert (back, type(back)) == (key, type(key))


@pytest.mark.parametrize(
    ("key_type", "key"),
    [
        (str, 1),
        (str, b"a"),
        (str, None),
        (int, "1"),
        (int, True),
        (int, 1.0),
        (uuid.UUID, "x"),
        (bytes, "x"),
    ],
)
def test_a_key_of_another_type_is_refused(key_type: type, key: object) -> None:
    with pytest.raises(TypeError, match=rf"A key of this dict is .*, not {type(key).__name__}"):
        get_key_codec(key_type).encode(key)


@pytest.mark.parametrize(
    ("key_type", "stored"),
    [(int, b"x"), (int, b"01"), (int, b" 1"), (uuid.UUID, b"short"), (str, b"\xff")],
)
def test_a_stored_key_of_another_type_is_named(key_type: type, stored: bytes) -> None:
    with pytest.raises(DeserializationError, match="another key_type"):
        get_key_codec(key_type).decode(stored)


@pytest.mark.parametrize("key_type", [float, "str", (str,), (str, 1), None])
def test_an_unknown_key_type_is_named(key_type: object) -> None:
    with pytest.raises(ConfigurationError, match="key_type is"):
        get_key_codec(key_type)


def test_an_encode_function_that_gives_no_bytes_is_named() -> None:
    codec = get_key_codec((str.upper, bytes.decode))
    with pytest.raises(TypeError, match=r"encode function of key_type gave str for 'a'; bytes are"):
        codec.encode("a")


def test_every_kind_of_key_of_one_name_is_another() -> None:
    names = Names("site", ("d",))
    kinds = [name for name, member in vars(Names).items() if isinstance(member, property)]
    keys = [getattr(names, kind) for kind in kinds]
    assert len(keys) > 10
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(b"site:") for key in keys)
