"""Look at services, at the machine, and at the benchmark itself: services, doctor, selftest."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from django.core.management.base import OutputWrapper

from redisdict.bench.cli.output import Options, rows_text
from redisdict.bench.doctor import diagnose, measure_floor
from redisdict.bench.errors import ExitStatus
from redisdict.bench.measure.services import discover
from redisdict.bench.measure.statistics import Ratio
from redisdict.bench.selftest import Finding, SelfTest, busy_neighbour, is_trustworthy, selftest

__all__ = ["doctor", "run_selftest", "show_services"]


def show_services(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """List every service of the report: key, title, source, and address or what is missing."""
    services = discover(options["url"], allow_remote=options["allow_remote"])
    rows = [[one.key, one.title, one.source, one.reason or one.address] for one in services]
    if stdout.isatty():
        rows = [[key, title, ": ".join(filter(None, rest))] for key, title, *rest in rows]
    stdout.write(rows_text(rows, stdout))
    return ExitStatus.FINE


def doctor(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Tell what disturbs, what to do, and the floor that no client gets below."""
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


def run_selftest(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Run the self-test; exit status 4 when equal and delayed servers aren't told apart."""
    runs: list[SelfTest] = []
    with busy_neighbour() if options["busy_neighbour"] else nullcontext():
        for number in range(1, options["runs"] + 1):
            runs.append(selftest(options["seconds"], seed=number))
            for line in _run_lines(number, runs[-1]):
                stdout.write(f"{line}\n")
            stdout.flush()
    findings = [finding for run in runs for finding in run.findings]
    stdout.writelines(f"{line}\n" for line in [*_summary(findings), *_shares(runs)])
    return ExitStatus.FINE if is_trustworthy(findings) else ExitStatus.TOO_NOISY


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
        within = sum(error <= 0.01 for error in errors)
        what = f"a delay of {delay:.0%} found" if delay else "no false alarm"
        yield (
            f"{what}: {right} of {len(chosen)}; ratio within 1 % of the truth:"
            f" {within} of {len(chosen)}; worst error {errors[-1]:.2%}"
        )


def _shares(runs: Sequence[SelfTest]) -> Iterator[str]:
    """Tell what the harness adds to an operation, in the middle of all runs."""
    shares: dict[str, list[float]] = {}
    for run in runs:
        for operation, ratio in run.bare_loops.items():
            shares.setdefault(operation, []).append(ratio.value - 1)
    for operation, own in shares.items():
        yield (
            f"the harness's own share of {operation}, against a bare loop over the same client:"
            f" {statistics.median(own):+.2%} (runs: {min(own):+.2%} to {max(own):+.2%})"
        )
