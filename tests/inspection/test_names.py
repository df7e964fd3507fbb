"""Names of dicts as people write them: what is shown is read back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redisdict.inspection.names import parse_path, shown_path
from tests.codec.strategies import text
from tests.depth import examples


@settings(max_examples=examples(500))
@given(st.lists(text, min_size=1, max_size=3).map(tuple))
def test_what_is_shown_is_read_back(path: tuple[str, ...]) -> None:
    assert parse_path(shown_path(path)) == path


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("shop", ("shop",)),
        ("my shop/eu", ("my shop", "eu")),
        ("'a/b'/c", ("a/b", "c")),
        ("it's", ("it's",)),
        ("'it", ("'it",)),
        (r"'\N{no such name}'", (r"'\N{no such name}'",)),
        ("", ("",)),
        ("a/", ("a", "")),
    ],
)
def test_names(written: str, path: tuple[str, ...]) -> None:
    assert parse_path(written) == path
