"""How far a run is: a bar on a terminal, a line for each group in a log."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Protocol, TextIO

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["BarProgress", "LineProgress", "Reporter", "reporter_for"]


class Reporter(Protocol):
    """Told by the session what happens; writes to stderr only."""

    def begin(self, name: str, share: float) -> None:
        """A part of the run begins that takes this share of it (all shares add up to 1)."""

    def advance(self, fraction: float) -> None:
        """So much of the current part is done, from 0 to 1."""

    def note(self, text: str) -> None:
        """Something that the user should know now."""

    def close(self) -> None: ...


class LineProgress:
    """One line for each part, for logs and pipes."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream

    def begin(self, name: str, share: float) -> None:
        self.note(f"measuring {name}")

    def advance(self, fraction: float) -> None:
        """A log needs no bar."""

    def note(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Every line has been written."""


class BarProgress:
    """A bar with the time left.

    It is drawn between rounds, from this thread: a thread of its own would take CPU time from the
    blocks that are being timed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._stack = ExitStack()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._stack.enter_context(self._bar).add_task("starting", total=1.0)
        self._done = 0.0
        self._share = 0.0

    def begin(self, name: str, share: float) -> None:
        self._done += self._share
        self._share = share
        self._bar.update(self._task, description=name, completed=self._done, refresh=True)

    def advance(self, fraction: float) -> None:
        completed = self._done + self._share * fraction
        # A refresh takes a millisecond or two; one a percent is enough.
        if completed - self._bar.tasks[0].completed >= 0.01:
            self._bar.update(self._task, completed=completed, refresh=True)

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._stack.close()


def reporter_for(stderr: OutputWrapper) -> Reporter:
    """A bar on a terminal, which is written to as it is: the wrapper would end every line."""
    return BarProgress(sys.stderr) if stderr.isatty() else LineProgress(stderr)
