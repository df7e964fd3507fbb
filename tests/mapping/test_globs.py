"""Patterns mean the same on every server, in both layouts and for any character."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisdict import PersistentDict
from redisdict.mapping.globs import Glob
from redisdict.mapping.keys import encode_text
from tests.mapping.conftest import Face

USERS = ["user:1", "user:22", "user:é", "user:ab"]
KEYS = [*USERS, "", "User:1", "u*", "u[a]", "a\\b", "a\nb", "x" * 9]

CASES = [
    ("*", KEYS),
    ("user:*", USERS),
    ("user:?", ["user:1", "user:é"]),
    ("user:[0-9é]", ["user:1", "user:é"]),
    ("user:[^0-9]", ["user:é"]),
    ("user:[^0-9]*", ["user:é", "user:ab"]),
    ("user:[b-a]*", ["user:ab"]),
    (r"u\*", ["u*"]),
    (r"u\[a\]", ["u[a]"]),
    (r"*[\]]", ["u[a]"]),
    (r"a\\b", ["a\\b"]),
    ("a?b", ["a\\b", "a\nb"]),
    ("*1*", ["user:1", "User:1"]),
    ("[uU]ser:1", ["user:1", "User:1"]),
    ("", [""]),
    ("[]", []),
    ("[^]", []),
    ("***x**x*", ["x" * 9]),
    ("nothing", []),
]


@pytest.mark.parametrize(("pattern", "expected"), CASES)
def test_keys_by_pattern(face: Face, pattern: str, expected: list[str]) -> None:
    face.set_many(dict.fromkeys(KEYS))
    assert sorted(face.matching(pattern)) == sorted(expected)


def test_keys_that_are_numbers_or_of_an_own_type(
    make: Callable[..., PersistentDict[Any, Any]],
) -> None:
    numbers = make("numbers", key_type=int)
    numbers.update({1: 0, -12: 0, 123: 0})
    assert sorted(numbers.keys_matching("*12*")) == [-12, 123]
    pairs = make(
        "pairs",
        key_type=(lambda pair: b"%d/%d" % pair, lambda b: tuple(map(int, b.split(b"/")))),
    )
    pairs.update({(1, 2): 0, (2, 2): 0})
    assert list(pairs.keys_matching("1/*")) == [(1, 2)]
    odd = make("odd", key_type=(lambda key: key, lambda stored: stored))
    odd[b"\xff1"] = 0
    assert list(odd.keys_matching("?1")) == [b"\xff1"]


@pytest.mark.parametrize("key_type", [bytes, uuid.UUID])
def test_keys_without_text_have_no_pattern(
    make: Callable[..., PersistentDict[Any, Any]], key_type: type
) -> None:
    with pytest.raises(TypeError, match="not text, so no pattern"):
        make(key_type=key_type).keys_matching("*")


def test_a_wrong_pattern_is_named_at_once(mapping: PersistentDict[str, Any]) -> None:
    for pattern in ("a[b", "[", r"[a\]"):
        with pytest.raises(ValueError, match=r"has a \[ without a \]"):
            mapping.keys_matching(pattern)
    with pytest.raises(TypeError, match="pattern is bytes"):
        mapping.keys_matching(b"*")


def test_only_candidates_leave_the_server(mapping: PersistentDict[str, Any]) -> None:
    glob = Glob("a:??[xy]*:*z")
    assert glob.superset == b"a:*:*z"
    assert Glob(r"\*[?]\?").superset == rb"\**\?"


PIECES = ["a", "b", "é", "*", "?", "[ab]", "[^a]", "[a-é]", r"\*", r"\[", r"\\", "]", "-"]
PATTERNS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@given(PATTERNS, st.text("abé*[]\\-?\n", max_size=6))
def test_the_server_is_asked_for_all_that_match(pattern: str, text: str) -> None:
    """The superset, as servers read it, has every text that the pattern matches."""
    glob = Glob(pattern)
    expression = re.sub(rb"(\\.|[^*])|\*", lambda m: _literal(m) if m[1] else b".*", glob.superset)
    if glob.matches(text):
        assert re.fullmatch(expression, encode_text(text), re.DOTALL)


def _literal(match: re.Match[bytes]) -> bytes:
    return re.escape(match[0][-1:])


def test_no_pattern_takes_for_ever() -> None:
    glob = Glob("*a" * 20 + "b")
    assert not glob.matches("a" * 20_000)
    assert glob.matches("a" * 1_000 + "b")
