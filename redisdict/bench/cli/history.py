"""The subcommands that work on saved runs: list, show, compare, export, import, prune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import OutputWrapper

from redisdict.bench.cli.comparing import comparison_text
from redisdict.bench.cli.delivering import send
from redisdict.bench.cli.printing import report_text, rows_text, warnings_text, width_of
from redisdict.bench.compare import compare, regressions
from redisdict.bench.errors import UsageError
from redisdict.bench.output import check_writable
from redisdict.bench.report.exchange import from_json
from redisdict.bench.store import check_database, find_run, load_record, save_record
from redisdict.models import BenchmarkRun

__all__ = ["compare_runs", "export_run", "import_run", "list_runs", "prune_runs", "show_run"]

Options = Mapping[str, Any]


def list_runs(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """The latest runs, one a line."""
    check_database()
    runs = BenchmarkRun.objects.all()[: options["limit"]]
    if not runs:
        stderr.write("No run is saved yet; `redisbench --quick` makes the first.\n")
    stdout.write(rows_text([_list_row(run) for run in runs], stdout))
    return 0


def _list_row(run: BenchmarkRun) -> list[str]:
    floor = "-" if run.noise_floor is None else f"{run.noise_floor:.1%}"
    return [
        str(run.pk),
        f"{run.started_at:%Y-%m-%d %H:%M}",
        run.preset,
        run.status,
        f"noise floor {floor}",
        run.label + (" (baseline)" if run.is_baseline else ""),
    ]


def show_run(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """One run in any of the formats."""
    if options["output"]:
        check_writable(options["output"])
    check_database()
    record = load_record(find_run(options["run"]))
    text = report_text(record, options, stdout)
    send(text, options["output"], stdout)
    if options["format"] not in ("json", "markdown"):  # which have them in themselves
        stderr.write(warnings_text(record, options, stderr))
    return 0


#: The same, with JSON as the usual format.
export_run = show_run


def compare_runs(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """What became faster or slower; 1 when something did by more than the threshold."""
    check_database()
    before = load_record(find_run(options["before"]))
    after = load_record(find_run(options["after"]))
    changes = compare(before, after)
    stdout.write(comparison_text(before, after, changes, width_of(stdout)))
    return 1 if regressions(changes, options["fail_threshold"]) else 0


def import_run(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Save a run from a file that `export` wrote; one that is there already is replaced.

    Raises:
        UsageError: the file can't be read, or isn't a run.
    """
    check_database()
    path = options["file"]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}.") from error
    run = save_record(from_json(text))
    stdout.write(f"{run.pk}\n")
    return 0


def prune_runs(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Delete all but the latest runs; baselines stay."""
    check_database()
    kept = list(BenchmarkRun.objects.values_list("pk", flat=True)[: options["keep"]])
    old = BenchmarkRun.objects.filter(is_baseline=False).exclude(pk__in=kept)
    count = old.count()
    old.delete()
    stdout.write(f"{count}\n")
    return 0
