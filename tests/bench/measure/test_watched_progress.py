"""A watched run: its progress in the database, and its end when somebody there wants it."""

from __future__ import annotations

import io

import pytest
from django.core.management.base import OutputWrapper
from django.utils import timezone

from redisdict.bench.measure.interruption import Interrupted, Interruption
from redisdict.bench.measure.progress import INTERVAL_S, LineProgress, WatchedProgress
from redisdict.models import BenchmarkProgress, BenchmarkRun

pytestmark = pytest.mark.django_db


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def progress() -> BenchmarkProgress:
    now = timezone.now()
    run = BenchmarkRun.objects.create(preset="quick", started_at=now)
    return BenchmarkProgress.objects.create(run=run, updated_at=now)


def watched(run: BenchmarkRun) -> tuple[WatchedProgress, Clock, io.StringIO]:
    clock, stream = Clock(), io.StringIO()
    reporter = LineProgress(OutputWrapper(stream))
    return WatchedProgress(reporter, run.identifier, clock), clock, stream


def test_parts_add_up_and_are_written_once_a_second(progress: BenchmarkProgress) -> None:
    reporter, clock, stream = watched(progress.run)
    reporter.begin("pools", 0.25)
    reporter.advance(1.0)
    progress.refresh_from_db()
    assert (progress.fraction, progress.activity) == (0.0, "pools")

    clock.now += INTERVAL_S
    reporter.advance(0.5)
    progress.refresh_from_db()
    assert progress.fraction == 0.125

    reporter.begin("dict", 0.75)
    progress.refresh_from_db()
    assert (progress.fraction, progress.activity) == (0.25, "dict")
    assert "measuring pools" in stream.getvalue()
    assert "measuring dict" in stream.getvalue()


def test_wish_to_end_is_obeyed_like_a_signal(progress: BenchmarkProgress) -> None:
    reporter, clock, _stream = watched(progress.run)
    interruption = Interruption()
    reporter.begin("pools", 1.0)
    BenchmarkProgress.objects.update(is_cancel_requested=True)

    def measure() -> None:
        with interruption.listening(), interruption.deferred():
            for _ in range(3):  # only the first look counts: a second signal would end it at once
                clock.now += INTERVAL_S
                reporter.advance(0.5)
            assert interruption.is_requested

    with pytest.raises(Interrupted, match="SIGTERM"):
        measure()


def test_run_that_nobody_watches_is_left_alone(progress: BenchmarkProgress) -> None:
    reporter, _clock, stream = watched(progress.run)
    BenchmarkProgress.objects.all().delete()
    reporter.begin("pools", 1.0)
    reporter.note("a note")
    reporter.close()
    assert "a note" in stream.getvalue()
    assert not BenchmarkProgress.objects.exists()
