"""docs/operations.md has every metric, every logger with its levels, every option of the audit."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import redisdict
from redisdict.management.commands.modeldict import Command
from redisdict.metrics import METRICS, Metric
from redisdict.modelcache.audit import judge

TEXT = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
PACKAGE = Path(redisdict.__file__).parent

#: At which level a logger's method logs.
LEVELS = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def row_of(metric: Metric) -> list[str]:
    there = f", there `{metric.opentelemetry}`" if metric.opentelemetry else ""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return [f"`{metric.name}`{there}", metric.kind, metric.unit, labels, metric.help]


def test_every_metric_is_told() -> None:
    told = [row for row in rows_of(section("Metrics")) if row[0].startswith("`")]
    assert told == [row_of(metric) for metric in METRICS]


def logged() -> dict[str, set[str]]:
    """The levels at which each logger of the package logs."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = [
            node.args[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "logging.getLogger"
            and isinstance(node.args[0], ast.Constant)
        ]
        methods = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == "logger"
        }
        if methods:
            [name] = names
            found.setdefault(str(name), set()).update(LEVELS[method] for method in methods)
    return found


def test_every_logger_is_told_with_its_levels() -> None:
    told = {
        row[0].strip("`"): set(row[1].split(", "))
        for row in rows_of(section("Logs"))
        if row[0].startswith("`")
    }
    assert told == logged()
    assert all(name.split(".")[0] == "redisdict" for name in told)


def test_every_option_of_the_audit_is_told() -> None:
    parser = Command().create_parser("manage.py", "modeldict")
    [group] = [each for each in parser._action_groups if each.title == "audit"]
    options = {action.option_strings[0] for action in group._group_actions} | {"--database"}
    told = set(re.findall(r"(?<=`)--[a-z-]+", section("Audit")))
    assert options <= told


def test_every_reason_is_told() -> None:
    reasons = {judge.EMPTY, judge.CHANGED, judge.SNAPSHOT, judge.UNKNOWN}
    told = {row[0].strip("`") for row in rows_of(section("Audit"))}
    assert reasons <= told
