"""The rules of retries, without a server: what a failure means, and when an attempt follows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError

from redisdict.conf import AliasConfig
from redisdict.connections.retry import Failure, check_retry, retries
from redisdict.exceptions import BackendUnavailable
from redisdict.pools.fast_connection import NotSentError
from redisdict.wire.requests import Batch, Once

LOSS = RedisConnectionError("lost")
TWO = [(b"INCR", b"a"), (b"INCR", b"b")]


def server(retry_for_s: float = 0.0, *, has_credential_provider: bool = False) -> Any:
    return SimpleNamespace(
        config=AliasConfig(alias="shop"),
        address="redis://h",
        retry_for_s=retry_for_s,
        has_credential_provider=has_credential_provider,
    )


@pytest.mark.parametrize(
    ("asked", "error", "is_sent", "is_begun", "expected"),
    [
        ((b"GET", b"k"), LOSS, True, True, True),
        ((b"GET", b"k"), LOSS, False, True, False),
        ((b"GET", b"k"), NotSentError("lost"), True, True, False),
        ((b"GET", b"k"), ReadOnlyError("READONLY"), True, True, False),
        ((b"GET", b"k"), BusyLoadingError("LOADING"), True, True, False),
        (Batch(TWO), LOSS, False, True, True),
        (Batch(TWO), LOSS, False, False, False),
        (Batch(TWO), ReadOnlyError("READONLY"), True, True, True),
        (Batch(TWO, is_atomic=True), LOSS, False, True, False),
        (Batch(TWO[:1]), LOSS, False, True, False),
    ],
)
def test_whether_it_may_be_done(
    asked: Any, error: Exception, is_sent: bool, is_begun: bool, expected: bool
) -> None:
    failure = Failure.of(asked, error, is_sent=is_sent, is_begun=is_begun)
    assert failure == (error, expected)


def test_what_a_sentinel_connection_makes_of_a_refusal() -> None:
    error = RedisConnectionError("The previous master is now a slave")
    error.__context__ = ReadOnlyError("READONLY")
    assert not Failure.of((b"GET", b"k"), error, is_sent=True).may_be_done


def test_what_may_be_done_is_not_done_twice() -> None:
    check_retry(server(), (b"GET", b"k"), Failure(LOSS, may_be_done=True))
    check_retry(server(), Once((b"INCR", b"k")), Failure(LOSS, may_be_done=False))
    with pytest.raises(BackendUnavailable, match="it was not sent again") as raised:
        check_retry(server(), Once((b"INCR", b"k")), Failure(LOSS, may_be_done=True))
    assert raised.value.outcome_unknown
    with pytest.raises(BackendUnavailable) as raised:
        check_retry(server(), (b"GET", b"k"), Failure(AuthenticationError("no"), may_be_done=False))
    assert not raised.value.outcome_unknown


def test_the_first_retry_follows_at_once_and_is_the_only_one() -> None:
    failure = Failure(LOSS, may_be_done=False)
    pauses = retries(server(), (b"GET", b"k"), failure)
    assert next(pauses) == 0
    with pytest.raises(BackendUnavailable, match=r'REDISDICT\["shop"\] \(redis://h\) .*: lost'):
        pauses.send(failure)


def test_further_ones_follow_in_pauses_that_grow() -> None:
    failure = Failure(LOSS, may_be_done=False)
    pauses = retries(server(60), (b"GET", b"k"), failure)
    waits = [next(pauses), *(pauses.send(failure) for _ in range(8))]
    assert waits[0] == 0
    for wait, longest in zip(waits[1:], (0.02, 0.04, 0.08, 0.16, *[0.25] * 4), strict=True):
        assert longest / 2 <= wait <= longest


def test_refused_credentials_of_a_provider_are_replaced_once_and_at_once() -> None:
    """Even after a loss and without RETRY_FOR: the token that had ended is why it was lost."""
    loss = Failure(LOSS, may_be_done=False)
    refusal = Failure(AuthenticationError("invalid"), may_be_done=False)
    pauses = retries(server(has_credential_provider=True), Once((b"INCR", b"k")), loss)
    assert [next(pauses), pauses.send(refusal)] == [0, 0]
    with pytest.raises(BackendUnavailable, match="invalid") as raised:
        pauses.send(refusal)
    assert not raised.value.outcome_unknown
    with pytest.raises(BackendUnavailable, match="invalid"):
        next(retries(server(60), (b"GET", b"k"), refusal))
