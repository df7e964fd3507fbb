"""Lines of items: what is written is read back as the same value, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redisdict.codec import get_codec
from redisdict.inspection.json_lines import end_line, line_of, read_items
from redisdict.mapping.layouts.base import FOREVER
from tests.codec.comparing import assert_same
from tests.codec.strategies import values
from tests.depth import examples

CODEC = get_codec()


@settings(max_examples=examples(500))
@given(values, st.binary(max_size=20), st.sampled_from([FOREVER, 1, 10**9]), st.booleans())
def test_what_is_written_is_read_back(
    value: Any, field: bytes, left_ms: int, is_as_stored: bool
) -> None:
    record = (field, CODEC.encode(value), left_ms)
    lines = [line_of(record, is_as_stored=is_as_stored).encode(), end_line(1).encode()]
    [(read_field, stored, read_left_ms)] = read_items(lines, CODEC.encode)
    assert (read_field, read_left_ms) == (field, left_ms)
    assert_same(CODEC.decode(stored), value)
    if is_as_stored:
        assert stored == record[1]


@pytest.mark.parametrize(
    ("value", "name"),
    [({"a": [1, None, "é"]}, "value"), ((1,), "literal"), (float("nan"), "stored_hex")],
)
def test_a_value_is_in_words_where_there_are_any(value: Any, name: str) -> None:
    item = json.loads(line_of((b"key", CODEC.encode(value), FOREVER)))
    assert name in item
    assert item["type"] == type(value).__name__


def test_what_runs_code_is_never_read() -> None:
    pickled = get_codec("pickle").encode({1, 2})
    item = json.loads(line_of((b"key", pickled, FOREVER)))
    assert bytes.fromhex(item["stored_hex"]) == pickled
    assert "pickle" in item["problem"]
