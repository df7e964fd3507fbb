"""Calibrate a machine: measure how much equal quick runs differ on it.

Each run is a process of its own with servers of its own, like two runs that a user compares.
The outcome is stored as a run, and later runs on this machine use its estimate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from redisdict.bench import noise
from redisdict.bench.errors import UsageError
from redisdict.bench.records import CALIBRATION
from redisdict.bench.report.files import from_json
from redisdict.models import BenchmarkRun

#: The differences between fewer runs say next to nothing.
LEAST_RUNS = 3

ARGUMENTS = ("--quick", "--no-save", "--format", "json")


def calibrate(count: int, tell: Callable[[str], None], *more: str) -> BenchmarkRun:
    """Make equal runs and estimate how much they differ. Returns a run that isn't saved yet.

    Args:
        count: the number of runs, at least `LEAST_RUNS`; each takes about 20 seconds.
        tell: called with a text before each run.
        more: arguments of `redisbench`, for the tests.

    Raises:
        UsageError: a run failed; the error has the last line of its output.
    """
    runs = []
    for number in range(1, count + 1):
        tell(f"run {number} of {count}")
        runs.append(_run(f"{number}", *more))
    deviations = noise.calibrate(runs)
    calibration = runs[-1]
    calibration.preset, calibration.label = CALIBRATION, f"calibration over {count} runs"
    calibration.started_at = runs[0].started_at
    calibration.environment[noise.KEY] = {
        "source": f"{count} equal runs",
        "deviations": deviations,
    }
    return calibration


def redisbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py redisbench` in a process of its own, with the settings of this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if settings.SETTINGS_MODULE:
        environment["DJANGO_SETTINGS_MODULE"] = settings.SETTINGS_MODULE
    return subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "django", "redisbench", *arguments],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def _run(seed: str, *more: str) -> BenchmarkRun:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "run.json"
        done = redisbench(*ARGUMENTS, "--seed", seed, "--output", str(path), *more)
        if done.returncode:
            last = done.stderr.strip().rpartition("\n")[2]
            raise UsageError(f"A run of the calibration ended with {done.returncode}: {last}")
        return from_json(path.read_text(encoding="utf-8"))
