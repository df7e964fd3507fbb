"""Signals: at once, later, or not at all, and always put back."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from redisdict.bench.measure.cleanup import Interrupted, Interruption
from tests.waiting import wait_until


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_runs_with_the_status_a_shell_expects(number: int, status: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, Interruption().listening():
        send(number)
    assert caught.value.exit_status == status
    assert signal.Signals(number).name in str(caught.value)
    assert signal.getsignal(number) is before


def test_deferred_it_is_noted_first_and_raised_at_the_end() -> None:
    interruption = Interruption()
    seen = []

    def work() -> None:
        with interruption.listening(), interruption.deferred():
            seen.append(interruption.is_requested)
            send(signal.SIGINT)
            seen.append(interruption.is_requested)

    with pytest.raises(Interrupted):
        work()
    assert seen == [False, True]


def test_the_end_of_a_block_without_a_signal_raises_nothing() -> None:
    interruption = Interruption()
    with interruption.listening(), interruption.deferred():
        pass
    assert not interruption.is_requested


def test_a_second_signal_is_obeyed_at_once() -> None:
    interruption = Interruption()
    passed = []

    def impatient() -> None:
        with interruption.listening(), interruption.deferred():
            send(signal.SIGINT)
            passed.append("first")
            send(signal.SIGINT)
            passed.append("second")

    with pytest.raises(Interrupted):
        impatient()
    assert passed == ["first"]


def test_cleaning_up_is_not_disturbed() -> None:
    interruption = Interruption()
    with interruption.listening():
        interruption.start_cleaning_up()
        send(signal.SIGINT)
        send(signal.SIGTERM)
    assert interruption.is_requested


def test_an_error_inside_is_not_replaced_by_a_later_signal() -> None:
    interruption = Interruption()
    with pytest.raises(OSError, match="reset"), interruption.listening():
        with interruption.deferred():
            raise OSError("reset")


class Dying:
    """Is interrupted while it is destroyed, where Python ignores every exception."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        send(self._number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_is_not_lost(number: int) -> None:
    def work() -> None:
        with Interruption().listening():
            Dying(number)
            wait_until(lambda: False)

    with pytest.raises(Interrupted) as caught:
        work()
    assert caught.value.exit_status == 128 + number


def test_one_that_comes_again_too_early_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """While its timer is started, the destructor still runs."""
    started: list[threading.Timer] = []

    class EarlyTimer(threading.Timer):
        def start(self) -> None:
            started.append(self)
            if len(started) == 1:
                send(signal.SIGTERM)
            else:
                super().start()

    monkeypatch.setattr(threading, "Timer", EarlyTimer)

    def work() -> None:
        with Interruption().listening():
            Dying(signal.SIGTERM)
            wait_until(lambda: False)

    with pytest.raises(Interrupted):
        work()
    assert len(started) >= 2  # it may come too early again


def test_deferred_one_in_a_destructor_is_raised_at_the_end() -> None:
    interruption = Interruption()
    passed = []

    def work() -> None:
        with interruption.listening(), interruption.deferred():
            Dying(signal.SIGINT)
            passed.append(interruption.is_requested)

    with pytest.raises(Interrupted):
        work()
    assert passed == [True]


def test_another_lost_exception_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __del__(self) -> None:
            raise OSError("not of a signal")

    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(lost.exc_value))
    with Interruption().listening():
        Broken()
    assert [*map(str, told)] == ["not of a signal"]


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Interruption().listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
