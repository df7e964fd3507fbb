"""Measure one run, from the options of `redisbench` to the exit status."""

from __future__ import annotations

from contextlib import closing

from django.core.management.base import OutputWrapper

from redisdict.bench import records
from redisdict.bench.choices import RunStatus
from redisdict.bench.cli import output
from redisdict.bench.cli.inspect import comparison_text
from redisdict.bench.compare import Change, compare, regressions
from redisdict.bench.errors import ExitStatus, UsageError
from redisdict.bench.measure.cleanup import Interrupted, Interruption
from redisdict.bench.measure.progress import WatchedProgress, reporter_for
from redisdict.bench.measure.services import discover
from redisdict.bench.measure.session import Session
from redisdict.bench.measure.statistics import Verdict
from redisdict.bench.measure.warnings import NOISY
from redisdict.bench.selection import (
    check_spec,
    choose_services,
    read_spec,
    select,
    shortened,
    spec_from_dict,
)
from redisdict.bench.spec import PRESETS, BenchmarkSpec
from redisdict.models import BenchmarkRun


def measure(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Measure, report and save one run; the exit status.

    Raises:
        UsageError, ConfigurationError: it can't be done; nothing was measured.
        Interrupted: after what was measured is saved and printed.
    """
    if (finished := _finished(options)) is not None:
        stderr.write(
            f"{finished} is finished; there is nothing left to measure, and it isn't changed.\n"
        )
        text = output.report_text(finished, options, stdout)
        output.deliver(text, options["output"], stdout, stderr)
        return ExitStatus.FINE
    session, baseline = _prepare(options, stderr)
    run = session.record
    is_delivered = carry_out(session, options, stdout, stderr)
    if options["mark_baseline"] and not options["no_save"]:
        records.mark_baseline(run)
    changes = compare(baseline, run) if baseline else []
    if baseline:
        width = output.width_of(stderr)
        text = comparison_text(baseline, run, changes, width, is_verbose=options["verbose"])
        stderr.write(text)
    if session.has_wrong_reply:
        return ExitStatus.WRONG_REPLY
    if not is_delivered or _has_failure(run, options):
        return ExitStatus.FAILED_CELL
    if slower := regressions(changes, options["fail_threshold"]):
        return output.regression_status(slower, options, stderr)
    if options["strict"] and _is_noisy(run, changes):
        return ExitStatus.TOO_NOISY
    return ExitStatus.FINE


def carry_out(
    session: Session, options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper
) -> bool:
    """Measure, save and report; return whether the report and the database are complete.

    Raises:
        UsageError: nothing could be measured.
        Interrupted: after what was measured is saved and printed.
    """
    try:
        with closing(session.reporter):
            session.run()
    except Interrupted as error:
        stderr.write(f"{error}: finished results are kept.\n")
        error.is_told = True
        _deliver(options, session, stdout, stderr)
        raise
    stderr.write(output.warnings_text(session.record, options, stderr))
    return _deliver(options, session, stdout, stderr)


def _prepare(options: output.Options, stderr: OutputWrapper) -> tuple[Session, BenchmarkRun | None]:
    """Look at everything that can be wrong with a call; give the session, and the baseline."""
    if options["output"]:
        output.check_writable(options["output"])
    if options["no_save"] and options["resume"]:
        raise UsageError("--resume completes a saved run, so it can't be combined with --no-save.")
    needs_database = not options["no_save"] or options["baseline"]
    if options["resume"]:
        records.check_database()
    resumed = records.find_run(options["resume"]) if options["resume"] else None
    spec = _specification(options, resumed)
    available = discover(options["url"], allow_remote=options["allow_remote"])
    services = choose_services(available, options["service"] or spec.services)
    if needs_database:
        records.check_database()
    baseline = records.find_run(options["baseline"]) if options["baseline"] else None
    run = records.new_run(spec, options["label"]) if resumed is None else _reopened(resumed)
    told = ("title", "source", "address", "reason")
    run.services = [{name: getattr(service, name) for name in told} for service in services]
    reporter = reporter_for(stderr)
    if options["watched"]:
        reporter = WatchedProgress(reporter, run.identifier)
    session = Session(
        spec,
        services,
        record=run,
        recorder=records.Recorder(is_saving=not options["no_save"]),
        reporter=reporter,
        interruption=Interruption(),
        calibration=None
        if options["no_save"]
        else records.latest_calibration(run.environment.get("machine_hash", "")),
    )
    return session, baseline


def _finished(options: output.Options) -> BenchmarkRun | None:
    """Find the run to be completed, if it is complete."""
    if not options["resume"] or options["no_save"]:
        return None
    records.check_database()
    run = records.find_run(options["resume"])
    return run if run.status == RunStatus.FINISHED else None


def _specification(options: output.Options, resumed: BenchmarkRun | None) -> BenchmarkSpec:
    if resumed is not None:
        return spec_from_dict(resumed.spec, where=f"run {options['resume']}")
    if options["spec"]:
        base = read_spec(options["spec"])
    else:
        base = PRESETS[options["preset"] or "standard"]
    if options["seconds"]:
        base = shortened(base, options["seconds"])
    spec = select(
        base,
        modes=options["mode"],
        pools=options["pool"],
        operations=options["operation"],
        tables=options["table"],
        services=tuple(options["service"]) or None,
        seed=options["seed"],
        placement=options["placement"],
        event_loop=options["event_loop"],
        value_bytes=tuple(options["value_bytes"]) or None,
        iteration_items=options["items"],
        concurrency=tuple(options["concurrency"]) or None,
        connections=tuple(options["connections"]) or None,
        batch_size=options["batch_size"],
        is_transaction=options["transaction"],
        rate=options["rate"],
    )
    return check_spec(spec, "the options")


def _reopened(run: BenchmarkRun) -> BenchmarkRun:
    """Prepare a run to be completed: without what is to be measured again."""
    run.status, run.error = RunStatus.RUNNING, ""
    run.cells = [one for one in run.cells if one.is_measured]
    return run


def _deliver(
    options: output.Options, session: Session, stdout: OutputWrapper, stderr: OutputWrapper
) -> bool:
    """Print or write the report; return whether it and the database are complete."""
    text = output.report_text(session.record, options, stdout)
    is_delivered = output.deliver(text, options["output"], stdout, stderr)
    if session.recorder.failure:
        stderr.write(f"The database could not be written: {session.recorder.failure}\n")
        output.rescue(session.record, stderr)
        is_delivered = False
    return is_delivered


def _has_failure(run: BenchmarkRun, options: output.Options) -> bool:
    """Find a cell that failed, or a service that was asked for by name and isn't there."""
    return run.status == RunStatus.PARTIAL or (
        bool(options["service"]) and any(service["reason"] for service in run.services)
    )


def _is_noisy(run: BenchmarkRun, changes: list[Change]) -> bool:
    return any(warning["name"] in NOISY for warning in run.warnings) or any(
        change.verdict is Verdict.UNSURE for change in changes
    )
