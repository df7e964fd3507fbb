"""A run that people watch from elsewhere: its progress goes to the database, as their wish to end
it comes from there."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError
from django.utils import timezone

from redisdict.bench.progress import Reporter
from redisdict.models import BenchmarkProgress

__all__ = ["WatchedProgress"]

#: Seconds between two looks at the database, which happen between rounds and cost a millisecond.
INTERVAL_S = 1.0


class WatchedProgress:
    """A `Reporter` that keeps the `BenchmarkProgress` of its run up to date.

    When that asks for the run to end, the process sends itself SIGTERM: then it ends as it does
    for anybody else who sends one.
    """

    def __init__(
        self,
        reporter: Reporter,
        identifier: uuid.UUID,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reporter = reporter
        self._progress = BenchmarkProgress.objects.filter(run__identifier=identifier)
        self._clock = clock
        self._written_at = 0.0
        self._name = ""
        self._done = self._share = 0.0
        self._is_cancelled = False

    def begin(self, name: str, share: float) -> None:
        self._reporter.begin(name, share)
        self._done += self._share
        self._share = share
        self._name = name
        self._write(self._done)

    def advance(self, fraction: float) -> None:
        self._reporter.advance(fraction)
        if self._clock() - self._written_at >= INTERVAL_S:
            self._write(self._done + self._share * fraction)

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
