"""What JSON, pickle and raw refuse; the default's refusals have a file of their own."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.utils.safestring import mark_safe

from redisdict.codec import get_codec
from redisdict.exceptions import SerializationError
from tests.codec.models import Color, Size


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2), "can't store a tuple"),
        ([{"a": (1,)}], "can't store a tuple"),
        ({1: 2}, "the key 1 into text"),
        ({None: 2}, "the key None into text"),
        ({Color.RED: 2}, "into text"),
        (Color.RED, "can't store a tests.codec.models.Color"),
        ([Size.LARGE], "can't store a tests.codec.models.Size"),
        (mark_safe("a"), "SafeString"),
        (b"a", "can't store a bytes"),
        ({1}, "can't store a set"),
        (Decimal(1), "can't store a decimal.Decimal"),
        (float("nan"), "not JSON compliant"),
        (float("-inf"), "not JSON compliant"),
        ("\ud800", "surrogates not allowed"),
        ({"\ud800": 1}, "surrogates not allowed"),
        ([10**5000], "digits"),
    ],
)
def test_json_refuses_what_it_would_change(value: Any, message: str) -> None:
    with pytest.raises(SerializationError, match=f"'json'.*{re.escape(message)}"):
        get_codec("json").encode(value)


@pytest.mark.parametrize("value", ["text", 5, True, None, [b"a"], bytearray(b"a")])
def test_raw_takes_bytes_alone(value: Any) -> None:
    with pytest.raises(
        SerializationError, match=f"'raw' stores bytes and got a {type(value).__name__}"
    ):
        get_codec("raw").encode(value)


def test_raw_reads_what_the_server_counted() -> None:
    assert get_codec("raw").decode(b"5") == 5


class Unpicklable:
    def __reduce__(self) -> str:
        raise RuntimeError("not me")


@pytest.mark.parametrize(
    "value", [lambda: 1, Unpicklable(), iter(())], ids=["a function", "an error", "an iterator"]
)
def test_pickle_refusals(value: Any) -> None:
    codec = get_codec("pickle")
    if hasattr(value, "__next__"):
        value = (i for i in ())
    with pytest.raises(SerializationError, match="PickleSerializer can't store a"):
        codec.encode(value)


def test_pickle_stores_integers_as_text_too() -> None:
    assert get_codec("pickle").encode(5) == b"5"
    assert get_codec("json").encode(5) == b"5"
    assert get_codec("json").encode(True)[:-4] == b"\x81true"
