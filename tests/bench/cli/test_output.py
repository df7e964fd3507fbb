"""A report's file: known to be writable beforehand, written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from redisdict.bench.cli.output import check_writable, write_report
from redisdict.bench.errors import UsageError

PROJECT = Path(__file__).resolve().parents[3]


def test_a_new_and_an_old_file_will_do(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    check_writable(path)
    assert not path.exists()
    path.write_text("old")
    check_writable(path)
    assert path.read_text() == "old"


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory; the name of a file is expected"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match=r"there is no directory .*none. Create it first"):
        check_writable(tmp_path / "none" / "report.md")
    with pytest.raises(UsageError, match=r"can't be written: .*Choose another path"):
        check_writable(Path("/proc/report.md"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="can't be written: Permission denied"):
        check_writable(tmp_path / "report.md")


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_report(path, "old")
    write_report(path, "new\n")
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_report(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")
    # A limit on the size of files has write(2) fail as a full disk does, for this process alone.
    code = f"""
import pathlib, resource
import django
django.setup()
from redisdict.bench.cli.output import write_report
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_report(pathlib.Path({str(path)!r}), "x" * 100_000)
except OSError as error:
    print(error.strerror)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "File too large\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_os_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        write_report(Path("/dev/full"), "x" * 100_000)


def test_a_device_is_written_to_and_not_replaced() -> None:
    check_writable(Path("/dev/null"))
    write_report(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()
