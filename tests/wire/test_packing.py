"""The bytes of a command are hiredis's, whichever of the two makes them."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisdict.wire.packing import HEADS, pack_command
from redisdict.wire.requests import Argument, Command, Identified, Once

ARGUMENTS = st.one_of(st.binary(max_size=20), st.integers(-(2**63), 2**63 - 1), st.text(max_size=9))


@given(st.lists(ARGUMENTS, min_size=1, max_size=8))
def test_any_command(arguments: list[Argument]) -> None:
    assert pack_command(tuple(arguments)) == hiredis.pack_command(tuple(arguments))  # type: ignore[arg-type]  # its stub has tuples of one


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("length", [0, 1, len(HEADS) - 1, len(HEADS), 3 * len(HEADS)])
def test_an_argument_of_any_length(count: int, place: int, length: int) -> None:
    arguments = [b"a"] * count
    arguments[min(place, count - 1)] = b"x" * length
    assert pack_command(tuple(arguments)) == hiredis.pack_command(tuple(arguments))  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("kind", [Once, Identified])
@pytest.mark.parametrize("arguments", [(b"GET", b"k"), (b"INCRBY", b"k", 5), ("SET", "ключ", b"v")])
def test_a_command_with_a_rule(kind: type[Command], arguments: Command) -> None:
    assert pack_command(kind(arguments)) == hiredis.pack_command(arguments)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("wrong", [(b"GET", None), (b"GET", None, b"k"), (b"GET", [b"k"], b"k")])
def test_what_no_server_takes_is_refused(wrong: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        pack_command(wrong)  # type: ignore[arg-type]  # which is tried
