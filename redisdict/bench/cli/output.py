"""Write reports: fitted to a terminal, perhaps in colours, or plain to a file or pipe.

Whether a file can be written is tested before anything is measured.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import OutputWrapper
from rich.table import Table as Grid
from rich.text import Text

from redisdict.bench.errors import ExitStatus, UsageError, describe
from redisdict.bench.measure.warnings import DECISIVE, NOISY, warning_lines
from redisdict.bench.report import render
from redisdict.bench.report.files import to_json
from redisdict.bench.report.terminal import DEFAULT_WIDTH, item, printed, terminal
from redisdict.models import BenchmarkRun

#: What Django parsed of the command line.
Options = Mapping[str, Any]


def check_writable(path: Path) -> None:
    """Find out before anything is measured whether the report can be written.

    Raises:
        UsageError: it can't.
    """
    if path.is_dir():
        raise UsageError(f"--output {path} is a directory; the name of a file is expected.")
    if path.exists() and not path.is_file():
        return  # a pipe or a device, which is written to as it is
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"--output {path}: there is no directory {folder}. Create it first.")
    try:
        if path.exists():
            with path.open("ab"):
                pass
        # A report replaces the file in one step, which takes the right to write beside it.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"--output {path} can't be written: {error.strerror}. Choose another path."
        ) from error


def write_report(path: Path, text: str) -> None:
    """Write the file whole or not at all.

    Raises:
        OSError: the disk is full, or the directory is gone.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def report_text(run: BenchmarkRun, options: Options, stdout: OutputWrapper) -> str:
    """Write the run in the format that was asked for."""
    if options["format"] == "table" and options["output"] is None:
        return terminal(
            run,
            width=width_of(stdout),
            is_colored=is_colored(options, stdout),
            is_verbose=bool(options.get("verbose")),
        )
    return render(run, options["format"])


def rows_text(
    rows: Sequence[Sequence[str]], stdout: OutputWrapper, headings: Sequence[str] = ()
) -> str:
    """Align rows in columns on a terminal, below headings; for other programs, rows with tabs."""
    if not stdout.isatty():
        return "".join("\t".join(row).rstrip() + "\n" for row in rows)
    if not rows:
        return ""
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for row in [headings, *rows] if headings else rows:
        grid.add_row(*map(Text, row))
    return printed([grid], width_of(stdout))


def warnings_text(run: BenchmarkRun, options: Options, stderr: OutputWrapper) -> str:
    """Write the warnings about the figures, with their advice.

    Only those that change what may be concluded, unless all are asked for.
    """
    names = (
        None if options.get("verbose") else DECISIVE | (NOISY if options.get("strict") else set())
    )
    lines = warning_lines(run, names)
    if not stderr.isatty():
        return "".join(f"{line}\n" for line in lines)
    named = (line.partition(": ") for line in lines)
    items = [item("!", Text.assemble((f"{name}: ", "yellow"), text)) for name, _, text in named]
    return printed(items, width_of(stderr), is_colored=is_colored(options, stderr))


def width_of(stdout: OutputWrapper) -> int:
    """Count the columns there are."""
    return shutil.get_terminal_size().columns if stdout.isatty() else DEFAULT_WIDTH


def is_colored(options: Options, stdout: OutputWrapper) -> bool:
    """Decide on colours: by Django's options, then by NO_COLOR, then by the terminal."""
    if options.get("force_color"):
        return True
    return stdout.isatty() and not options.get("no_color") and not os.environ.get("NO_COLOR")


def regression_status(is_slower: object, options: Options, stderr: OutputWrapper) -> ExitStatus:
    """Choose the exit status, and report a regression: an error of use has the same status."""
    if not is_slower:
        return ExitStatus.FINE
    stderr.write(f"Slower by more than {options['fail_threshold']:g} %: exit status 1.\n")
    return ExitStatus.REGRESSION


def send(text: str, output: Path | None, stdout: OutputWrapper) -> None:
    """Write the file, or print.

    Raises:
        UsageError: it can't be written, or not all of it.
    """
    try:
        if output is None:
            stdout.write(text)
            stdout.flush()
        else:
            write_report(output, text)
    except OSError as error:
        if output is not None:
            raise UsageError(f"--output {output} could not be written: {error}.") from error
        # Python writes once more when it ends, and would tell of the same error in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(
            f"Standard output could not be written: {error}. `redisbench show RUN` prints a saved"
            " run again."
        ) from error


def deliver(text: str, output: Path | None, stdout: OutputWrapper, stderr: OutputWrapper) -> bool:
    """Send it, or print it when there is no room for the file; return whether it went as asked."""
    try:
        send(text, output, stdout)
    except UsageError as error:
        stderr.write(f"{describe(error)}\n")
        if output is not None:
            stderr.write("Here it is instead.\n")
            deliver(text, None, stdout, stderr)
        return False
    return True


def rescue(run: BenchmarkRun, stderr: OutputWrapper) -> None:
    """Keep the run in a file, since the database doesn't."""
    path = Path(tempfile.gettempdir()) / f"redisbench-{run.identifier}.json"
    try:
        path.write_text(to_json(run), encoding="utf-8")
    except OSError as error:
        stderr.write(
            f"The run couldn't be saved, and only its report is left: {path} can't be"
            f" written: {error}\n"
        )
    else:
        stderr.write(f"The run is in {path}; `redisbench import {path}` saves it later.\n")
