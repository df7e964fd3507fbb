"""Look at saved runs, at services, at the machine, and at the benchmark itself."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from django.core.management.base import OutputWrapper
from rich.text import Text

from redisdict.bench import noise
from redisdict.bench.calibration import calibrate
from redisdict.bench.choices import cell_parts
from redisdict.bench.cli import output
from redisdict.bench.compare import Change, compare, regressions
from redisdict.bench.doctor import diagnose, measure_floor
from redisdict.bench.errors import ExitStatus, UsageError
from redisdict.bench.measure.services import discover
from redisdict.bench.measure.statistics import Ratio, Verdict
from redisdict.bench.records import CALIBRATION, check_database, find_run, mark_baseline, save_run
from redisdict.bench.report.files import from_json
from redisdict.bench.report.summary import counts_text
from redisdict.bench.report.tables import MISSING
from redisdict.bench.report.terminal import Form, laid_out
from redisdict.bench.selftest import (
    CLOSE,
    Finding,
    SelfTest,
    broken_promises,
    busy_neighbour,
    selftest,
)
from redisdict.models import BenchmarkRun


def list_runs(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """List the latest runs, one a line."""
    check_database()
    runs = BenchmarkRun.objects.all()[: options["limit"]]
    if not runs:
        stderr.write("No run is saved yet; `redisbench --quick` makes the first.\n")
    headings = ("RUN", "STARTED", "PRESET", "STATUS", "NOISE FLOOR", "LABEL")
    stdout.write(output.rows_text([_list_row(run) for run in runs], stdout, headings))
    return ExitStatus.FINE


def _list_row(run: BenchmarkRun) -> list[str]:
    floor = "-" if run.noise is None else f"{run.noise:.1%}"
    return [
        str(run.pk),
        f"{run.started_at:%Y-%m-%d %H:%M}",
        run.preset,
        run.status,
        floor,
        run.label + (" (baseline)" if run.is_baseline else ""),
    ]


def show_run(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Show one run in any of the formats."""
    if options["output"]:
        output.check_writable(options["output"])
    check_database()
    run = find_run(options["run"])
    text = output.report_text(run, options, stdout)
    if options["format"] not in ("json", "markdown"):  # which have them in themselves
        stderr.write(output.warnings_text(run, options, stderr))
        stderr.flush()
    output.send(text, options["output"], stdout)
    return ExitStatus.FINE


#: The same, with JSON as the usual format.
export_run = show_run


def compare_runs(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Compare two runs; exit status 1 when something is slower by more than the threshold."""
    check_database()
    before = find_run(options["before"])
    after = find_run(options["after"])
    changes = compare(before, after)
    width = output.width_of(stdout)
    stdout.write(comparison_text(before, after, changes, width, is_verbose=options["verbose"]))
    is_slower = regressions(changes, options["fail_threshold"])
    return output.regression_status(is_slower, options, stderr)


def import_run(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
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
    run = save_run(from_json(text))
    stdout.write(f"{run.pk}\n")
    return ExitStatus.FINE


def make_baseline(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Make a saved run the one that 'baseline' names and that isn't pruned."""
    check_database()
    run = find_run(options["run"])
    mark_baseline(run)
    stdout.write(f"{run.pk}\n")
    return ExitStatus.FINE


def prune_runs(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Delete all but the latest runs; baselines and calibrations stay."""
    check_database()
    kept = list(BenchmarkRun.objects.values_list("pk", flat=True)[: options["keep"]])
    old = BenchmarkRun.objects.filter(is_baseline=False).exclude(pk__in=kept)
    old = old.exclude(preset=CALIBRATION)
    count = old.count()
    old.delete()
    stdout.write(f"{count}\n")
    return ExitStatus.FINE


DECIDED = (Verdict.FASTER, Verdict.SLOWER)

#: What matters most comes last, right above the summary and the prompt.
ORDER = (Verdict.NOT_COMPARABLE, Verdict.SAME, Verdict.UNSURE, Verdict.FASTER, Verdict.SLOWER)


def comparison_text(
    before: BenchmarkRun,
    after: BenchmarkRun,
    changes: Sequence[Change],
    width: int,
    *,
    is_verbose: bool = True,
) -> str:
    """Write a table of all cells with a verdict, or of the decided ones; and count them."""
    if not changes:
        return "The runs have no cell in common.\n"
    ordered = sorted(changes, key=lambda change: ORDER.index(change.verdict))
    shown = [one for one in ordered if is_verbose or one.verdict in DECIDED]
    form = Form(
        ("Service", "Row", "Operation"),
        ("before", "now", "now / before", "verdict"),
        [_row(change) for change in shown],
    )
    reasons = Counter(change.reason for change in ordered if change.reason)
    counts = Counter(change.verdict for change in changes)
    lines = [
        f"{_name(before)} -> {_name(after)}, operations per second;"
        " now / before compares the speeds relative to the reference",
        *(line.plain for line in laid_out([form], width) if shown),
        *(f"not comparable: {reason}" for reason in reasons if is_verbose),
        counts_text(counts, "" if is_verbose else "--verbose"),
    ]
    if not is_verbose and len(reasons) == 1 and counts[Verdict.NOT_COMPARABLE] == len(changes):
        lines.insert(-1, f"not comparable: {next(iter(reasons))}")
    return "".join(f"{line}\n" for line in lines)


def _row(change: Change) -> tuple[list[str], list[Text]]:
    service, *row, operation = cell_parts(change.after)
    speeds = (change.before.ops_per_second, change.after.ops_per_second)
    figures = [MISSING if speed is None else f"{speed:,.0f}" for speed in speeds]
    figures += [str(change.ratio) if change.ratio else MISSING, change.verdict]
    return [service, ", ".join(row), operation], [*map(Text, figures)]


def _name(run: BenchmarkRun) -> str:
    return f"{run.label or run.preset} ({run.started_at:%Y-%m-%d %H:%M})"


def show_services(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """List every service of the report: key, title, source, and address or what is missing."""
    services = discover(options["url"], allow_remote=options["allow_remote"])
    rows = [[one.key, one.title, one.source, one.reason or one.address] for one in services]
    if stdout.isatty():
        rows = [[key, title, ": ".join(filter(None, rest))] for key, title, *rest in rows]
    stdout.write(output.rows_text(rows, stdout, ("NAME", "SERVICE", "FROM")))
    return ExitStatus.FINE


def doctor(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Report disturbances, remedies, and the lowest possible times; or calibrate."""
    if options["calibrate"]:
        return _calibrate(options["calibrate"], stdout, stderr)
    for diagnosis in diagnose():
        mark = "!" if diagnosis.advice else "ok"
        line = f"{mark:3}{diagnosis.name}: {diagnosis.finding}"
        stdout.write(f"{line}. {diagnosis.advice}".rstrip() + "\n")
    floor = measure_floor()
    if floor is not None:
        stdout.write(
            f"ok floor: a GET takes {floor.socket_us:.1f} µs over a bare socket and"
            f" {floor.client_us:.1f} µs through redis-py, on one CPU;"
            f" the socket is {floor.socket_against_client} times as fast.\n"
        )
    return ExitStatus.FINE


def _calibrate(count: int, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    check_database()
    run = save_run(calibrate(count, lambda text: stderr.write(f"{text}\n")))
    for name, deviation in run.environment[noise.KEY]["deviations"].items():
        stdout.write(f"{name}: equal runs deviate by {deviation:.1%}\n")
    return ExitStatus.FINE


def run_selftest(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Run the self-test; exit status 4 when a promise is broken, each of which has its line."""
    runs: list[SelfTest] = []
    with busy_neighbour() if options["busy_neighbour"] else nullcontext():
        for number in range(1, options["runs"] + 1):
            runs.append(selftest(options["seconds"], seed=number))
            for line in _run_lines(number, runs[-1]):
                stdout.write(f"{line}\n")
            stdout.flush()
    findings = [finding for run in runs for finding in run.findings]
    broken = [f"broken promise: {promise}" for promise in broken_promises(findings)]
    stdout.writelines(f"{line}\n" for line in [*_summary(findings), *_shares(runs), *broken])
    return ExitStatus.TOO_NOISY if broken else ExitStatus.FINE


def _run_lines(number: int, run: SelfTest) -> Iterator[str]:
    for one in run.findings:
        right = "" if one.is_right else " (WRONG)"
        delay = f"delay {one.delay:.0%}"
        yield f"run {number:2} {one.operation} {delay:9} {_ratio(one.ratio)} {one.verdict}{right}"
    for operation, ratio in run.bare_loops.items():
        yield f"run {number:2} {operation} bare loop {_ratio(ratio)}"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _summary(findings: Sequence[Finding]) -> Iterator[str]:
    """Sum up what was found, for each delay."""
    for delay in sorted({finding.delay for finding in findings}):
        chosen = [finding for finding in findings if finding.delay == delay]
        right = sum(finding.is_right for finding in chosen)
        errors = sorted(abs(finding.error) for finding in chosen)
        within = sum(error <= CLOSE for error in errors)
        what = f"a delay of {delay:.0%} found" if delay else "no false alarm"
        yield (
            f"{what}: {right} of {len(chosen)}; ratio within 1 % of the truth:"
            f" {within} of {len(chosen)}; worst error {errors[-1]:.2%}"
        )


def _shares(runs: Sequence[SelfTest]) -> Iterator[str]:
    """Report the time that the harness adds to an operation, as the median of all runs."""
    shares: dict[str, list[float]] = {}
    for run in runs:
        for operation, ratio in run.bare_loops.items():
            shares.setdefault(operation, []).append(ratio.value - 1)
    for operation, own in shares.items():
        yield (
            f"the harness's own share of {operation}, against a bare loop over the same client:"
            f" {statistics.median(own):+.2%} (runs: {min(own):+.2%} to {max(own):+.2%})"
        )
