"""Compare two commits, environments, settings or servers in one run."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace

from django.core.management.base import OutputWrapper

from redisdict.bench import records
from redisdict.bench.ab.session import SPEC, AbSession
from redisdict.bench.ab.sides import find_side
from redisdict.bench.choices import Comparison, RunStatus
from redisdict.bench.cli import output
from redisdict.bench.cli.run import carry_out
from redisdict.bench.errors import ExitStatus, UsageError
from redisdict.bench.measure.cleanup import Interruption
from redisdict.bench.measure.progress import reporter_for
from redisdict.bench.measure.services import Service, discover
from redisdict.bench.measure.statistics import Verdict
from redisdict.models import BenchmarkRun

#: The seconds that each generation of processes gets; a shorter run plans fewer generations.
SECONDS_A_START = 8


def compare_sides(options: output.Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Measure both sides in turn; exit status 1 when B is slower than A by more than the threshold.

    Raises:
        UsageError: an argument is nothing that can be compared, or a side can't be measured.
        Interrupted: after what was measured is saved and printed.
    """
    if options["output"]:
        output.check_writable(options["output"])
    if not options["no_save"]:
        records.check_database()
    with ExitStack() as stack:
        remote = options["allow_remote"]
        first = find_side("A", options["a"], stack, allow_remote=remote)
        second = find_side("B", options["b"], stack, allow_remote=remote)
        spec = replace(SPEC, seed=options["seed"] or SPEC.seed)
        if options["seconds"]:
            seconds: float = options["seconds"]
            starts = min(spec.precision.server_starts, max(round(seconds / SECONDS_A_START), 2))
            precision = replace(spec.precision, seconds=seconds, server_starts=starts)
            spec = replace(spec, precision=precision)
        run = records.new_run(spec, options["label"])
        default = _default_service()
        for side in (first, second):
            service = side.service or default
            told = {"source": service.source, "address": service.address, "reason": ""}
            run.services.append({"title": side.title, **told})
        session = AbSession(
            spec,
            [replace(side.service or default, title=side.title) for side in (first, second)],
            record=run,
            recorder=records.Recorder(is_saving=not options["no_save"]),
            reporter=reporter_for(stderr),
            interruption=Interruption(),
            sides=(first, second),
            calls=tuple(options["call"]),
            default=default,
        )
        is_delivered = carry_out(session, options, stdout, stderr)
    if not is_delivered or run.status == RunStatus.PARTIAL:
        return ExitStatus.FAILED_CELL
    return output.regression_status(_is_slower(run, options["fail_threshold"]), options, stderr)


def _is_slower(run: BenchmarkRun, threshold_percent: float) -> bool:
    limit = math.log1p(-threshold_percent / 100)
    return any(
        one["kind"] == Comparison.SERVICE
        and one["verdict"] == Verdict.SLOWER
        and math.log(one["ratio"]) < limit
        for one in run.comparisons
    )


def _default_service() -> Service:
    """Choose the server that both share: the first single one that is here."""
    for service in discover():
        if service.is_available and not service.has_own_pool:
            return service
    raise UsageError("No server is here; `redisbench services` says how to get one.")
