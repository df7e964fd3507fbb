"""Where the report goes: standard output, or a file that is known to be writable beforehand."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from redisdict.bench.errors import UsageError

__all__ = ["check_writable", "write_report"]


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
