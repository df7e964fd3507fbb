"""Report the progress of a run: a bar on a terminal, lines in a log, a row for the admin."""

from __future__ import annotations

import signal
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, TextIO

from django.core.management.base import OutputWrapper
from django.db import DatabaseError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from redisdict.models import BenchmarkProgress

#: Seconds between two drawings of the bar.
REFRESH_S = 0.5

#: Before so much is done, nobody can say how long the rest takes.
LEAST_TO_TELL = 0.02


class Reporter:
    """Shows the events of a session, on stderr only."""

    def __init__(self) -> None:
        self._done = self._share = 0.0

    def begin(self, name: str, share: float) -> None:
        """A part of the run begins that takes this share of it (all shares add up to 1)."""
        self._done += self._share
        self._share = share

    def advance(self, fraction: float) -> None:
        """So much of the current part is done, from 0 to 1."""

    def note(self, text: str) -> None:
        """Something that the user should know now."""

    def close(self) -> None:
        """Nothing follows."""

    def of_all(self, fraction: float) -> float:
        """Compute how much of the whole is done with so much of the current part."""
        return self._done + self._share * fraction


class LineProgress(Reporter):
    """One line for each part, for logs and pipes."""

    def __init__(self, stream: OutputWrapper) -> None:
        super().__init__()
        self._stream = stream

    def begin(self, name: str, share: float) -> None:
        self.note(f"measuring {name}")

    def note(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class BarProgress(Reporter):
    """A bar with the time left.

    It is drawn between rounds, from this thread: a thread of its own would take CPU time from the
    blocks that are being timed.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._console = Console(file=stream)
        self._stack = ExitStack()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._stack.enter_context(self._bar).add_task("starting", total=1.0, left="")
        self._drawn_at = 0.0

    def begin(self, name: str, share: float) -> None:
        super().begin(name, share)
        self._draw(description=name, completed=self.of_all(0))

    def advance(self, fraction: float) -> None:
        # A refresh takes a millisecond or two, so it isn't done after every round.
        if time.monotonic() - self._drawn_at >= REFRESH_S:
            self._draw(completed=self.of_all(fraction))

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def _draw(self, **changes: Any) -> None:
        left = _left(self._bar.tasks[0].elapsed or 0.0, changes["completed"])
        self._bar.update(self._task, **changes, left=left, refresh=True)
        self._drawn_at = time.monotonic()

    def close(self) -> None:
        self._stack.close()


def _left(elapsed_s: float, completed: float) -> str:
    """Guess how long it still takes, when the rest goes on as it did so far."""
    if completed < LEAST_TO_TELL:
        return ""
    seconds = round(elapsed_s * (1 - completed) / completed)
    return f"about {seconds // 60}:{seconds % 60:02d} left"


def reporter_for(stderr: OutputWrapper) -> Reporter:
    """Choose a bar for a terminal, written to as it is: the wrapper would end every line."""
    return BarProgress(sys.stderr) if stderr.isatty() else LineProgress(stderr)


#: Seconds between two looks at the database, which happen between rounds and cost a millisecond.
INTERVAL_S = 1.0


class WatchedProgress(Reporter):
    """A `Reporter` that keeps the `BenchmarkProgress` of its run up to date.

    When the `BenchmarkProgress` asks for the run to end, the process sends itself SIGTERM, and ends
    as after any other SIGTERM.
    """

    def __init__(
        self, reporter: Reporter, identifier: uuid.UUID, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._reporter = reporter
        self._progress = BenchmarkProgress.objects.filter(run__identifier=identifier)
        self._clock = clock
        self._written_at = 0.0
        self._name = ""
        self._is_cancelled = False

    def begin(self, name: str, share: float) -> None:
        super().begin(name, share)
        self._reporter.begin(name, share)
        self._name = name
        self._write(self.of_all(0))

    def advance(self, fraction: float) -> None:
        self._reporter.advance(fraction)
        if self._clock() - self._written_at >= INTERVAL_S:
            self._write(self.of_all(fraction))

    def note(self, text: str) -> None:
        self._reporter.note(text)

    def close(self) -> None:
        self._reporter.close()

    def _write(self, fraction: float) -> None:
        self._written_at = self._clock()
        # A database that is locked for a moment must not end a measurement.
        with suppress(DatabaseError):
            self._progress.update(
                fraction=fraction, activity=self._name[:200], updated_at=timezone.now()
            )
            is_wanted = self._progress.filter(is_cancel_requested=True).exists()
            if is_wanted and not self._is_cancelled:
                self._is_cancelled = True
                signal.raise_signal(signal.SIGTERM)
