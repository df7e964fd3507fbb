"""Obey Ctrl-C and SIGTERM: finish the block that runs, keep what was measured, clean up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interrupted", "Interruption"]

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end; `exit_status` is what a shell expects then.

    `is_told`: the user knows already.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_status = 128 + number
        self.is_told = False


class Interruption:
    """Turns signals into `Interrupted`, at once or, while `deferred()`, when it is convenient.

    In the middle of a block an exception would lose replies, and in the middle of cleaning up it
    would leave servers and keys behind. A second signal is obeyed at once all the same, unless
    things are being cleaned up.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._deferring = 0
        self._is_cleaning_up = False

    @property
    def is_requested(self) -> bool:
        return self._number is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals; what handled them before is put back. Does nothing in a thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer a first signal, which sets `is_requested`; it is raised at the end."""
        self._deferring += 1
        try:
            yield
        finally:
            self._deferring -= 1
        self.raise_if_requested()

    def start_cleaning_up(self) -> None:
        """Note signals from now on, and do nothing more."""
        self._is_cleaning_up = True

    def raise_if_requested(self) -> None:
        if self._number is not None and not self._deferring and not self._is_cleaning_up:
            raise Interrupted(self._number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        is_first = self._number is None
        self._number = self._number or number
        if self._is_cleaning_up or (self._deferring and is_first):
            return
        raise Interrupted(number)
