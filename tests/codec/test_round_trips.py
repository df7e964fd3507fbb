"""Every value comes back equal and of the same type, alone and inside others."""

import sys
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject, lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from redisdict.codec import Codec, get_codec, messagepack, slow_path
from tests.codec.comparing import assert_same
from tests.codec.models import Color, Size
from tests.codec.strategies import values
from tests.depth import examples

codec = get_codec("msgpack", None)
format_html_lazy = lazy(format_html, SafeString)


@settings(max_examples=examples(1000))
@given(values)
def test_any_value_comes_back_the_same(value: Any) -> None:
    assert_same(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize("compressor", ["zlib", "zstd", "lz4"])
@settings(max_examples=examples(100))
@given(value=values)
def test_compression_changes_nothing(compressor: str, value: Any) -> None:
    compressing = Codec("msgpack", compressor, compress_min_length=0)
    stored = compressing.encode([value, "x" * 200])
    assert_same(compressing.decode(stored), [value, "x" * 200])


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=examples(200))
@given(json_values)
def test_json_keeps_what_it_takes(value: Any) -> None:
    json = get_codec("json")
    assert_same(json.decode(json.encode(value)), value)


@settings(max_examples=examples(200))
@given(values)
def test_pickle_keeps_everything(value: Any) -> None:
    by_pickle = get_codec("pickle")
    assert_same(by_pickle.decode(by_pickle.encode(value)), value)


@given(st.binary())
def test_raw_keeps_bytes(value: bytes) -> None:
    raw = get_codec("raw")
    assert_same(raw.decode(raw.encode(value)), value)


@given(st.integers())
def test_integers_are_stored_as_text_that_the_server_counts_with(value: int) -> None:
    assert codec.encode(value) == str(value).encode()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bits", [2047, 2048, 2049, 100_000])
def test_integers_of_any_size(bits: int, sign: int) -> None:
    value = sign << bits
    assert_same(codec.decode(codec.encode(value)), value)


def test_long_integers_need_no_change_of_the_interpreters_limit() -> None:
    limit = sys.get_int_max_str_digits()
    stored = [codec.encode(value) for value in (2**2048 - 1, -(2**2048), 2**20_000)]
    sys.set_int_max_str_digits(sys.int_info.str_digits_check_threshold)
    try:
        assert [codec.decode(one) for one in stored] == [2**2048 - 1, -(2**2048), 2**20_000]
    finally:
        sys.set_int_max_str_digits(limit)


PLAINER = [
    (gettext_lazy("run"), "run"),
    (SimpleLazyObject(lambda: (1, "a")), (1, "a")),
    (SimpleLazyObject(lambda: "\ud800"), "\ud800"),
    (Color.RED, "r"),
    (Size.LARGE, 2),
    (bytearray(b"ab"), b"ab"),
    (memoryview(b"ab"), b"ab"),
    (memoryview(b"abcd")[::2], b"ac"),
]


@pytest.mark.parametrize(("value", "plain"), PLAINER)
def test_values_that_come_back_plainer(value: Any, plain: Any) -> None:
    assert_same(codec.decode(codec.encode(value)), plain)
    assert_same(codec.decode(codec.encode([{"a": value}])), [{"a": plain}])
    # Beside a key that isn't str, the value takes the thorough way through the encoder.
    assert_same(codec.decode(codec.encode({1: value})), {1: plain})


def test_lazy_text_that_is_marked_as_safe_stays_so() -> None:
    value = format_html_lazy("<b>{}</b>", "a")
    assert_same(codec.decode(codec.encode([value])), [mark_safe("<b>a</b>")])
    assert_same(codec.decode(codec.encode({1: value})), {1: mark_safe("<b>a</b>")})


@pytest.mark.parametrize("key", [Color.RED, Size.LARGE])
def test_keys_come_back_plainer_too(key: Any) -> None:
    (back,) = codec.decode(codec.encode({key: 1}))
    assert back == key
    assert type(back) in (str, int)


@given(st.frozensets(st.text() | st.integers(), max_size=20))
def test_equal_sets_have_equal_bytes(value: frozenset[Any]) -> None:
    shuffled = frozenset(sorted(value, key=repr, reverse=True))
    assert codec.encode(shuffled) == codec.encode(value)


@settings(max_examples=examples(300))
@given(values)
def test_both_ways_to_messagepack_write_the_same_bytes(value: Any) -> None:
    assert slow_path.dumps(value) == messagepack.dumps(value)
