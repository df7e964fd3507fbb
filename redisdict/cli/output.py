"""Write for people or for scripts, with progress on a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Self

from django.core.management.base import OutputWrapper

from redisdict.inspection.json_lines import to_json

#: Seconds between two looks of the progress.
PAUSE_S = 0.1


class ExitStatus(IntEnum):
    """The exit statuses of `redisdict`. 2 is Django's own, for wrong arguments."""

    FINE = 0
    REFUSED = 1
    FAILED_SERVER = 3
    FINDINGS = 4
    INTERRUPTED = 130


#: What every exit status means: the help and the documentation say the same.
EXIT_STATUSES = {
    "0": "done; of doctor: nothing has to be changed",
    "1": "not done, and one line on standard error says why: a setting or an argument can't be"
    " used, there is no such dict or item, a file can't be read or isn't whole, or the answer was"
    " no",
    "2": "wrong arguments",
    "3": "a server can't be reached, or refused",
    "4": "doctor has found something that should be changed",
    "130": "interrupted, and the output says what was finished; or the reader of the output has"
    " ended",
}


class Output:
    """Standard output and standard error of one call.

    Args:
        is_json: whether results are JSON, an object a line.
    """

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, *, is_json: bool) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self.is_json = is_json

    def write(self, text: str) -> None:
        """Write a line of the result."""
        self._stdout.write(text)

    def result(self, described: dict[str, Any], text: str) -> None:
        """Write a result: as JSON for scripts, and as the text for people."""
        self.write(to_json(described) if self.is_json else text)

    def note(self, text: str) -> None:
        """Write a line that is no result."""
        self._stderr.write(text, style_func=str)

    def table(self, rows: Sequence[Sequence[str]], headings: Sequence[str]) -> None:
        """Align rows in columns below headings on a terminal; elsewhere write tabs between."""
        if not self._stdout.isatty():
            for row in rows:
                self.write("\t".join(row))
            return
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        for row in (headings, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.write("  ".join(cells).rstrip())

    def facts(self, facts: Mapping[str, str]) -> None:
        """Write a line for each fact, with its name in front."""
        width = max(map(len, facts))
        for name, text in facts.items():
            self.write(f"{name.ljust(width)}  {text}")

    def progress(self, verb: str, total: int | None = None, noun: str = "items") -> Progress:
        return Progress(self._stderr if self._stderr.isatty() else None, verb, total, noun)


class Progress:
    """Counts in one line of a terminal, which goes at the end; nowhere else is it seen.

    Args:
        terminal: None where there is none.
        total: how many there will be, if that is known.
    """

    def __init__(
        self, terminal: OutputWrapper | None, verb: str, total: int | None, noun: str
    ) -> None:
        self._noun = noun
        self._terminal = terminal
        self._verb = verb
        self._total = "" if total is None else f" of {total:,}"
        self._next = 0.0
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal is not None:
            self._terminal.write("\r\x1b[K", style_func=str, ending="")

    def add(self, count: int) -> None:
        self.count += count
        now = time.monotonic()
        if self._terminal is not None and now >= self._next:
            self._next = now + PAUSE_S
            text = f"\r\x1b[K{self._verb} {self.count:,}{self._total} {self._noun}"
            self._terminal.write(text, style_func=str, ending="")
            self._terminal.flush()
