"""How far a run is, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from django.core.management.base import OutputWrapper

from redisdict.bench.measure.progress import BarProgress, LineProgress, reporter_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_what_is_measured_how_much_is_done_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    bar = BarProgress(stream)
    bar.begin("Valkey: pools", 0.5)
    bar.note("Something to know now.")
    bar.begin("Valkey: dict", 0.5)
    bar.close()
    text = stream.getvalue()
    assert "Valkey: pools" in text
    assert "Something to know now." in text
    assert "Valkey: dict" in text
    assert " 50 %" in text
    assert "about 0:00 left" in text


def test_the_bar_is_not_drawn_after_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    now = [100.0]
    monkeypatch.setattr("redisdict.bench.measure.progress.time.monotonic", lambda: now[0])
    stream = Terminal()
    bar = BarProgress(stream)
    bar.begin("Valkey: pools", 1.0)
    drawn = len(stream.getvalue())
    bar.advance(0.3)
    assert len(stream.getvalue()) == drawn
    now[0] += 1
    bar.advance(0.3)
    assert " 30 %" in stream.getvalue()[drawn:]
    bar.close()


def test_a_log_has_a_line_for_each_part() -> None:
    stream = io.StringIO()
    reporter = reporter_for(OutputWrapper(stream))
    assert isinstance(reporter, LineProgress)
    reporter.begin("Valkey: pools", 0.5)
    reporter.advance(0.5)
    reporter.close()
    assert stream.getvalue() == "measuring Valkey: pools\n"
