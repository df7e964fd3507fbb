"""A query over two tables, two readers, two writers, a crash, in every order: no old result.

And the search can find one: with any part of the protocol left out, it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redisdict.modelcache.slots.store import put_barriers
from redisdict.wire.requests import Call, Operation
from tests.modelcache.result_schedules import (
    BelievesAnyVersion,
    ForgetsIncarnations,
    Plan,
    ReadsOneVersion,
    StaleRead,
    explore,
)

pytestmark = pytest.mark.deep

ONE, EACH, BOTH = ((0,), (0,)), ((0,), (1,)), ((0, 1), (1,))


@pytest.mark.parametrize("writers", [ONE, EACH], ids=["one", "each"])
def test_two_readers_and_two_writers_of_a_kept_result(writers: Any) -> None:
    assert explore(Plan(2, writers, crashes=1)) > 1000


@pytest.mark.parametrize("writers", [ONE, EACH, BOTH], ids=["one", "each", "both"])
def test_a_reader_and_two_writers_of_a_result_not_kept(writers: Any) -> None:
    assert explore(Plan(1, writers, crashes=1, expiries=1, is_warm=False)) > 500


def test_two_readers_of_a_result_not_kept() -> None:
    assert explore(Plan(2, ((0, 1),), crashes=1, expiries=1, is_warm=False)) > 1000


def test_the_server_starts_again_with_what_it_had_earlier() -> None:
    assert explore(Plan(2, ((0, 1),), restarts=1)) > 1000


def _change_without_barriers(
    tables: Any, token: bytes, _duration_ms: int, change: Callable[[], Any]
) -> Operation[None]:
    yield Call(change)
    yield from put_barriers(tables, token, 0)


def _remove_before(
    tables: Any, token: bytes, _duration_ms: int, change: Callable[[], Any]
) -> Operation[None]:
    yield from put_barriers(tables, token, 0)
    yield Call(change)


@pytest.mark.parametrize(
    "fault",
    [
        {"change": _change_without_barriers},
        {"change": _remove_before},
        {"make_store": BelievesAnyVersion},
        {"make_store": ReadsOneVersion, "writers": ((1,),)},
        {"make_store": ForgetsIncarnations, "restarts": 1, "readers": 1, "crashes": 0},
    ],
    ids=lambda fault: next(iter(fault.values())).__name__,
)
def test_a_fault_is_found(fault: dict[str, Any]) -> None:
    with pytest.raises(StaleRead):
        explore(Plan(**{"readers": 2, "writers": ((0,),), "crashes": 1, **fault}))
