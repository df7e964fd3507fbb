"""docs/mapping.md says what the code does: its examples, its signatures, its costs."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import redisdict
from redisdict import PersistentDict
from redisdict.mapping.bound import ABSENT
from redisdict.mapping.layouts.base import DEFAULT
from redisdict.mapping.locks import Lock
from tests.mapping.costs import COSTS, SCRIPT
from tests.mapping.test_twins import TWINS

PAGE = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text()


def section(title: str) -> str:
    """What stands below a heading, up to the next of its level or a higher one."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", PAGE, re.MULTILINE)
    assert found, title
    rest = PAGE[found.end() :]
    return re.split(rf"^#{{1,{len(found[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in a text."""
    for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE):
        yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)]


CALLS = {
    cells[0].strip("`"): cells[2:] for cells in rows(section("Reference")) if cells[0] != "call"
}
SIGNATURES = [call for call in CALLS if re.match(r"d\.\w+\(", call)]


def method_of(call: str) -> str:
    return call.removeprefix("d.").partition("(")[0] if call in SIGNATURES else call


@pytest.mark.parametrize("server", ["redis", "valkey"])
def test_the_examples_do_what_they_show(
    request: pytest.FixtureRequest, settings: Any, alias_for: Callable[..., Any], server: str
) -> None:
    settings.REDISDICT = {"default": alias_for(request.getfixturevalue(f"{server}_url"))}
    names: dict[str, Any] = {}
    test = doctest.DocTestParser().get_doctest(PAGE, names, "mapping.md", "mapping.md", 0)
    assert len(test.examples) > 40
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    for value in test.globs.values():
        if isinstance(value, PersistentDict):
            value.clear()


def shown(name: str, owner: type = PersistentDict) -> str:
    """A method's signature as the page writes it."""
    parts = []
    for parameter in list(inspect.signature(getattr(owner, name)).parameters.values())[1:]:
        text = parameter.replace(annotation=inspect.Parameter.empty)
        if text.default is ABSENT:
            parts[-1] += f"[, {text.name}]"
            continue
        if text.kind is text.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = text.default
        if default is not text.empty:
            written = "DEFAULT" if default is DEFAULT else repr(default).replace("'", '"')
            parts.append(f"{text.name}={written}")
        else:
            parts.append(str(text))
        if text.kind is text.POSITIONAL_ONLY:
            parts.append("/")
    return f"{name}({', '.join(parts)})"


@pytest.mark.parametrize("call", SIGNATURES)
def test_a_signature_is_the_real_one(call: str) -> None:
    assert call == f"d.{shown(method_of(call))}"


def test_every_method_is_in_the_reference() -> None:
    public = {name for name in dir(PersistentDict) if not name.startswith("_")}
    twins = {name for name in public if name in TWINS}
    documented = {method_of(call) for call in SIGNATURES}
    assert public - twins == documented | {"name"}
    assert "`d.name`" in section("The whole dict")
    without_name = twins - {f"a{name}" for name in documented}
    for name in without_name:
        assert f"`{shown(name)}`" in section("Reference")


def test_the_constructor_is_documented() -> None:
    given = inspect.signature(PersistentDict.__init__).parameters.values()
    arguments = [
        parameter.name
        if parameter.default is parameter.empty
        else f"{parameter.name}={getattr(parameter.default, '__name__', repr(parameter.default))}"
        for parameter in list(given)[1:]
    ]
    text = section("Making one")
    assert f"`PersistentDict({', '.join(arguments)})`".replace("'", '"') in text
    for parameter in list(given)[1:]:
        assert re.search(rf"^- .*`{parameter.name}\b", text, re.MULTILINE)


@pytest.mark.parametrize("method", [name for name in dir(Lock) if not name.startswith("_")])
def test_all_of_a_lock_is_documented(method: str) -> None:
    text = section("Locks")
    twin_of = method[1:] if method.startswith("a") and hasattr(Lock, method[1:]) else None
    if twin_of:
        assert f"`{method}`" in text
    elif method == "is_owned":
        assert "`lock.is_owned`" in text
    else:
        assert f"`lock.{shown(method, Lock)}`" in text


def commands(cell: str) -> set[str]:
    """The commands that a cell names."""
    named = set(re.findall(r"\b[A-Z]{3,}\b", cell.replace("MEMORY USAGE", "MEMORY")))
    return named | ({SCRIPT} if "script" in cell else set())


@pytest.mark.parametrize("call", CALLS)
def test_the_costs_are_those_that_are_counted(call: str) -> None:
    """Against the ones that `test_commands.py` counts on servers."""
    known = [cost for cost in COSTS if cost.method == method_of(call)]
    hash_cell, keys_cell = CALLS[call]
    if not known:
        same = {"bool(d)": "len(d)", "d.keys()": "for key in d"}
        same |= dict.fromkeys(("d.name", "d.child(name)", "d.near_stats()"), "")
        assert CALLS.get(same[call], ["", ""]) == [hash_cell, keys_cell]
        return
    of_hash = {
        command for cost in known for trip in cost.hash + cost.old_hash for command in trip.split()
    }
    of_keys = {command for cost in known for trip in cost.keys for command in trip.split()}
    assert (commands(hash_cell), commands(keys_cell)) == (of_hash, of_keys)


def test_every_cost_is_documented() -> None:
    assert {cost.method for cost in COSTS} <= {method_of(call) for call in CALLS}


def test_the_errors_are_those_of_the_package() -> None:
    documented = set(re.findall(r"^\| `(\w+)`", section("Errors"), re.MULTILINE))
    own = {
        name
        for name, member in inspect.getmembers(redisdict, inspect.isclass)
        if issubclass(member, redisdict.RedisDictError) and member is not redisdict.RedisDictError
    }
    assert documented == own | {"KeyError", "TypeError", "ValueError"}
    for name, base in re.findall(r"^\| `(\w+)`, an? `(\w+)`", section("Errors"), re.MULTILINE):
        bases = [one.__name__ for one in getattr(redisdict, name).__mro__]
        assert base in bases


def test_links_lead_to_headings() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-").replace("`", "") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors
    docs = Path(__file__).parents[2] / "docs"
    for file, anchor in re.findall(r"\]\(([\w.]+\.md)(?:#([\w-]+))?\)", PAGE):
        text = (docs / file).read_text()
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert not anchor or anchor in {title.lower().replace(" ", "-") for title in titles}
