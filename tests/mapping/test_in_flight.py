"""One computation for all threads of a process, and none that a forked child waits for."""

from __future__ import annotations

import pytest

from redisdict.mapping import locks
from redisdict.mapping.locks import InFlight, wait_in_thread


def test_the_first_brings_the_value_and_the_others_wait() -> None:
    ours = InFlight()
    value, is_first = ours.join(b"field", 60)
    other, is_other_first = ours.join(b"field", 60)
    assert (is_first, is_other_first) == (True, False)
    assert other is value
    ours.resolve(b"field", value, b"value")
    assert wait_in_thread(other, 10) == b"value"
    assert ours.join(b"field", 60)[1]


def test_a_forked_child_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/forks` forks; here is what the child does then."""
    ours = InFlight()
    value, _ = ours.join(b"field", 60)
    taken = []

    def take_over() -> None:
        taken.append(True)
        page[0] = 1
        ours._renew()

    page = [0]
    monkeypatch.setattr(locks, "own", page)
    monkeypatch.setattr(locks, "take_over", take_over)
    again, is_first = ours.join(b"field", 60)
    assert taken
    assert is_first
    assert again is not value
    ours._renew()
    current, _ = ours.join(b"field", 60)
    ours.resolve(b"field", again, b"value")  # of a computation that was begun before the fork
    assert not current.done()
    assert ours.join(b"field", 60) == (current, False)


def test_who_takes_too_long_is_not_waited_for() -> None:
    ours = InFlight()
    value, _ = ours.join(b"field", 0)
    other, is_first = ours.join(b"field", 60)
    assert is_first
    assert wait_in_thread(value, 0) is None
    ours.resolve(b"field", value, b"late")  # which nobody waits for
    assert ours.join(b"field", 60) == (other, False)
    ours.resolve(b"field", other, b"value")
    assert wait_in_thread(other, 0) == b"value"
