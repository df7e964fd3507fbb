"""The code of the pages: it parses, what it imports is there, settings pass the checks.

Pages whose examples show what comes out are run on a server: `RUN`, and those with tests of their
own, such as `tests/mapping/test_docs.py`.
"""

from __future__ import annotations

import ast
import configparser
import doctest
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from types import ModuleType
from typing import Any

import pytest
import redis
from django.core.checks import ERROR
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from redisdict import PersistentDict, checks
from redisdict.bench.measure.services import discover
from redisdict.bench.settings import may_run_benchmarks
from tests.docs.pages import PAGES, Fence, fences

PYTHON = [fence for page in PAGES for fence in fences(page, "python")]
SHELL = [fence for page in PAGES for fence in fences(page, "sh")]

#: Settings of this package, and those of Django that lead to it.
SETTINGS = {"REDISDICT", "CACHES", "REDISDICT_ADMIN", "REDISDICT_BENCH"}

#: Pages whose blocks are run in their order, in one namespace each.
RUN = ["docs/howto/recipes.md"]


def parse(fence: Fence) -> ast.Module:
    """Parse a block: a module, or some items of a dict, as of one alias."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        tree = compile(fence.text, str(fence), "exec", flags)
    except SyntaxError as error:
        try:
            tree = compile("{" + fence.text + "}", str(fence), "exec", flags)
        except SyntaxError:
            raise error from None
    assert isinstance(tree, ast.Module)
    return tree


@pytest.mark.parametrize("fence", PYTHON, ids=str)
def test_python_parses_and_its_imports_are_there(fence: Fence) -> None:
    for node in ast.walk(parse(fence)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("redisdict"):
            module = import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)


def settings_in(fence: Fence) -> set[str]:
    return {
        target.id
        for node in parse(fence).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in SETTINGS
    }


class Anything(type):
    """Classes with whatever attributes are asked for."""

    def __getattr__(cls, name: str) -> str:
        return name


class Provider(redis.CredentialProvider, metaclass=Anything):
    """Stands for providers of credentials that aren't installed here."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_credentials(self) -> tuple[str, str]:
        return ("user", "password")


def _stand_in_for_what_readers_have(fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make modules that are the reader's own, or of packages that aren't installed here."""
    wanted = set(re.findall(r'"(shop\.\w+)\.(\w+)"', fence.text))
    for node in ast.walk(parse(fence)):
        if isinstance(node, ast.ImportFrom) and node.module:
            wanted |= {(node.module, alias.name) for alias in node.names}
    tops = {module.partition(".")[0] for module, _ in wanted}
    missing = {top for top in tops if top == "shop" or find_spec(top) is None}
    for module, name in wanted:
        top = module.partition(".")[0]
        if top not in missing:
            continue
        monkeypatch.setitem(sys.modules, top, sys.modules.get(top) or ModuleType(top))
        stub = sys.modules.get(module) or ModuleType(module)
        setattr(stub, name, Provider)
        monkeypatch.setitem(sys.modules, module, stub)


@pytest.mark.parametrize("fence", [one for one in PYTHON if settings_in(one)], ids=str)
def test_settings_pass_the_checks(
    fence: Fence, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in_for_what_readers_have(fence, monkeypatch)
    for name in re.findall(r'os\.environ\["(\w+)"\]', fence.text):
        monkeypatch.setenv(name, "rediss://127.0.0.1:6379/0")
    names: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": [], "BASE_DIR": PAGES[fence.page]}
    exec(fence.text, names)  # our own page
    for name in settings_in(fence):
        setattr(settings, name, names[name])
    messages = [*checks.check_settings(None), *checks.check_caches(None)]
    assert not [message for message in messages if message.level >= ERROR]
    may_run_benchmarks()
    if "REDISDICT_BENCH" in names:
        discover()


@pytest.mark.parametrize("page", RUN)
@pytest.mark.parametrize("server", ["redis", "valkey"])
def test_the_page_does_what_it_shows(
    request: pytest.FixtureRequest,
    settings: Any,
    alias_for: Callable[..., Any],
    server: str,
    page: str,
) -> None:
    settings.REDISDICT = {"default": alias_for(request.getfixturevalue(f"{server}_url"))}
    names: dict[str, Any] = {"__name__": "page"}
    count = 0
    for fence in fences(page, "python", "pycon"):
        if fence.language == "python":
            exec(compile(fence.text, str(fence), "exec"), names)  # our own page
            continue
        test = doctest.DocTestParser().get_doctest(fence.text, names, str(fence), page, fence.line)
        count += len(test.examples)
        failures: list[str] = []
        doctest.DocTestRunner(verbose=False).run(test, out=failures.append, clear_globs=False)
        assert not failures, "".join(failures)
        names.update(test.globs)
    assert count
    for value in names.values():
        if isinstance(value, PersistentDict):
            value.clear()


@pytest.mark.parametrize("fence", SHELL, ids=str)
def test_shell_parses_and_its_commands_are_there(fence: Fence) -> None:
    subprocess.run(["bash", "-n"], input=fence.text, text=True, check=True)
    for words in commands_in(fence.text):
        if not (places := [at for at, word in enumerate(words) if word.endswith("manage.py")]):
            continue
        name, *arguments = words[places[0] + 1 :]
        assert name in get_commands()
        owner = get_commands()[name]
        command = owner if isinstance(owner, BaseCommand) else load_command_class(owner, name)
        parser: ArgumentParser = command.create_parser("manage.py", name)
        parser.parse_args(arguments)


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command, without what it reads from and writes to."""
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for is_operator, words in groupby(lexer, lambda word: set(word) <= set("|&;<>()")):
            if not is_operator:
                yield list(words)


@pytest.mark.parametrize("fence", [one for page in PAGES for one in fences(page, "ini")], ids=str)
def test_ini_files_parse(fence: Fence) -> None:
    assert configparser.ConfigParser().read_string(fence.text) is None
