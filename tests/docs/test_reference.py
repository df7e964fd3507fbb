"""The reference has everything there is: settings, options, checks, errors, commands, names.

Each comparison is tried on a page without one of its entries, too: it has to fail then.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from redisdict import ComputedDict, ModelDict, conf
from redisdict.bench.errors import EXIT_STATUSES
from redisdict.bench.measure.services import KNOWN
from redisdict.bench.report.files import SCHEMA, VERSION
from redisdict.cache.options import CAPITALS
from redisdict.connections.options import OWN_OPTIONS
from redisdict.mapping import dump_format
from tests.docs.pages import ROOT, first_names, prose, read, rows, section

PACKAGE = ROOT / "redisdict"
SOURCES = {path: path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}


def check_ids() -> set[str]:
    return {
        name for source in SOURCES.values() for name in re.findall(r'id="(redisdict\.\w+)"', source)
    }


def loggers() -> set[str]:
    found = {
        name
        for source in SOURCES.values()
        for name in re.findall(r'^\w+ = logging\.getLogger\("([\w.]+)"\)', source, re.MULTILINE)
    }
    assert found
    return found


@cache
def errors() -> dict[str, str]:
    """The public classes under `RedisDictError`, by name, with their modules."""
    bases: dict[str, set[str]] = {}
    modules: dict[str, str] = {}
    for path, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {ast.unparse(base).split("[")[0] for base in node.bases}
                module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
                modules[node.name] = module
    found = {"RedisDictError"}
    while more := {name for name in bases if bases[name] & found} - found:
        found |= more
    return {name: modules[name] for name in found if not name.startswith("_")}


def public_errors() -> set[str]:
    return {name for name, module in errors().items() if module == "redisdict.exceptions"}


def other_errors() -> set[str]:
    return {
        f"{module}.{name}" for name, module in errors().items() if module != "redisdict.exceptions"
    }


def kinds_of_keys() -> set[str]:
    return set(re.findall(r'self\._key\("(\w+)"\)', SOURCES[PACKAGE / "mapping" / "keys.py"]))


def public_names(module: str) -> Callable[[], set[str]]:
    return lambda: set(import_module(module).__all__)


def functions_of_testing() -> set[str]:
    module = import_module("redisdict.testing")
    return {
        name
        for name, member in inspect.getmembers(module, inspect.isfunction)
        if member.__module__ == module.__name__ and not name.startswith("_")
    }


def arguments_of(function: Any) -> Callable[[], set[str]]:
    return lambda: set(inspect.signature(function).parameters) - {"self"}


@dataclass(frozen=True)
class Reference:
    """What a section of a page lists in the first column of its tables."""

    page: str
    heading: str | None
    names: Callable[[], set[str]]
    #: Which of the names in the first column are meant; the others are something else.
    pattern: str = ".*"
    #: Whether the sections below the heading count, too.
    is_whole: bool = True

    def documented(self, text: str) -> set[str]:
        part = section(text, self.heading) if self.heading else text
        if not self.is_whole:
            part = re.split(r"^#+ ", part, maxsplit=1, flags=re.MULTILINE)[0]
        return {name for name in first_names(part) if re.fullmatch(self.pattern, name)}

    def __str__(self) -> str:
        return f"{self.page}: {self.heading or 'all'}"


REFERENCES = [
    Reference("docs/reference/settings.md", "`REDISDICT`", lambda: {*conf.DEFAULTS}, "[A-Z_]+"),
    Reference(
        "docs/reference/settings.md",
        "Options of pools and connections",
        lambda: {*OWN_OPTIONS},
        "|".join(sorted(OWN_OPTIONS)),
    ),
    Reference("docs/cache.md", "Settings", lambda: {*CAPITALS}, "(?!LOCATION)[A-Z_]+"),
    Reference("docs/reference/settings.md", "`REDISDICT_ADMIN`", lambda: {"RUN_BENCHMARKS"}),
    Reference("docs/reference/settings.md", "`REDISDICT_BENCH`", lambda: {"SERVICES"}),
    Reference(
        "docs/reference/settings.md",
        "Other settings that the package reads or is named in",
        loggers,
        r"redisdict[\w.]*",
    ),
    Reference("docs/reference/checks.md", None, check_ids),
    Reference("docs/reference/errors.md", None, public_errors, r"\w+"),
    Reference("docs/reference/errors.md", None, other_errors, r"\w+\..*"),
    Reference("docs/reference/stored-forms.md", "Keys of dicts and model caches", kinds_of_keys),
    Reference("docs/reference/api.md", "`redisdict`", public_names("redisdict")),
    Reference("docs/reference/api.md", "`redisdict.cache`", public_names("redisdict.cache")),
    Reference("docs/reference/api.md", "`redisdict.codec`", public_names("redisdict.codec")),
    Reference("docs/reference/api.md", "`redisdict.pools`", public_names("redisdict.pools")),
    Reference("docs/reference/api.md", "`redisdict.testing`", functions_of_testing),
    Reference(
        "docs/modeldict.md",
        "Reference",
        arguments_of(ModelDict.__init__),
        "[a-z_]+",
        is_whole=False,
    ),
    Reference(
        "docs/results.md",
        "Reference",
        arguments_of(ComputedDict.__init__),
        "[a-z_]+",
        is_whole=False,
    ),
]


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
def test_everything_is_there_and_nothing_else(reference: Reference) -> None:
    assert reference.documented(read(reference.page)) == reference.names()


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
def test_an_entry_that_is_taken_out_is_missed(reference: Reference) -> None:
    text = read(reference.page)
    for name in reference.names():
        lines = [
            line
            for line in text.splitlines(keepends=True)
            if not (line.startswith("| ") and f"`{name}`" in line.split(" | ")[0])
        ]
        assert name not in reference.documented("".join(lines))


def test_the_defaults_of_the_settings() -> None:
    table = section(read("docs/reference/settings.md"), "`REDISDICT`")
    written = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(table)}
    for name, default in conf.DEFAULTS.items():
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        assert written[name] == shown


def test_the_services_that_can_be_named() -> None:
    text = section(read("docs/reference/settings.md"), "`REDISDICT_BENCH`")
    assert all(f"`{kind.key}`" in text for kind in KNOWN)


def test_what_an_error_is_beside() -> None:
    for cells in rows(read("docs/reference/errors.md")):
        name = cells[0].strip("`")
        found = getattr(import_module("redisdict"), name, None)
        if found is None and "." in name:
            module, _, name = name.rpartition(".")
            found = getattr(import_module(module), name)
        if found is not None:
            bases = {base.__name__ for base in found.__mro__}
            assert set(re.findall(r"`(\w+)`", cells[1])) <= bases


COMMANDS = sorted(
    path.stem for path in (PACKAGE / "management" / "commands").glob("*.py") if path.stem[0] != "_"
)


def actions_of(name: str) -> set[str]:
    command: BaseCommand = load_command_class("redisdict", name)
    parser = command.create_parser("manage.py", name)
    return {
        choice
        for action in parser._actions
        if not action.option_strings and action.choices
        for choice in action.choices
    }


#: The pages with the options of a command, besides its section of the reference.
OWN_PAGES = {
    "redisbench": "docs/benchmarks.md",
    "redisdict": "docs/commands.md",
    "modeldict": "docs/operations.md",
}


def text_of_command(name: str) -> str:
    """What the reference says of a command, and the page that it has of its own."""
    text = section(read("docs/reference/command-line.md"), f"`manage.py {name}`")
    return text + prose(read(OWN_PAGES[name]))


def options_of(name: str) -> set[str]:
    """The long options of a command and of its actions, without those of every command."""
    parser = load_command_class("redisdict", name).create_parser("manage.py", name)
    of_all = long_options(BaseCommand().create_parser("manage.py", name))
    return long_options(parser) - of_all


def long_options(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found.update(option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            found.update(*map(long_options, action.choices.values()))
    return found


def documented_options(text: str) -> set[str]:
    return {
        option
        for written in re.findall(r"`([^`]+)`", text)
        for option in re.findall(r"--[a-z][\w-]*", written)
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_action_of_a_command_is_there(command: str) -> None:
    text = section(read("docs/reference/command-line.md"), f"`manage.py {command}`")
    actions = actions_of(command)
    assert actions
    assert first_names(text) == actions


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_there(command: str) -> None:
    text, options = text_of_command(command), options_of(command)
    assert len(options) > 5
    assert options <= documented_options(text)
    for option in options:
        without = re.sub(rf"{option}(?![\w-])", "", text)
        assert option not in documented_options(without)


def test_the_exit_statuses_of_redisbench() -> None:
    table = section(read("docs/reference/command-line.md"), "`manage.py redisbench`")
    written = [cells[0] for cells in rows(table) if re.fullmatch(r"[\d, ]+", cells[0])]
    assert written == list(EXIT_STATUSES)


def test_the_versions_of_files() -> None:
    text = section(read("docs/reference/stored-forms.md"), "Files")
    magic = repr(dump_format.MAGIC)[2:-1]
    assert f"`{magic}` and the version {dump_format.VERSION}" in text
    assert f"schema `{SCHEMA}`, version {VERSION}" in text
