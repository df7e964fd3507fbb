"""Where a report goes, and where it goes when it can't go there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from django.core.management.base import OutputWrapper

from redisdict.bench.errors import UsageError, describe
from redisdict.bench.output import write_report
from redisdict.bench.report.exchange import to_json
from redisdict.bench.results import RunRecord

__all__ = ["deliver", "rescue", "send"]


def send(text: str, output: Path | None, stdout: OutputWrapper) -> None:
    """Write the file, or print.

    Raises:
        UsageError: it can't be written, or not all of it.
    """
    if output is None:
        _print(text, stdout)
        return
    try:
        write_report(output, text)
    except OSError as error:
        raise UsageError(f"--output {output} could not be written: {error}.") from error


def deliver(text: str, output: Path | None, stdout: OutputWrapper, stderr: OutputWrapper) -> bool:
    """Send it, or print it when there is no room for the file; whether it went where it should."""
    try:
        send(text, output, stdout)
    except UsageError as error:
        stderr.write(f"{describe(error)}\n")
        if output is not None:
            stderr.write("Here it is instead.\n")
            deliver(text, None, stdout, stderr)
        return False
    return True


def rescue(record: RunRecord, stderr: OutputWrapper) -> None:
    """Keep the run in a file, since the database doesn't."""
    path = Path(tempfile.gettempdir()) / f"redisbench-{record.identifier}.json"
    try:
        path.write_text(to_json(record), encoding="utf-8")
    except OSError as error:
        stderr.write(f"The run is lost but for its report: {path} can't be written: {error}\n")
    else:
        stderr.write(f"The run is in {path}; `redisbench import {path}` saves it later.\n")


def _print(text: str, stdout: OutputWrapper) -> None:
    try:
        stdout.write(text)
        stdout.flush()
    except OSError as error:
        # Python writes once more when it ends, and would tell of the same error in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(
            f"Standard output could not be written: {error}. `redisbench show RUN` prints a saved"
            " run again."
        ) from error
