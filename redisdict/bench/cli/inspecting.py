"""The subcommands that look at services, at the machine, and at the benchmark itself."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from django.core.management.base import OutputWrapper

from redisdict.bench.doctor import diagnose, measure_floor
from redisdict.bench.selftest import Finding, busy_neighbour, selftest
from redisdict.bench.services import discover

__all__ = ["doctor", "run_selftest", "show_services"]

#: The exit status of a self-test that decided wrongly: too noisy here.
TOO_NOISY = 4

Options = Mapping[str, Any]


def show_services(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Every service of the report: key, title, source, and address or what is missing."""
    for service in discover(options["url"], allow_remote=options["allow_remote"]):
        columns = [service.key, service.title, service.source, service.reason or service.address]
        stdout.write("\t".join(columns).rstrip() + "\n")
    return 0


def doctor(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """What disturbs, what to do, and the floor that no client gets below."""
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
    return 0


def run_selftest(options: Options, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Runs on two equal servers, with and without injected delays; 4 when a verdict was wrong."""
    findings: list[Finding] = []
    shares: list[float] = []
    with busy_neighbour() if options["busy_neighbour"] else nullcontext():
        for number in range(options["runs"]):
            found = selftest(options["seconds"], seed=number + 1)
            findings += found.findings
            if found.bare_loop is not None:
                shares.append(found.bare_loop.value - 1)
            for finding in found.findings:
                stdout.write(
                    f"run {number + 1}\t{finding.operation}\tdelay {finding.delay:.0%}"
                    f"\tspeed {finding.ratio.value:.3f}"
                    f" [{finding.ratio.low:.3f}, {finding.ratio.high:.3f}]"
                    f"\t{finding.verdict}{'' if finding.is_right else ' (WRONG)'}\n"
                )
                stdout.flush()
    stdout.writelines(f"{line}\n" for line in _summary(findings))
    if shares:
        stdout.write(f"the harness's own share, median: {statistics.median(shares):.2%}\n")
    return 0 if all(finding.is_right for finding in findings) else TOO_NOISY


def _summary(findings: list[Finding]) -> list[str]:
    lines = []
    for delay in sorted({finding.delay for finding in findings}):
        chosen = [finding for finding in findings if finding.delay == delay]
        right = sum(finding.is_right for finding in chosen)
        errors = sorted(abs(finding.error) for finding in chosen)
        within = sum(error <= 0.01 for error in errors)
        what = f"a delay of {delay:.0%} found" if delay else "no false alarm"
        lines.append(
            f"{what}: {right} of {len(chosen)}; ratio within 1 % of the truth:"
            f" {within} of {len(chosen)}; worst error {errors[-1]:.2%}"
        )
    return lines
