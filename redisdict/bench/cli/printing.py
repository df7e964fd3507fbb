"""What goes to a terminal is as wide as that and may be coloured; to a file or pipe it is plain."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from redisdict.bench.report import render
from redisdict.bench.report.terminal import DEFAULT_WIDTH, terminal
from redisdict.bench.results import RunRecord
from redisdict.bench.warnings import warning_lines

__all__ = ["is_colored", "report_text", "rows_text", "warnings_text", "width_of"]

Options = Mapping[str, Any]


def report_text(record: RunRecord, options: Options, stdout: OutputWrapper) -> str:
    """The run in the format that was asked for."""
    if options["format"] == "table" and options["output"] is None:
        return terminal(record, width=width_of(stdout), is_colored=is_colored(options, stdout))
    return render(record, options["format"])


def rows_text(rows: Sequence[Sequence[str]], stdout: OutputWrapper) -> str:
    """Columns below one another on a terminal; for other programs one line a row, with tabs."""
    if not stdout.isatty():
        return "".join("\t".join(row).rstrip() + "\n" for row in rows)
    stream = io.StringIO()
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(*map(Text, row))
    Console(file=stream, width=width_of(stdout), no_color=True).print(grid)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def warnings_text(record: RunRecord, options: Options, stderr: OutputWrapper) -> str:
    """What is wrong with the figures, and what to do about it."""
    if not stderr.isatty():
        return "".join(f"{line}\n" for line in warning_lines(record))
    stream = io.StringIO()
    colored = is_colored(options, stderr)
    console = Console(
        file=stream, width=width_of(stderr), force_terminal=colored, no_color=not colored
    )
    for line in warning_lines(record):
        name, _, text = line.partition(": ")
        grid = Grid.grid(padding=(0, 1, 0, 0))
        grid.add_row("!", Text.assemble((f"{name}: ", "yellow"), text))
        console.print(grid)
    return stream.getvalue()


def width_of(stdout: OutputWrapper) -> int:
    """How many columns there are."""
    return shutil.get_terminal_size().columns if stdout.isatty() else DEFAULT_WIDTH


def is_colored(options: Options, stdout: OutputWrapper) -> bool:
    """Whether colours are wanted: Django's options decide, then NO_COLOR, then the terminal."""
    if options.get("force_color"):
        return True
    return stdout.isatty() and not options.get("no_color") and not os.environ.get("NO_COLOR")
