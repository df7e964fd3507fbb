"""docs/architecture.md lists what happens to a thing: functions that exist, by files in turn."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()

#: The numbered lists of functions, by the headings above them.
WALKS = {
    heading: re.findall(r"^\d+\. `([\w.]+)`", text, re.MULTILINE)
    for heading, text in re.findall(r"^### (.*)\n((?:.|\n(?!#))*)", PAGE, re.MULTILINE)
}


def resolve(name: str) -> tuple[ModuleType, Any]:
    """The module of `module.function` or `module.Class.method`, and the function."""
    module, *attributes = import_module("redisdict"), *name.split(".")
    while hasattr(module, "__path__") and find_spec(f"{module.__name__}.{attributes[0]}"):
        module = import_module(f"{module.__name__}.{attributes.pop(0)}")
    return module, attrgetter(".".join(attributes))(module)


def test_a_key_and_a_value_are_followed() -> None:
    assert {"A key, in `d[key]`", "A value, in `d.set_many(items)`"} <= set(WALKS)
    assert all(WALKS.values())


@pytest.mark.parametrize("walk", WALKS)
def test_the_functions_exist_where_the_page_says(walk: str) -> None:
    for name in WALKS[walk]:
        module, found = resolve(name)
        assert callable(found)
        assert found.__module__ == module.__name__, f"{name} is in {found.__module__}"


@pytest.mark.parametrize("walk", WALKS)
def test_no_walk_enters_a_file_twice(walk: str) -> None:
    files = [inspect.getsourcefile(resolve(name)[0]) for name in WALKS[walk]]
    entered = [file for file, _ in groupby(files)]
    assert len(entered) == len(set(entered))
