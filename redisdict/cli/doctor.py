"""Write the findings of the doctor."""

from __future__ import annotations

from dataclasses import asdict

from redisdict.cli.chosen import Options
from redisdict.cli.output import ExitStatus, Output
from redisdict.inspection.doctor import Finding, examine


def doctor(options: Options, output: Output) -> int:
    """Write a line for each finding; the worst of them is the exit status."""
    status = ExitStatus.FINE
    for finding in examine(options["using"], options["processes"]):
        output.result(asdict(finding), _line(finding))
        if finding.level == "error":
            status = ExitStatus.FAILED_SERVER
        elif finding.level == "warning" and status is ExitStatus.FINE:
            status = ExitStatus.FINDINGS
    return status


def _line(finding: Finding) -> str:
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{finding.level:7}  {finding.subject}: {finding.text}{advice}"
