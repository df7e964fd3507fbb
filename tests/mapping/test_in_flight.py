"""One computation for all threads of a process, and none that a forked child waits for."""

from __future__ import annotations

import pytest

from redisdict.mapping import in_flight
from redisdict.mapping.in_flight import InFlight, wait_in_thread


def test_the_first_brings_the_value_and_the_others_wait() -> None:
    ours = InFlight()
    value, is_first = ours.join(b"field")
    other, is_other_first = ours.join(b"field")
    assert (is_first, is_other_first) == (True, False)
    assert other is value
    ours.resolve(b"field", b"value")
    assert wait_in_thread(other, 10) == b"value"
    assert ours.join(b"field")[1]


def test_a_forked_child_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/forks` forks; here is what the child does then."""
    ours = InFlight()
    value, _ = ours.join(b"field")
    taken = []

    def take_over() -> None:
        taken.append(True)
        ours._renew()

    monkeypatch.setattr(in_flight, "own", [0])
    monkeypatch.setattr(in_flight, "take_over", take_over)
    again, is_first = ours.join(b"field")
    assert taken
    assert is_first
    assert again is not value
    ours._renew()
    ours.resolve(b"field", b"value")  # of a computation that was begun before the fork
    assert not again.done()
