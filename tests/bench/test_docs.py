"""docs/benchmarks.md tells everything there is, and nothing that isn't."""

from __future__ import annotations

import re
import tomllib
from argparse import ArgumentParser, _SubParsersAction
from dataclasses import fields
from pathlib import Path

import pytest

from redisdict.bench.cli.arguments import add_arguments
from redisdict.bench.errors import EXIT_STATUSES
from redisdict.bench.measure.warnings import __file__ as warnings_file
from redisdict.bench.report.files import RESULT_FIELDS, RUN_FIELDS, SCHEMA, VERSION
from redisdict.bench.selection import spec_from_dict
from redisdict.bench.spec import PRESETS, BenchmarkSpec, Precision

DOCS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


@pytest.fixture(scope="module")
def text() -> str:
    return DOCS.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    parser = ArgumentParser()
    add_arguments(parser)
    return parser


def options(parser: ArgumentParser) -> set[str]:
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for sub in action.choices.values():
                found |= options(sub)
    return {option for option in found if option.startswith("--") and option != "--help"}


def test_every_option_is_documented_and_no_other(text: str, parser: ArgumentParser) -> None:
    documented = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    there = options(parser)
    assert documented - {"--help"} == there


def test_every_subcommand_is_documented(text: str, parser: ArgumentParser) -> None:
    (actions,) = (one for one in parser._actions if isinstance(one, _SubParsersAction))
    for name in actions.choices:
        assert f"redisbench {name}" in text


def test_the_exit_statuses_are_those_of_the_help(text: str, parser: ArgumentParser) -> None:
    section = text.split("## Exit status")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([0-9, ]+) \| (.+) \|$", section, re.MULTILINE)
    assert dict(rows) == EXIT_STATUSES
    told = " ".join((parser.epilog or "").split())
    for status, meaning in EXIT_STATUSES.items():
        assert f"{status}: {meaning.replace('`', '')}" in told


def test_every_warning_is_documented_and_no_other(text: str) -> None:
    code = Path(warnings_file).read_text(encoding="utf-8")
    names = set(re.findall(r'yield \(\s+"([a-z-]+)",', code))
    section = text.split("## Warnings")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == names
    assert len(names) > 10


def test_every_field_of_the_exchange_format_is_documented(text: str) -> None:
    section = text.split("## The JSON format")[1].split("\n## ")[0]
    assert f'"schema": "{SCHEMA}", "version": {VERSION}' in section
    for name in (*RUN_FIELDS, "results", *RESULT_FIELDS):
        assert f"`{name}`" in section, name


def test_every_key_of_a_specification_is_documented(text: str) -> None:
    section = text.split("## Choosing")[1].split("\n## ")[0]
    for field in (*fields(BenchmarkSpec), *fields(Precision)):
        assert field.name in section, field.name


def test_the_specification_shown_can_be_used(text: str) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    spec = spec_from_dict(tomllib.loads(example), where="the docs")
    assert spec.seed == 7


def test_the_presets_are_documented(text: str) -> None:
    assert "\\|".join(PRESETS) in text
