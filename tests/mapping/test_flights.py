"""One computation for all threads of a process, and none that a forked child waits for."""

from __future__ import annotations

import pytest

from redisdict.mapping import flights
from redisdict.mapping.flights import Flights, wait_in_thread


def test_the_first_brings_the_value_and_the_others_wait() -> None:
    ours = Flights()
    flight, is_pilot = ours.join(b"field")
    other, is_other_pilot = ours.join(b"field")
    assert (is_pilot, is_other_pilot) == (True, False)
    assert other is flight
    ours.land(b"field", b"value")
    assert wait_in_thread(other, 10) == b"value"
    assert ours.join(b"field")[1]


def test_a_forked_child_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/forks` forks; here is what the child does then."""
    ours = Flights()
    flight, _ = ours.join(b"field")
    taken = []

    def take_over() -> None:
        taken.append(True)
        ours._renew()

    monkeypatch.setattr(flights, "own", [0])
    monkeypatch.setattr(flights, "take_over", take_over)
    again, is_pilot = ours.join(b"field")
    assert taken
    assert is_pilot
    assert again is not flight
    ours._renew()
    ours.land(b"field", b"value")  # of a computation that was begun before the fork
    assert not again.done()
