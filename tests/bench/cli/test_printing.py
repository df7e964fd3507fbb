"""What a terminal gets, and what a file or pipe gets."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from django.core.management.base import OutputWrapper

from redisdict.bench.cli.output import report_text, rows_text, warnings_text
from redisdict.bench.report.terminal import TIMES
from tests.bench.records import make_record

TABLE: dict[str, Any] = {"format": "table", "output": None}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> OutputWrapper:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return OutputWrapper(Terminal())


@pytest.fixture
def pipe() -> OutputWrapper:
    return OutputWrapper(io.StringIO())


def test_a_terminal_gets_what_fits_in_colours(screen: OutputWrapper, pipe: OutputWrapper) -> None:
    assert f"10.0k\x1b[2m {TIMES}1.00" in report_text(make_record(), TABLE, screen)
    assert f"10,014 {TIMES}1.00" in report_text(make_record(), TABLE, pipe)


def test_no_colours_if_they_are_not_wanted(
    screen: OutputWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in report_text(make_record(), {**TABLE, "no_color": True}, screen)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in report_text(make_record(), TABLE, screen)
    assert "\x1b" in report_text(make_record(), {**TABLE, "force_color": True}, screen)


def test_a_file_is_plain_also_when_a_terminal_looks_on(screen: OutputWrapper) -> None:
    text = report_text(make_record(), {"format": "table", "output": os.devnull}, screen)
    assert "\x1b" not in text
    assert f"10,014 {TIMES}1.00" in text


def test_rows_have_tabs_for_programs_and_columns_for_people(
    screen: OutputWrapper, pipe: OutputWrapper
) -> None:
    rows = [["a", "first", ""], ["bcd", "second", "x " * 50]]
    assert rows_text(rows, pipe).splitlines()[0] == "a\tfirst"
    assert rows_text(rows, pipe, ("A", "B", "C")) == rows_text(rows, pipe)
    assert rows_text(rows, screen, ("A", "B", "C")).splitlines()[0] == "A    B       C"
    assert rows_text([], screen, ("A", "B", "C")) == ""
    lines = rows_text(rows, screen).splitlines()
    assert lines[0] == "a    first"
    assert lines[1].startswith("bcd  second  x x")
    assert lines[2].startswith("             x")


def test_warnings_are_one_line_each_in_a_log(screen: OutputWrapper, pipe: OutputWrapper) -> None:
    warning = {"name": "drift", "text": "It " + "drifted " * 20 + ".", "advice": "Wait."}
    record = make_record(warnings=[warning])
    assert len(warnings_text(record, {"verbose": True}, pipe).splitlines()) == 1
    lines = warnings_text(record, {"verbose": True, "no_color": True}, screen).splitlines()
    assert lines[0].startswith("! warning drift: It drifted")
    assert lines[1].startswith("  drifted")


def test_only_warnings_that_change_what_may_be_concluded_are_shown(pipe: OutputWrapper) -> None:
    names = ("drift", "wide-interval", "settings-differ", "client-bound")
    record = make_record(warnings=[{"name": name, "text": ".", "advice": "."} for name in names])

    def shown(**options: Any) -> list[str]:
        return [line.split()[1] for line in warnings_text(record, options, pipe).splitlines()]

    assert shown() == ["settings-differ:"]
    assert shown(strict=True) == ["wide-interval:", "settings-differ:"]
    assert shown(verbose=True) == [f"{name}:" for name in names]


def test_a_short_report_is_for_eyes_and_a_file_has_all(pipe: OutputWrapper) -> None:
    short = report_text(make_record(), TABLE, pipe)
    assert "undecided (--verbose)" in short
    assert "Method" not in short
    for options in ({**TABLE, "verbose": True}, {**TABLE, "output": os.devnull}):
        assert "Method" in report_text(make_record(), options, pipe)
